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
from collections.abc import AsyncGenerator, AsyncIterator, Mapping

from psycopg.adapt import AdaptersMap, Transformer
from psycopg.pq import ExecStatus, Format
from psycopg.pq import abc as pq
from psycopg.types.string import ByteaBinaryLoader

from pgsched.adapters.source.arguments import evaluated, of_an_expression
from pgsched.adapters.source.bounds import Sizes
from pgsched.adapters.source.catalog import TypeKey, column_types, known_types
from pgsched.adapters.source.cost import EXPLAIN, refuse_costly
from pgsched.adapters.source.encoding import Row, RowEncoder
from pgsched.adapters.source.faults import broken, deadline_passed, lost, query_fault
from pgsched.adapters.source.first_rows import FirstRows
from pgsched.adapters.source.pins import BEGIN, DISCARD, ROLLBACK, pins_for
from pgsched.adapters.source.session import MOST_OWN_BYTES, MOST_WAITED_BYTES, Command, CommandFailed, Session
from pgsched.application.ports.execution import RowBatch, Statement
from pgsched.domain.errors import QueryFailed, SourceFault
from pgsched.domain.parameters import SCHEDULED_AT
from pgsched.domain.results import ColumnType, OnLimit, unique_names

#: milliseconds the source gets beyond the timeout to end the statement itself
GRACE_MS = 1000
#: seconds the source gets to clear the session after a run
SETTLE_S = 1.0
#: rows libpq hands out at once
CHUNK_ROWS = 50

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
        self._encoder = RowEncoder([], [])
        self._arguments = [argument.text for argument in statement.arguments]
        #: hands values out as they came: text forms are taken for the bytes of a binary format
        self._loader = Transformer(_BYTES)
        self._sizes = Sizes([])
        self._sent_at = 0.0
        #: rows that are still to be asked for, None for all there are
        self._to_ask = None if statement.on_limit is OnLimit.SAMPLE else statement.max_rows + 1
        #: rows asked for by each FETCH under way
        self._asked: deque[int] = deque()
        #: whether all rows came and only the cleanup is under way
        self._is_fetched = False
        #: whether rows came that left their connection with large buffers
        self.is_large = False

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

            return sampled(self, self._encoder, self._statement, self._sizes)
        return FirstRows(self, self._encoder, self._statement, self._sizes).batches()

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

    def _learn(self, description: pq.PGresult, types: list[ColumnType]) -> None:
        """Take the columns' names and types."""
        places = range(description.nfields)
        names = [(description.fname(place) or b"").decode(errors="replace") for place in places]
        self._encoder = RowEncoder(unique_names(names), types)
        self._loader.set_loader_types([_ANY] * len(types), Format.BINARY)
        self._sizes = Sizes(types)

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


def _keys(description: pq.PGresult) -> list[TypeKey]:
    return [(description.ftype(place), description.fmod(place)) for place in range(description.nfields)]
