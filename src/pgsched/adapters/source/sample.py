"""``on_limit = sample``: all rows are read, a uniform sample of them is handed out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from random import Random
from typing import TYPE_CHECKING

from pgsched.adapters.source.encoding import Row, RowEncoder
from pgsched.application.ports.execution import RowBatch, Statement
from pgsched.domain.sampling import Reservoir

if TYPE_CHECKING:
    from pgsched.adapters.source.cursor import RowStream

_BATCH_ROWS = 1000


async def sampled(stream: RowStream, encoder: RowEncoder, statement: Statement) -> AsyncIterator[RowBatch]:
    """Hand out the sample in the order of the result; ``truncated`` when it is not all of it."""
    keys = len(encoder.afresh().encode([(None,) * encoder.width])) - 4 * encoder.width
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
                reservoir.keep(row, size)
    rows = reservoir.rows()
    while rows and _size(encoder.afresh(), rows) > statement.max_bytes:
        for _ in range(max(1, len(rows) // 20)):
            reservoir.shrink()
        rows = reservoir.rows()
    stream.truncated = len(rows) < reservoir.seen
    for start in range(0, len(rows), _BATCH_ROWS):
        batch = rows[start : start + _BATCH_ROWS]
        yield stream.hand_out(encoder.encode(batch), len(batch))


def _size(encoder: RowEncoder, rows: list[Row]) -> int:
    batches = (rows[start : start + _BATCH_ROWS] for start in range(0, len(rows), _BATCH_ROWS))
    # a comma between batches
    return sum(len(encoder.encode(batch)) + 1 for batch in batches) - 1
