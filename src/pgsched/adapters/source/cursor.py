"""A statement run through a named cursor, its rows handed out as they arrive.

Two round trips: the first opens the transaction, pins the session, declares the cursor and asks for its
columns; the second fetches and, behind the last FETCH, ends the transaction and clears the session, so that
the source is done with the run as soon as it has sent the last row. A session that has run the statement
before knows its columns' types and takes one.

A FETCH takes as many rows as the default limit has and one more: the source collects all the rows of a FETCH
before it sends the first (it is a utility statement to it), on its disk where they do not fit into work_mem.
So a larger result comes in several, of which two are under way at any time. statement_timeout starts anew
with each, and a function can switch it off for the next: the client's own deadline is about all of them.
Memory stays bounded: libpq hands out a few rows at a time (chunked rows mode) and reads on only when we do,
the source waits meanwhile. So a reader that is slower than the source has the timeout for reading, too.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from operator import itemgetter

from psycopg.adapt import AdaptersMap, Transformer
from psycopg.pq import ExecStatus, Format
from psycopg.pq import abc as pq
from psycopg.types.string import ByteaBinaryLoader

from pgsched.adapters.source.arguments import evaluated, of_an_expression
from pgsched.adapters.source.bounds import LARGE_BYTES, MOST_ROW_BYTES, PART_BYTES, parted, refuse_unstorable
from pgsched.adapters.source.catalog import TypeKey, column_types, known_types
from pgsched.adapters.source.cost import EXPLAIN, refuse_costly
from pgsched.adapters.source.encoding import Row, RowEncoder
from pgsched.adapters.source.faults import broken, deadline_passed, lost, query_fault
from pgsched.adapters.source.json_values import NoRoom
from pgsched.adapters.source.pins import BEGIN, DISCARD, ROLLBACK, pins_for
from pgsched.adapters.source.session import MOST_OWN_BYTES, MOST_WAITED_BYTES, Command, CommandFailed, Session
from pgsched.application.ports.execution import RowBatch, Statement
from pgsched.domain.errors import LimitExceeded, QueryFailed, SourceFault
from pgsched.domain.parameters import SCHEDULED_AT
from pgsched.domain.results import NARROW_BYTES, ColumnType, OnLimit, is_unbounded, unique_names

#: milliseconds the source gets beyond the timeout to end the statement itself
GRACE_MS = 1000
#: seconds the source gets to clear the session after a run
SETTLE_S = 1.0
#: rows libpq hands out at once
CHUNK_ROWS = 50
#: a batch is handed out when it has this many rows or bytes
BATCH_ROWS = 1000
BATCH_BYTES = 1 << 20
#: a batch larger than this is encoded in a thread: the loop has the leases of other runs to renew
BESIDE_BYTES = 1 << 18
#: how many times as long as what is written of them values can be: -Infinity, which becomes null
_MOST_SHRUNK = 3

_PREFIX = "DECLARE pgsched NO SCROLL CURSOR WITHOUT HOLD FOR "
_CURSOR = b"pgsched"
#: most rows that the source collects at once
FETCH_ROWS = 10_001
#: FETCHes under way at once: while the rows of one are read, the source collects those of the next
_MOST_UNDER_WAY = 2
#: the loader of every type, by the OID that stands for all that are not known
_ANY = 0
_BYTES = AdaptersMap()
_BYTES.register_loader(_ANY, ByteaBinaryLoader)
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
        self._names: list[str] = []
        self._encoder = RowEncoder([], [])
        self._arguments = [argument.text for argument in statement.arguments]
        #: hands values out as they came: text forms are taken for the bytes of a binary format
        self._loader = Transformer(_BYTES)
        self._wide: list[int] = []
        self._narrow_bytes = 0
        self._sent_at = 0.0
        #: rows that are still to be asked for, None for all there are
        self._to_ask = None if statement.on_limit is OnLimit.SAMPLE else statement.max_rows + 1
        #: rows asked for by each FETCH under way
        self._asked: deque[int] = deque()
        #: whether all rows came and only the cleanup is under way
        self._is_fetched = False
        #: whether rows came that left their connection with large buffers
        self.is_large = False
        #: whether max_bytes has no room for the next row
        self._is_full = False

    async def open(self) -> None:
        """Declare the cursor, learn its columns and start the FETCH.

        Raises:
            QueryFailed, QueryTimeout, SourceUnreachable: as the execution port says.
        """
        session, statement = self._session, self._statement
        self._sent_at = asyncio.get_running_loop().time()
        # asking the catalog about a type takes a round trip between DECLARE and FETCH
        at_once = session.knows_columns_of(statement.sql)
        has_expressions = any(argument.sql is not None for argument in statement.arguments)
        # rows, values and plans are the source's, the rest answers statements of ours
        most_waited_bytes = MOST_WAITED_BYTES + statement.max_bytes
        are_ours = not (at_once or has_expressions or statement.max_cost is not None)
        session.most_waited_bytes = MOST_OWN_BYTES if are_ours else most_waited_bytes
        before = 0
        session.deadline = self._sent_at + (statement.timeout_ms + GRACE_MS) / 1000
        try:
            session.send(BEGIN)
            session.send(pins_for(statement, session.defaults))
            arguments = self._arguments
            if has_expressions:
                arguments = await self._evaluate()
            else:
                before = 2
            # the line break ends a comment that the user's text may end with
            declare = Command(
                sql=f"{_PREFIX}{statement.sql}\n".encode(),
                params=[None if text is None else text.encode() for text in arguments],
                types=[argument.oid for argument in statement.arguments],
            )
            if statement.max_cost is not None:
                await self._refuse_costly(declare, before, statement.max_cost)
                before = 0
            session.send(declare)
            session.send_describe(_CURSOR)
            if at_once:
                await self._send_fetch()
                description = (await session.results(before + 2, then_sync=False))[-1]
                self._learn(description, known_types(session, _keys(description)))
            else:
                await session.sync()
                description = (await session.results(before + 2))[-1]
                self._learn(description, await column_types(session, _keys(description)))
                await self._send_fetch()
            session.most_waited_bytes = most_waited_bytes
            session.pgconn.set_chunked_rows_mode(CHUNK_ROWS)
        except TimeoutError:
            raise deadline_passed(statement.timeout_ms) from None
        except CommandFailed as failed:
            prefix = len(_PREFIX) if failed.index == before else _NOT_THEIRS
            raise self._fault(failed.result, prefix) from None
        session.learnt_columns_of(statement.sql)

    @property
    def arguments(self) -> Mapping[str, str | None]:
        """What the arguments were, by name; ``scheduled_at`` is the run's own."""
        given = zip(self._statement.arguments, self._arguments, strict=True)
        return {argument.name: text for argument, text in given if argument.name != SCHEDULED_AT}

    async def _evaluate(self) -> list[str | None]:
        try:
            self._arguments = await evaluated(self._session, self._statement)
        except CommandFailed as failed:
            raise of_an_expression(self._fault(failed.result, _NOT_THEIRS)) from None
        return self._arguments

    async def _refuse_costly(self, declare: Command, before: int, most: int) -> None:
        try:
            await refuse_costly(self._session, declare, before=before, most=most)
        except CommandFailed as failed:
            prefix = len(EXPLAIN) + len(_PREFIX) if failed.index == before else _NOT_THEIRS
            raise self._fault(failed.result, prefix) from None

    async def _send_fetch(self) -> None:
        """Ask for more rows when there may be more, and for the cleanup behind the last."""
        session = self._session
        while self._to_ask != 0 and len(self._asked) < _MOST_UNDER_WAY:
            count = FETCH_ROWS if self._to_ask is None else min(self._to_ask, FETCH_ROWS)
            self._asked.append(count)
            session.send(Command(sql=b"FETCH FORWARD %d FROM pgsched" % count))
            if self._to_ask is not None:
                self._to_ask -= count
            if self._to_ask == 0:
                # one message and one answer: clearing up takes the source less than another wake-up takes us
                await self._send_cleanup()
            else:
                await session.sync()

    async def _send_cleanup(self) -> None:
        self._session.send(ROLLBACK)
        self._session.send(DISCARD)
        await self._session.sync()

    @property
    def is_cleanup_sent(self) -> bool:
        """Whether all rows are here and the source was told to clear the session behind them."""
        return self._is_fetched and self._is_last_read

    @property
    def _is_last_read(self) -> bool:
        """Whether the cleanup is what the source answers next, in the same message as the last FETCH."""
        return self._to_ask == 0 and not self._asked

    def __aiter__(self) -> AsyncIterator[RowBatch]:
        """Hand out the rows in order, once, in batches of about 1000 rows or 1 MiB."""
        if self._statement.on_limit is OnLimit.SAMPLE:
            from pgsched.adapters.source.sample import sampled

            return sampled(self, self._encoder, self._statement)
        return self._first_rows()

    def table_schema(self) -> bytes:
        """Return the Table Schema as UTF-8 JSON, final once iteration has ended."""
        is_sample = self.truncated and self._statement.on_limit is OnLimit.SAMPLE
        return self._encoder.table_schema(sampled=is_sample)

    def hand_out(self, data: bytes, rows: int) -> RowBatch:
        """Count a batch and return it."""
        self.bytes += len(data) + (1 if self.rows else 0)
        self.rows += rows
        return RowBatch(rows=rows, data=data)

    async def chunks(self) -> AsyncGenerator[list[Row]]:
        """Hand out the rows as they arrive, some at a time; afterwards only the cleanup is left.

        Raises:
            QueryFailed, QueryTimeout, SourceUnreachable: as the execution port says.
        """
        session = self._session
        while True:
            fetched = 0
            async with contextlib.aclosing(self._fetched()) as fetch:
                async for rows in fetch:
                    fetched += len(rows)
                    yield rows
            if fetched < self._asked.popleft() or self._is_last_read:
                break
            try:
                await session.pass_sync()
                await self._send_fetch()
            except TimeoutError:
                raise deadline_passed(self._statement.timeout_ms) from None
            session.pgconn.set_chunked_rows_mode(CHUNK_ROWS)
        # the last rows are not held for as long as the session waits for its next run
        self._loader.set_pgresult(None)
        self._is_fetched = True

    async def _fetched(self) -> AsyncGenerator[list[Row]]:
        """Hand out the rows of one FETCH."""
        session, load = self._session, self._load
        # the server's own count, at the end of the rows
        fetched, told = 0, None
        try:
            while True:
                result = await session.result()
                if result is None:
                    break
                if result.status not in (ExecStatus.TUPLES_CHUNK, ExecStatus.TUPLES_OK):
                    raise self._fault(result, _NOT_THEIRS)
                if result.nfields != self._encoder.width:
                    raise broken(f"{result.nfields} columns in a result of {self._encoder.width}")
                # it stands at the last chunk, or after it
                told = told if result.command_tuples is None else result.command_tuples
                if result.ntuples:
                    fetched += result.ntuples
                    if fetched > self._asked[0]:
                        raise broken(f"more than the {self._asked[0]} rows that were asked for")
                    yield load(result)
        except TimeoutError:
            raise deadline_passed(self._statement.timeout_ms) from None
        if told != fetched:
            raise broken(f"{fetched} rows where it counts {told}")

    async def settle(self) -> None:
        """See the cleanup through, once all rows are here; the session is clean when it went well."""
        if not self._is_fetched:
            return
        session = self._session
        session.deadline = asyncio.get_running_loop().time() + SETTLE_S
        with contextlib.suppress(TimeoutError, CommandFailed, SourceFault):
            if not self._is_last_read:
                await session.pass_sync()
            if self._to_ask != 0:
                await self._send_cleanup()
            while self._asked:
                self._asked.popleft()
                [nothing] = await session.results(1, then_sync=not self._is_last_read)
                if nothing.ntuples:
                    raise broken("rows after the last one")
            await session.results(2)
            session.deadline = None
            session.is_clean = True

    async def _first_rows(self) -> AsyncIterator[RowBatch]:
        statement = self._statement
        pending: list[Row] = []
        pending_bytes = 0
        async with contextlib.aclosing(self.chunks()) as chunks:
            async for chunk in chunks:
                for rows, size in self._in_parts(chunk):
                    pending += rows
                    pending_bytes += size
                    if len(pending) > statement.max_rows - self.rows:
                        # the one row more than allowed that was asked for
                        self._cut(f"more than {statement.max_rows} rows")
                        del pending[statement.max_rows - self.rows :]
                    # no more is read than could be stored
                    room = min(BATCH_BYTES, statement.max_bytes - self.bytes)
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
        size = self._size_of(rows)
        if size <= PART_BYTES:
            return [(rows, size)]
        self.is_large = self.is_large or size > LARGE_BYTES
        return [(part, self._size_of(part)) for part in parted(rows)]

    async def _batch(self, rows: list[Row], size: int) -> RowBatch | None:
        """Encode rows of about ``size`` bytes, as ``_encoded`` does."""
        if size > BESIDE_BYTES:
            return await asyncio.to_thread(self._encoded, rows, size)
        return self._encoded(rows, size)

    def _encoded(self, rows: list[Row], size: int) -> RowBatch | None:
        """Encode rows, as many as ``max_bytes`` has room for; None when not even one fits."""
        room = self._statement.max_bytes - self.bytes - (1 if self.rows else 0)
        if size > room * _MOST_SHRUNK:
            rows = self._without_the_hopeless(rows, room)
        if not rows:
            return None
        if size > MOST_ROW_BYTES:
            refuse_unstorable(rows, self._names, before=self.rows, room=room)
        seen = self._encoder.seen()
        try:
            data = self._encoder.encode(rows, room=room)
            fits = len(data) <= room
        except NoRoom:
            fits = False
        if not fits:
            self._cut(f"more than {self._statement.max_bytes} bytes")
            self._is_full = True
            rows = rows[: _fitting(self._encoder.afresh(), rows, room)]
            self._encoder.forget_since(seen)
            data = self._encoder.encode(rows)
        return self.hand_out(data, len(rows)) if rows else None

    def _without_the_hopeless(self, rows: list[Row], room: int) -> list[Row]:
        """Leave out what cannot fit however it is written: to write a large value takes a while."""
        room *= _MOST_SHRUNK
        for count, row in enumerate(rows):
            room -= sum(len(row[place] or b"") for place in self._wide)
            if room < 0:
                self._cut(f"more than {self._statement.max_bytes} bytes")
                self._is_full = True
                return rows[:count]
        return rows

    def _cut(self, what: str) -> None:
        if self._statement.on_limit is OnLimit.ERROR:
            raise LimitExceeded(f"the result has {what}; nothing is stored because on_limit is error")
        self.truncated = True

    def _learn(self, description: pq.PGresult, types: list[ColumnType]) -> None:
        """Take the columns' names and types."""
        places = range(description.nfields)
        names = [(description.fname(place) or b"").decode(errors="replace") for place in places]
        self._names = unique_names(names)
        self._encoder = RowEncoder(self._names, types)
        self._loader.set_loader_types([_ANY] * len(types), Format.BINARY)
        self._wide = [place for place, one in enumerate(types) if is_unbounded(one)]
        self._narrow_bytes = NARROW_BYTES * (len(types) - len(self._wide))

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

    def _load(self, result: pq.PGresult) -> list[Row]:
        self._loader.set_pgresult(result, set_loaders=False)
        return self._loader.load_rows(0, result.ntuples, tuple)

    def _size_of(self, rows: list[Row]) -> int:
        """Return about how many bytes the rows take: exactly where a value may be long."""
        size = len(rows) * self._narrow_bytes
        for place in self._wide:
            size += sum(map(len, filter(None, map(itemgetter(place), rows))))
        return size


def _keys(description: pq.PGresult) -> list[TypeKey]:
    return [(description.ftype(place), description.fmod(place)) for place in range(description.nfields)]


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
