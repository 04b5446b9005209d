"""One connection to a source, driven by asyncio on libpq's non-blocking calls, always in pipeline mode.

In pipeline mode libpq speaks the extended protocol only, where a command is one statement: psycopg's plain
``execute(sql)`` would speak the simple protocol, in which ``commit; insert …`` writes (manual, "Message
Flow"). Driving libpq here also keeps deadlines and cancelling in one place: a mute server is left after a
cancel request, never waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import psycopg
from psycopg.pq import DiagnosticField, ExecStatus, PollingStatus, TransactionStatus
from psycopg.pq import abc as pq

from pgsched.adapters.sockets import Reader, ready
from pgsched.adapters.source.faults import broken, lost, too_much
from pgsched.adapters.source.login import received_bytes
from pgsched.domain.errors import PgschedError, SourceUnreachable
from pgsched.domain.results import ColumnType

#: seconds given to a cancel request before the connection is closed regardless
_CANCEL_TIMEOUT_S = 1.5
#: seconds for which a session serves one run after the other
MOST_AGE_S = 600.0
#: statements remembered; a session that forgets one takes a round trip more
_MOST_STATEMENTS = 1000
#: most bytes that a source may send before a result is complete, beyond what a statement allows itself
MOST_WAITED_BYTES = 64 << 20
#: the same where only statements of pgsched's own are answered
MOST_OWN_BYTES = 1 << 20
#: seconds that libpq may take for one result before it is looked at how many those are in all
_SLOW_S = 0.001
#: seconds that libpq may take in all, and bytes that it must take in for each second more; it takes hundreds
#: of millions, but is soon slower than this where a source tells it ever more settings
_MOST_SPENT_S = 0.25
_LEAST_SPEED = 16 << 20
_FAILED = frozenset({ExecStatus.FATAL_ERROR, ExecStatus.BAD_RESPONSE})


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """One statement of ours with its parameters, as text."""

    #: SQL, UTF-8
    sql: bytes
    #: values of $1, $2 …
    params: Sequence[bytes | None] = ()
    #: OIDs of their types; the source takes them from the context where there are none
    types: Sequence[int] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Defaults:
    """Settings that a session has of its own when it is opened, and again after each DISCARD ALL."""

    #: search_path of the role or database
    search_path: str = '"$user", public'
    #: whether a busy server can look for its client (client_connection_check_interval)
    can_look_for_client: bool = False


class CommandFailed(Exception):
    """A command's result is an error; callers know whose statement it was."""

    def __init__(self, result: pq.PGresult, index: int) -> None:
        super().__init__("a command failed")
        #: what the server answered
        self.result = result
        #: which of the commands sent together
        self.index = index


def rows_of(result: pq.PGresult, width: int) -> list[list[str]]:
    """Return the rows that a statement of ours gave, NULL as an empty text.

    Raises:
        ProtocolBroken: it has other columns than were asked for.
    """
    if result.nfields != width:
        raise broken(f"{result.nfields} columns where {width} were asked for")
    return [
        [(result.get_value(row, column) or b"").decode(errors="replace") for column in range(width)]
        for row in range(result.ntuples)
    ]


def row_of(result: pq.PGresult, width: int) -> list[str]:
    """Return the one row that a statement of ours gave.

    Raises:
        ProtocolBroken: there is none, or more, or other columns.
    """
    rows = rows_of(result, width)
    if len(rows) != 1:
        raise broken(f"{len(rows)} rows where one was asked for")
    return rows[0]


class _Messages:
    """Counts what a function says by RAISE INFO, which no setting silences and nobody reads."""

    def __init__(self) -> None:
        #: bytes of their texts
        self.bytes = 0

    def __call__(self, message: pq.PGresult) -> None:
        self.bytes += len(message.error_field(DiagnosticField.MESSAGE_PRIMARY) or b"")


class Session:
    """A connection that serves one run at a time."""

    def __init__(self, pgconn: pq.PGconn) -> None:
        """Take over an open, non-blocking connection.

        Raises:
            SourceUnreachable: this process has no descriptor left; the connection is closed.
        """
        self.pgconn = pgconn
        pgconn.enter_pipeline_mode()
        try:
            #: a descriptor of our own: libpq closes its own when it likes, and the number may serve another
            self._socket = socket.socket(fileno=os.dup(pgconn.socket))
        except OSError as error:
            pgconn.finish()
            raise lost(f"no descriptor to watch it by: {error.strerror}") from None
        self._reader = Reader(self._socket.fileno())
        self._messages = pgconn.notice_handler = _Messages()
        #: most bytes that may arrive before a result is complete
        self.most_waited_bytes = MOST_OWN_BYTES
        #: tells how long libpq takes for what has arrived
        self._clock: Callable[[], float] = time.perf_counter
        #: seconds of this thread that it took, where it took long
        self._spent_s = 0.0
        #: loop time at which waiting for the source ends with TimeoutError, None for never
        self.deadline: float | None = None
        #: whether everything asked was answered and the next run may use the connection
        self.is_clean = True
        #: whether this is pgsched's own metadata database, None until looked at
        self.is_metadata: bool | None = None
        self._born_at = time.monotonic()
        #: what its settings are unless pinned
        self.defaults = Defaults()
        #: whether it served a run before
        self.is_kept = False
        #: types of columns by OID and modifier, as far as they were asked for
        self.known_types: dict[tuple[int, int], ColumnType] = {}
        #: digests of the statements whose columns' types are among those
        self._statements: set[int] = set()

    @property
    def is_old(self) -> bool:
        """Whether it has served for long: what the source's admin sets for new sessions shall reach it."""
        return time.monotonic() - self._born_at > MOST_AGE_S

    @property
    def is_alive(self) -> bool:
        """Whether the connection is open and idle, as far as can be told without asking the server."""
        try:
            self.pgconn.consume_input()
        except psycopg.Error:
            return False
        return self.is_idle

    @property
    def is_idle(self) -> bool:
        """Whether the connection is open and idle by what was last read from it."""
        return self.is_clean and self.pgconn.transaction_status == TransactionStatus.IDLE

    def knows_columns_of(self, sql: str) -> bool:
        """Whether the types of a statement's columns were known when it last ran here."""
        return hash(sql) in self._statements

    def learnt_columns_of(self, sql: str) -> None:
        """Remember that the types of a statement's columns are known."""
        if len(self._statements) >= _MOST_STATEMENTS:
            self._statements.clear()
        self._statements.add(hash(sql))

    def send(self, command: Command) -> None:
        """Queue a command; its result is due after those queued before."""
        self.is_clean = False
        try:
            self.pgconn.send_query_params(
                command.sql, command.params or None, param_types=command.types or None
            )
        except psycopg.Error as error:
            raise lost(str(error)) from None

    def send_describe(self, portal: bytes) -> None:
        """Queue a request for the columns of a cursor."""
        try:
            self.pgconn.send_describe_portal(portal)
        except psycopg.Error as error:
            raise lost(str(error)) from None

    async def sync(self) -> None:
        """End the commands queued so far (an error skips to here) and send them."""
        try:
            self.pgconn.pipeline_sync()
            while self.pgconn.flush():
                await ready(self.pgconn.socket, writing=True, until=self.deadline)
                self.pgconn.consume_input()
        except psycopg.Error as error:
            raise lost(str(error)) from None

    async def result(self) -> pq.PGresult | None:
        """Return the next result, None where one command's results end."""
        begun_at: int | None = None
        try:
            # written out, with a clock that costs no system call: this is done for each answer of each run
            clock = self._clock
            began_at = clock()
            is_busy = self.pgconn.is_busy()
            spent_s = clock() - began_at
            while is_busy:
                await self._reader.ready(self.deadline)
                began_at = clock()
                self.pgconn.consume_input()
                is_busy = self.pgconn.is_busy()
                spent_s += clock() - began_at
                # libpq holds a message whole, and every notification; it has no bound of its own
                received = received_bytes(self._socket)
                if begun_at is None:
                    begun_at, self._messages.bytes = received, 0
                if received - begun_at > self.most_waited_bytes:
                    raise self._too_much()
                if spent_s > _SLOW_S:
                    self._judge(spent_s)
                    clock, spent_s = self._clock, 0.0
            if spent_s > _SLOW_S:
                self._judge(spent_s)
            return self.pgconn.get_result()
        except psycopg.Error as error:
            raise lost(str(error)) from None

    def _judge(self, spent_s: float) -> None:
        """Count time in which libpq looked at what had arrived, and nobody else had a turn.

        Raises:
            ProtocolBroken: it was more than what arrived is worth.
        """
        if self._clock is not time.thread_time:
            # the system may have had something else to do; from now on only time of our own counts
            self._clock = time.thread_time
            return
        self._spent_s += spent_s
        received = received_bytes(self._socket)
        if received and self._spent_s > _MOST_SPENT_S + received / _LEAST_SPEED:
            raise broken(f"libpq takes {self._spent_s:.1f} s for {received} bytes")

    def _too_much(self) -> PgschedError:
        if self.most_waited_bytes > MOST_OWN_BYTES:
            half = self.most_waited_bytes // 2
            return too_much(self.most_waited_bytes, of_messages=self._messages.bytes > half)
        return broken(f"more than {self.most_waited_bytes} bytes in answer to a statement of pgsched's own")

    async def results(self, count: int, *, then_sync: bool = True) -> list[pq.PGresult]:
        """Return one result for each of ``count`` commands and pass the sync after them.

        ``then_sync=False`` when other commands stand before that sync.

        Raises:
            CommandFailed: the first error among them; the commands after it did not run.
            SourceUnreachable: the connection broke.
            ProtocolBroken: the answers are not those to the commands.
        """
        collected: list[pq.PGresult] = []
        failed: CommandFailed | None = None
        for index in range(count):
            result = await self.result()
            if result is None:
                raise failed or lost("")
            if result.status in _FAILED and failed is None:
                failed = CommandFailed(result, index)
            collected.append(result)
            # once: where a server lies, or is gone, libpq goes on handing out results for ever
            if await self.result() is not None:
                raise failed or broken("one command has two results")
        if then_sync:
            await self.pass_sync()
        if failed is not None:
            raise failed
        return collected

    async def pass_sync(self) -> None:
        """Read the answer to a sync."""
        result = await self.result()
        if result is None or result.status != ExecStatus.PIPELINE_SYNC:
            raise lost("" if result is None else result.get_error_message("utf-8"))

    async def ask(self, *commands: Command) -> list[pq.PGresult]:
        """Run commands in one round trip and return a result for each.

        Raises:
            CommandFailed: one of them failed.
            SourceUnreachable: the connection broke.
        """
        for command in commands:
            self.send(command)
        await self.sync()
        results = await self.results(len(commands))
        self.is_clean = True
        return results

    async def abandon(self) -> None:
        """Cancel what runs at the source, briefly trying, and close the connection."""
        self.is_clean = False
        try:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                with contextlib.suppress(psycopg.Error, TimeoutError, SourceUnreachable, OSError):
                    async with asyncio.timeout(_CANCEL_TIMEOUT_S):
                        await self._cancel()
        finally:
            self.close()

    def close(self) -> None:
        """Close the connection at once."""
        self.is_clean = False
        self._reader.stop()
        self.pgconn.finish()
        self._socket.close()

    async def _cancel(self) -> None:
        request = self.pgconn.cancel_conn()
        try:
            request.start()
            while (status := request.poll()) != PollingStatus.OK:
                if status == PollingStatus.FAILED:
                    return
                writing = status == PollingStatus.WRITING
                await ready(request.socket, reading=not writing, writing=writing)
        finally:
            request.finish()
