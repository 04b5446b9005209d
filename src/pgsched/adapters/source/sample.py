"""``on_limit = sample``: all rows are read, a uniform sample of them is handed out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from random import Random
from typing import TYPE_CHECKING

from pgsched.adapters.source.beside import beside_the_loop
from pgsched.adapters.source.bounds import MOST_ROW_BYTES, Sizes, parted, size_of
from pgsched.adapters.source.encoding import Row, RowEncoder
from pgsched.adapters.source.json_values import NoRoom
from pgsched.application.ports.execution import RowBatch, Statement
from pgsched.domain.sampling import Reservoir

if TYPE_CHECKING:
    from pgsched.adapters.source.cursor import RowStream

_BATCH_ROWS = 1000
#: a row written as JSON has at most so many times the bytes of its text (a control character: ``\\u0001``)
_MOST_GROWTH = 6


async def sampled(
    stream: RowStream, encoder: RowEncoder, statement: Statement, sizes: Sizes
) -> AsyncIterator[RowBatch]:
    """Hand out the sample in the order of the result; ``truncated`` when it is not all of it.

    A row that could not be stored by itself is left out and has no bearing on the others.
    """
    measure = encoder.afresh()
    keys = len(measure.encode([(None,) * encoder.width])) - 4 * encoder.width
    most_row = min(statement.max_bytes, MOST_ROW_BYTES)
    reservoir: Reservoir[Row] = Reservoir(
        most_rows=statement.max_rows,
        # how a value will be written is known at the end only; its text comes close
        most_bytes=statement.max_bytes + statement.max_bytes // 8 + 1024,
        random=Random(),  # noqa: S311 - a sample, not a secret
    )
    async for chunk in stream.chunks():
        for row in chunk:
            if reservoir.chooses():
                size = keys + 1 + sum(4 if value is None else len(value) for value in row)
                if size * _MOST_GROWTH > most_row:
                    if sizes.least_of(row) > most_row or size_of(row) > MOST_ROW_BYTES:
                        continue
                    size = await beside_the_loop(_size, measure, [row], most_row)
                    if size > most_row:
                        continue
                reservoir.keep(row, size)
    rows = await beside_the_loop(_fitting, encoder, reservoir, statement.max_bytes)
    stream.truncated = len(rows) < reservoir.seen
    for batch in _batches(rows):
        yield stream.hand_out(await beside_the_loop(encoder.encode, batch), len(batch))


def _fitting(encoder: RowEncoder, reservoir: Reservoir[Row], most_bytes: int) -> list[Row]:
    rows = reservoir.rows()
    if rows and _size(encoder.afresh(), rows, most_bytes) > most_bytes:
        # numbers that are written out grow beyond what was reckoned with
        measure = encoder.afresh()
        reservoir.leave_out(lambda row: _size(measure, [row], most_bytes) > most_bytes)
        rows = reservoir.rows()
    while rows and _size(encoder.afresh(), rows, most_bytes) > most_bytes:
        for _ in range(max(1, len(rows) // 20)):
            reservoir.shrink()
        rows = reservoir.rows()
    return rows


def _size(encoder: RowEncoder, rows: list[Row], most: int) -> int:
    """Return how many bytes rows take as JSON, or some number above ``most``."""
    size = -1
    for batch in _batches(rows):
        try:
            # a comma between batches
            size += len(encoder.encode(batch, room=most)) + 1
        except NoRoom:
            return most + 1
    return size


def _batches(rows: list[Row]) -> Iterator[list[Row]]:
    for start in range(0, len(rows), _BATCH_ROWS):
        yield from parted(rows[start : start + _BATCH_ROWS])
