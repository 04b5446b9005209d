"""A statement run through a named cursor, its rows handed out as they arrive.

Two round trips: the first opens the transaction, pins the session, declares the cursor and asks for its
columns; the second fetches everything in one FETCH and, behind it, ends the transaction and clears the
session, so that the source is done with the run as soon as it has sent the last row.

One FETCH, because statement_timeout starts anew with each (and a function can switch it off for the next).
Memory stays bounded all the same: libpq hands out a few rows at a time (chunked rows mode) and reads on
only when we do, the source waits meanwhile. So a reader that is slower than the source has the timeout
for reading, too.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence

from psycopg.pq import ExecStatus
from psycopg.pq import abc as pq

from pgsched.adapters.source.catalog import column_types
from pgsched.adapters.source.encoding import RowEncoder, Values
from pgsched.adapters.source.faults import deadline_passed, lost, query_fault
from pgsched.adapters.source.pins import BEGIN, DISCARD, ROLLBACK, pins_for
from pgsched.adapters.source.session import Command, CommandFailed, Session
from pgsched.application.ports.execution import RowBatch, Statement
from pgsched.domain.errors import LimitExceeded, QueryFailed
from pgsched.domain.results import OnLimit, unique_names

#: milliseconds the source gets beyond the timeout to end the statement itself
GRACE_MS = 1000
#: rows libpq hands out at once
CHUNK_ROWS = 50
#: a batch is handed out when it has this many rows or bytes
BATCH_ROWS = 1000
BATCH_BYTES = 1 << 20

_PREFIX = "DECLARE pgsched NO SCROLL CURSOR WITHOUT HOLD FOR "
_CURSOR = b"pgsched"
#: FETCH counts in 32 bits
_MOST_FETCHED = 2**31 - 1
#: place of the DECLARE among the commands of the first round trip
_DECLARE = 2
#: no statement is that long: a position in a statement of ours is none in the user's
_NOT_THEIRS = 1 << 62


class RowStream:
    """The rows of one statement; see ``ResultStream`` of the execution port."""

    def __init__(self, session: Session, statement: Statement) -> None:
        """Run ``statement`` on a clean session; nothing is sent before ``open``."""
        self.rows = 0
        self.bytes = 0
        self.truncated = False
        self._session = session
        self._statement = statement
        self._encoder = RowEncoder([], [])
        self._sent_at = 0.0
        #: whether max_bytes has no room for the next row
        self._is_full = False

    async def open(self) -> None:
        """Declare the cursor, learn its columns and start the FETCH.

        Raises:
            QueryFailed, QueryTimeout, SourceUnreachable: as the execution port says.
        """
        session, statement = self._session, self._statement
        self._sent_at = asyncio.get_running_loop().time()
        try:
            async with self._deadline():
                session.send(BEGIN)
                session.send(pins_for(statement))
                # the line break ends a comment that the user's text may end with
                session.send(Command(sql=f"{_PREFIX}{statement.sql}\n".encode()))
                session.send_describe(_CURSOR)
                await session.sync()
                description = (await session.results(4))[-1]
                await self._learn(description)
                if statement.on_limit is OnLimit.SAMPLE:
                    fetch = b"FETCH ALL FROM pgsched"
                else:
                    fetch = b"FETCH FORWARD %d FROM pgsched" % min(statement.max_rows + 1, _MOST_FETCHED)
                session.send(Command(sql=fetch))
                session.pgconn.set_chunked_rows_mode(CHUNK_ROWS)
                await session.sync()
                for command in (ROLLBACK, DISCARD):
                    session.send(command)
                    await session.sync()
        except TimeoutError:
            raise deadline_passed(statement.timeout_ms) from None
        except CommandFailed as failed:
            prefix = len(_PREFIX) if failed.index == _DECLARE else _NOT_THEIRS
            raise self._fault(failed.result, prefix) from None

    def __aiter__(self) -> AsyncIterator[RowBatch]:
        """Hand out the rows in order, once, in batches of about 1000 rows or 1 MiB."""
        if self._statement.on_limit is OnLimit.SAMPLE:
            from pgsched.adapters.source.sample import sampled

            return sampled(self, self._encoder, self._statement)
        return self._first_rows()

    def table_schema(self) -> bytes:
        """Return the Table Schema as UTF-8 JSON, final once iteration has ended."""
        return self._encoder.table_schema()

    def hand_out(self, data: bytes, rows: int) -> RowBatch:
        """Count a batch and return it."""
        self.bytes += len(data) + (1 if self.rows else 0)
        self.rows += rows
        return RowBatch(rows=rows, data=data)

    async def chunks(self) -> AsyncGenerator[tuple[list[Values], int]]:
        """Hand out the columns and the number of rows of each chunk, then see the cleanup through.

        Raises:
            QueryFailed, QueryTimeout, SourceUnreachable: as the execution port says.
        """
        try:
            while True:
                async with self._deadline():
                    result = await self._session.result()
                if result is None:
                    break
                if result.status not in (ExecStatus.TUPLES_CHUNK, ExecStatus.TUPLES_OK):
                    raise self._fault(result, _NOT_THEIRS)
                if result.ntuples:
                    yield _columns(result), result.ntuples
            async with self._deadline():
                await self._session.pass_sync()
                for _ in (ROLLBACK, DISCARD):
                    await self._session.results(1)
        except TimeoutError:
            raise deadline_passed(self._statement.timeout_ms) from None
        except CommandFailed as failed:
            raise self._fault(failed.result, _NOT_THEIRS) from None
        self._session.is_clean = True

    async def _first_rows(self) -> AsyncIterator[RowBatch]:
        statement = self._statement
        pending = _Pending()
        async with contextlib.aclosing(self.chunks()) as chunks:
            async for columns, rows in chunks:
                pending.add(columns, rows)
                if pending.rows > statement.max_rows - self.rows:
                    # the one row more than allowed that was asked for
                    self._cut(f"more than {statement.max_rows} rows")
                    pending.keep(statement.max_rows - self.rows)
                # no more is read than could be stored
                room = min(BATCH_BYTES, statement.max_bytes - self.bytes)
                if pending.rows >= BATCH_ROWS or pending.bytes >= room:
                    batch = self._batch(pending.columns, pending.rows)
                    if batch is not None:
                        yield batch
                    if self._is_full:
                        return
                    pending = _Pending()
        batch = self._batch(pending.columns, pending.rows)
        if batch is not None:
            yield batch

    def _batch(self, columns: list[Values], rows: int) -> RowBatch | None:
        """Encode rows, as many as ``max_bytes`` has room for; None when not even one fits."""
        if not rows:
            return None
        seen = self._encoder.seen()
        data = self._encoder.encode(columns, rows)
        room = self._statement.max_bytes - self.bytes - (1 if self.rows else 0)
        if len(data) > room:
            self._cut(f"more than {self._statement.max_bytes} bytes")
            self._is_full = True
            rows = _fitting(self._encoder.afresh().encode_each(columns, rows), room)
            self._encoder.forget_since(seen)
            data = self._encoder.encode([column[:rows] for column in columns], rows)
        return self.hand_out(data, rows) if rows else None

    def _cut(self, what: str) -> None:
        if self._statement.on_limit is OnLimit.ERROR:
            raise LimitExceeded(f"the result has {what}; nothing is stored because on_limit is error")
        self.truncated = True

    async def _learn(self, description: pq.PGresult) -> None:
        """Take the columns' names and types, asking the catalog for types that are not built in."""
        places = range(description.nfields)
        names = [(description.fname(place) or b"").decode(errors="replace") for place in places]
        keys = [(description.ftype(place), description.fmod(place)) for place in places]
        types = await column_types(self._session, keys)
        self._encoder = RowEncoder(unique_names(names), types)

    def _deadline(self) -> asyncio.Timeout:
        """Bound what is waited for by the client's own deadline."""
        return asyncio.timeout_at(self._sent_at + (self._statement.timeout_ms + GRACE_MS) / 1000)

    def _fault(self, result: pq.PGresult, prefix: int) -> Exception:
        if result.status == ExecStatus.PIPELINE_ABORTED:
            return lost("")
        elapsed = asyncio.get_running_loop().time() - self._sent_at
        fault = query_fault(
            result, prefix=prefix, timeout_ms=self._statement.timeout_ms, elapsed_ms=elapsed * 1000
        )
        if isinstance(fault, QueryFailed) and fault.position is not None:
            # "at end of input" is after our line break
            fault.position = min(fault.position, len(self._statement.sql) + 1)
        return fault


class _Pending:
    """Rows that wait to be encoded together."""

    def __init__(self) -> None:
        self.columns: list[Values] = []
        self.rows = 0
        #: bytes of their text forms
        self.bytes = 0

    def add(self, columns: list[Values], rows: int) -> None:
        if self.rows:
            for column, more in zip(self.columns, columns, strict=True):
                column.extend(more)
        else:
            self.columns = columns
        self.rows += rows
        self.bytes += sum(len(value) for column in columns for value in column if value is not None)

    def keep(self, rows: int) -> None:
        self.columns = [column[:rows] for column in self.columns]
        self.rows = rows


def _columns(result: pq.PGresult) -> list[Values]:
    value = result.get_value
    rows = range(result.ntuples)
    return [[value(row, column) for row in rows] for column in range(result.nfields)]


def _fitting(rows: Sequence[bytes], room: int) -> int:
    """Return how many of the rows, joined by commas, fit into ``room`` bytes."""
    for count, row in enumerate(rows):
        room -= len(row)
        if room < 0:
            return count
        room -= 1
    return len(rows)
