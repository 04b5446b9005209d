"""Several statements in one message: sent at once, run in one implicit transaction, answered together.

For the few statements that run hot. psycopg's own pipeline sends each statement by itself; here a system
call and a wake-up of the server are paid once for all (PostgreSQL manual, "Pipeline Mode"). Statements are
prepared once a connection, their parameters go as text without a type, which the server takes from the
context: a parameter that is only selected needs a cast.

Where answers are needed on the way (``in_steps``) the transaction is begun and committed by statements of its
own: in the implicit one of a pipeline a server waits without end for a process that is frozen, locks held.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from psycopg import AsyncConnection, OperationalError, abc
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ConnStatus, ExecStatus
from psycopg.pq import abc as pq

from pgsched.adapters.sockets import ready

#: what a statement gave: a row as a mapping by column
Row = dict[str, Any]

_PLACE: Final = re.compile(r"%(?:\((\w+)\)s|%)")
_DONE: Final = frozenset({ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK, ExecStatus.EMPTY_QUERY})


class PipelinedConnection(AsyncConnection[Any]):
    """A connection that keeps what its pipelines need again."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take what psycopg gives a connection."""
        super().__init__(*args, **kwargs)
        #: statements that are prepared, by name, with the columns they return as far as that is known
        self.prepared: dict[bytes, list[str]] = {}
        #: part of their names, another one whenever all of them are gone
        self.generation = 0
        #: reads and writes values; to find out how takes longer than to do it
        self.transformer: abc.Transformer | None = None

    def forget_prepared(self) -> None:
        """Prepare everything anew: psycopg deallocates all there is when it rolls back."""
        self.prepared, self.generation = {}, self.generation + 1


class Answer:
    """What became of one statement; there once the pipeline has been waited for."""

    def __init__(self) -> None:
        #: its rows, in order
        self.rows: list[Row] = []
        #: how many rows it returned or changed
        self.count = 0


class Pipeline:
    """Statements on their way over one connection, which nobody else may use meanwhile."""

    def __init__(
        self, connection: PipelinedConnection, *, within_s: float | None = None, in_steps: bool = False
    ) -> None:
        self._connection = connection
        #: seconds that the server may take to answer what was sent, None for no bound
        self.within_s = within_s
        #: loop time at which waiting for the answers ends
        self._until: float | None = None
        self._pgconn = connection.pgconn
        #: what is to be filled in, None where a statement is prepared, and the statement's name
        self._waiting: list[tuple[Answer | None, bytes]] = []
        if connection.transformer is None:
            connection.transformer = Transformer(connection)
        self._adapter = connection.transformer
        self._prepared = connection.prepared
        self._sent_names: list[bytes] = []
        #: whether its transaction has ended and every answer is here
        self.is_over = False
        self._in_steps = in_steps
        if in_steps:
            self.send("begin")

    def send(self, statement: str, parameters: Mapping[str, Any] | None = None) -> Answer:
        """Queue a statement with ``%(name)s`` places."""
        name, text, places = _numbered(statement)
        values = [] if parameters is None else [_plain(parameters[place]) for place in places]
        dumped = self._adapter.dump_sequence(values, [PyFormat.TEXT] * len(values))
        if self._connection.prepare_threshold is None:
            # behind a pooler: what is prepared here is not there at the next statement
            self._pgconn.send_query_params(text, dumped)
        else:
            name += b"_%d" % self._connection.generation
            if name not in self._prepared and name not in self._sent_names:
                self._pgconn.send_prepare(name, text)
                self._sent_names.append(name)
                self._waiting.append((None, name))
            self._pgconn.send_query_prepared(name, dumped)
        answer = Answer()
        self._waiting.append((answer, name))
        return answer

    async def answers(self) -> None:
        """Wait for the answers to all statements sent so far; their transaction stays open (``in_steps``).

        Raises:
            psycopg.Error: the first statement that failed.
        """
        assert self._in_steps
        await self._sync()

    async def end(self) -> None:
        """Wait for all answers and commit.

        Raises:
            psycopg.Error: the first statement that failed, or the commit; nothing was done then.
        """
        if self._in_steps:
            self.send("commit")
        try:
            await self._sync()
        except OperationalError:
            raise
        except Exception:
            # told by the server, which waits for the next statement
            if self._in_steps:
                self.send("rollback")
                await self._sync()
            self.is_over = self._pgconn.status == ConnStatus.OK
            raise
        self.is_over = True

    async def _sync(self) -> None:
        self._pgconn.pipeline_sync()
        if self.within_s is not None:
            self._until = asyncio.get_running_loop().time() + self.within_s
        try:
            failed = await self._receive_synced()
        except TimeoutError:
            raise OperationalError(f"no answer within {self.within_s:g} s") from None
        try:
            if failed is not None:
                raise failed
        finally:
            # here and below: an error and a frame that know each other wait for the collector, and keep what
            # was sent until then
            del failed

    async def _receive_synced(self) -> Exception | None:
        failed: Exception | None = None
        try:
            await self._receive()
        except OperationalError:
            raise
        except Exception as error:
            failed = error
        try:
            # an error at commit comes in place of the sync's answer
            while (result := await self._result()) is None or result.status != ExecStatus.PIPELINE_SYNC:
                if result is None and self._pgconn.status != ConnStatus.OK:
                    raise failed or OperationalError("the connection ended in the middle of an answer")
                if result is not None and result.status == ExecStatus.FATAL_ERROR and failed is None:
                    failed = error_from_result(result, encoding=self._adapter.encoding)
            return failed
        finally:
            del failed

    async def _receive(self) -> None:
        failed: Exception | None = None
        waiting, self._waiting = self._waiting, []
        for answer, name in waiting:
            result = await self._result()
            if result is None:
                raise OperationalError("the connection ended in the middle of an answer")
            if result.status in _DONE:
                if answer is not None:
                    self._read(result, answer, name)
                else:
                    # at once: it stays prepared whatever becomes of the transaction
                    self._prepared[name] = []
            elif failed is None and result.status != ExecStatus.PIPELINE_ABORTED:
                failed = error_from_result(result, encoding=self._adapter.encoding)
            while await self._result() is not None:
                pass
        try:
            if failed is not None:
                raise failed
        finally:
            del failed

    def _read(self, result: pq.PGresult, answer: Answer, name: bytes) -> None:
        answer.count = result.command_tuples or 0
        if not result.ntuples:
            return
        names = self._prepared.get(name)
        if not names:
            names = [(result.fname(place) or b"").decode() for place in range(result.nfields)]
            if name in self._prepared:
                self._prepared[name] = names
        self._adapter.set_pgresult(result)
        answer.rows = self._adapter.load_rows(0, result.ntuples, _row_of(names))
        # it is kept with the connection, and is not to hold a result that nobody needs
        self._adapter.set_pgresult(None)

    async def _result(self) -> pq.PGresult | None:
        pgconn = self._pgconn
        while pgconn.flush():
            await ready(pgconn.socket, writing=True, until=self._until)
            pgconn.consume_input()
        while pgconn.is_busy():
            await ready(pgconn.socket, until=self._until)
            pgconn.consume_input()
        return pgconn.get_result()


def _plain(value: Any) -> Any:
    """Write a list as the text of an array (manual, "Array Input and Output Syntax"); leave the rest alone.

    psycopg's own writing of a list takes several times as long, and planning sends a dozen of them.
    """
    return f"{{{','.join(map(_element, value))}}}" if isinstance(value, list) else value


def _element(value: Any) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"'
    return f'"{value}"' if isinstance(value, datetime) else str(value)


def _row_of(names: list[str]) -> Callable[[Any], Row]:
    return lambda values: dict(zip(names, values, strict=True))


@lru_cache(maxsize=256)
def _numbered(statement: str) -> tuple[bytes, bytes, tuple[str, ...]]:
    """Return a statement's name, its text with ``$n`` places, and whose values they are."""
    numbers: dict[str, int] = {}

    def number(match: re.Match[str]) -> str:
        return "%" if match[1] is None else f"${numbers.setdefault(match[1], len(numbers) + 1)}"

    text = _PLACE.sub(number, statement)
    return f"pgsched_{abs(hash(text)):x}".encode(), text.encode(), tuple(numbers)
