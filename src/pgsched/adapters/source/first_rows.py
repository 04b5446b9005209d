"""``on_limit`` truncate and error: rows are handed out in the order of the result, as many as are allowed."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from pgsched.adapters.source.beside import beside_the_loop
from pgsched.adapters.source.bounds import (
    LARGE_BYTES,
    MOST_ROW_BYTES,
    PART_BYTES,
    Sizes,
    parted,
    refuse_unstorable,
)
from pgsched.adapters.source.encoding import Row, RowEncoder
from pgsched.adapters.source.json_values import NoRoom
from pgsched.application.ports.execution import RowBatch, Statement
from pgsched.domain.errors import LimitExceeded
from pgsched.domain.results import OnLimit

if TYPE_CHECKING:
    from pgsched.adapters.source.cursor import RowStream

#: a batch is handed out when it has this many rows or bytes
BATCH_ROWS = 1000
BATCH_BYTES = 1 << 20
#: a batch larger than this is encoded in a thread: the loop has the leases of other runs to renew; one of
#: BATCH_ROWS short rows is not, which would take a thread longer than it keeps the loop
BESIDE_BYTES = 1 << 19


class FirstRows:
    """Writes the rows of a stream in batches until the end or a limit."""

    def __init__(self, stream: RowStream, encoder: RowEncoder, statement: Statement, sizes: Sizes) -> None:
        """Take a stream that is open, and what its rows are written with."""
        self._stream = stream
        self._encoder = encoder
        self._statement = statement
        self._sizes = sizes
        #: whether max_bytes has no room for the next row
        self._is_full = False

    async def batches(self) -> AsyncIterator[RowBatch]:
        """Hand out batches of about 1000 rows or 1 MiB; ``truncated`` when rows are left out.

        Raises:
            LimitExceeded: there is more than is allowed, and on_limit is error.
            ResultRejected: a row is larger than can be stored.
        """
        statement, stream = self._statement, self._stream
        pending: list[Row] = []
        pending_bytes = 0
        async with contextlib.aclosing(stream.chunks()) as chunks:
            async for chunk in chunks:
                for rows, size in self._in_parts(chunk):
                    pending += rows
                    pending_bytes += size
                    if len(pending) > statement.max_rows - stream.rows:
                        # the one row more than allowed that was asked for
                        self._cut(f"more than {statement.max_rows} rows")
                        del pending[statement.max_rows - stream.rows :]
                    # no more is read than could be stored
                    room = min(BATCH_BYTES, statement.max_bytes - stream.bytes)
                    if len(pending) >= BATCH_ROWS or pending_bytes >= room:
                        batch = await self._batch(pending, pending_bytes)
                        if batch is not None:
                            yield batch
                        if self._is_full:
                            return
                        pending, pending_bytes = [], 0
        batch = await self._batch(pending, pending_bytes)
        if batch is not None:
            yield batch

    def _in_parts(self, rows: list[Row]) -> list[tuple[list[Row], int]]:
        """Return rows with their bytes, in parts that can be written and stored at once."""
        size = self._sizes.of(rows)
        if size <= PART_BYTES:
            return [(rows, size)]
        self._stream.is_large = self._stream.is_large or size > LARGE_BYTES
        return [(part, self._sizes.of(part)) for part in parted(rows)]

    async def _batch(self, rows: list[Row], size: int) -> RowBatch | None:
        """Encode rows of about ``size`` bytes, as ``_encoded`` does."""
        if size > BESIDE_BYTES:
            return await beside_the_loop(self._encoded, rows, size)
        return self._encoded(rows, size)

    def _encoded(self, rows: list[Row], size: int) -> RowBatch | None:
        """Encode rows, as many as ``max_bytes`` has room for; None when not even one fits."""
        stream, encoder = self._stream, self._encoder
        room = self._statement.max_bytes - stream.bytes - (1 if stream.rows else 0)
        if size > room:
            rows = self._without_the_hopeless(rows, room)
        if not rows:
            return None
        if size > MOST_ROW_BYTES:
            refuse_unstorable(rows, encoder.names, before=stream.rows, room=room)
        seen = encoder.seen()
        try:
            data = encoder.encode(rows, room=room)
            fits = len(data) <= room
        except NoRoom:
            fits = False
        if not fits:
            self._fill()
            rows = rows[: _fitting(encoder.afresh(), rows, room)]
            encoder.forget_since(seen)
            data = encoder.encode(rows)
        return stream.hand_out(data, len(rows)) if rows else None

    def _without_the_hopeless(self, rows: list[Row], room: int) -> list[Row]:
        """Leave out what cannot fit however it is written: to write a large value takes a while."""
        for count, row in enumerate(rows):
            room -= self._sizes.least_of(row)
            if room < 0:
                self._fill()
                return rows[:count]
        return rows

    def _fill(self) -> None:
        self._cut(f"more than {self._statement.max_bytes} bytes")
        self._is_full = True

    def _cut(self, what: str) -> None:
        if self._statement.on_limit is OnLimit.ERROR:
            raise LimitExceeded(f"the result has {what}; nothing is stored because on_limit is error")
        self._stream.truncated = True


def _fitting(encoder: RowEncoder, rows: Sequence[Row], room: int) -> int:
    """Return how many of the rows, written and joined by commas, fit into ``room`` bytes."""
    for count, row in enumerate(rows):
        try:
            room -= len(encoder.encode([row], room=room))
        except NoRoom:
            return count
        if room < 0:
            return count
        room -= 1
    return len(rows)
