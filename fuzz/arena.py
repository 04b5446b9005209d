"""Where statements are run with one fence at a time between them and the canary.

- **the source path**: what the guard allows, through pgsched's own execution (named cursor, READ ONLY, pins)
  as a role that may only read. Nothing at all may change.
- **the guard**: what it allows to a source with built-in functions only, as superuser, READ WRITE, committed.
  Nothing at all may change.
- **cursor and READ ONLY**: what the guard refuses, through the execution, as a role that may write. Tables,
  sequences and catalogs must not change.
- **the role**: what the guard refuses, READ WRITE and committed, as the role that may only read. Tables and
  sequences must not change.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import psycopg

from fuzz.canary import DBNAME, READER, WRITER, Canary, Watch
from pgsched.adapters.source.sources import PsycopgSources
from pgsched.application.ports.execution import SourceAddress, Statement
from pgsched.domain.errors import PgschedError
from pgsched.domain.results import OnLimit

#: milliseconds that a statement may take
TIMEOUT_MS = 300
#: seconds in which a notification has arrived
SETTLE_S = 0.1
#: what the fences behind the guard promise, by what the canary's watch looks at
_WRITES = frozenset(
    {"tables", "sequences", "objects", "functions", "roles", "databases", "schemas", "types and operators"}
)
_DATA = frozenset({"tables", "sequences"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Throw:
    """A statement and what the guard said."""

    sql: str
    #: by the guard of a new source
    is_allowed: bool
    #: by the guard of a source with built-in functions only
    is_built_in: bool


_Run = Callable[[str], Awaitable[bool]]


class Arena:
    """Runs statements and tells after which of them the canary was another."""

    def __init__(self, canary: Canary) -> None:
        self.canary = canary
        #: statements run and those that gave no SQL error, by fence
        self.counts: dict[str, tuple[int, int]] = {}
        self._sources = PsycopgSources()
        self._plain: dict[str, psycopg.Connection] = {}

    async def __aenter__(self) -> Arena:
        self._watch = Watch(self.canary)
        self._before = self._watch.look()
        self._glance = self._watch.glance()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._sources.close()
        for connection in self._plain.values():
            connection.close()
        self._watch.close()

    async def run(self, throws: Sequence[Throw]) -> list[tuple[str, str, list[str]]]:
        """Run statements under each fence; return fence, statement and changes for each that got past."""
        allowed = [throw.sql for throw in throws if throw.is_allowed]
        built_in = [throw.sql for throw in throws if throw.is_built_in]
        rest = [throw.sql for throw in throws if not throw.is_allowed]
        # refused texts are cheap to refuse again: a share of them shows as much
        some = random.Random(len(rest)).sample(rest, min(len(rest), 40))
        past = await self._fence("the source path", allowed, self._as(READER), None)
        past += await self._fence("the guard", built_in, self._committed(self.canary.admin), None)
        past += await self._fence("cursor and READ ONLY", some, self._as(WRITER), _WRITES)
        past += await self._fence("the role", some, self._committed(self.canary.conninfo(READER)), _DATA)
        # what that role may do, a NOTIFY among it, must not be laid at the door of the statements to come
        await asyncio.sleep(SETTLE_S)
        self._before = self._look()
        return past

    async def _fence(
        self, fence: str, statements: Sequence[str], run: _Run, watched: frozenset[str] | None
    ) -> list[tuple[str, str, list[str]]]:
        past: list[tuple[str, str, list[str]]] = []
        ran, answered = self.counts.get(fence, (0, 0))
        for sql in statements:
            answered += await run(sql)
            ran += 1
            if self._is_as_before():
                continue
            if told := self._changed(watched):
                past.append((fence, sql, told))
        self.counts[fence] = ran, answered
        # what no glance shows (statistics, files, notifications) was changed by one of them, say which
        if told := self._changed(watched):
            for sql in statements:
                await run(sql)
                if again := self._changed(watched):
                    past.append((fence, sql, again))
            if not past:
                past.append((fence, ";\n".join(statements), told))
        return past

    def _is_as_before(self) -> bool:
        try:
            glance = self._watch.glance()
        except psycopg.OperationalError:
            return False
        before, self._glance = self._glance, glance
        return before == glance

    def _changed(self, watched: frozenset[str] | None) -> list[str]:
        before, self._before = self._before, self._look()
        changed = [name for name, value in self._before.items() if value != before[name]]
        return [name for name in changed if watched is None or name in watched]

    def _look(self) -> dict[str, str]:
        try:
            return self._watch.look()
        except psycopg.OperationalError:
            # a victim was shot, or the server restarted: that shows as other pids
            self._watch = Watch(self.canary)
            return self._watch.look()

    def _as(self, role: str) -> _Run:
        canary = self.canary
        address = SourceAddress(
            host=canary.host, port=canary.port, dbname=DBNAME, username=role,
            password=canary.passwords[role], source_id=1 if role == READER else 2,
        )  # fmt: skip

        async def run(sql: str) -> bool:
            statement = Statement(
                sql=sql, timezone="UTC", timeout_ms=TIMEOUT_MS, max_rows=100, max_bytes=1 << 20,
                on_limit=OnLimit.TRUNCATE, application_name="pgsched:1/1",
            )  # fmt: skip
            try:
                async with self._sources.execute(address, statement, keep=_keep) as stream:
                    async for _ in stream:
                        pass
            except PgschedError:
                return False
            return True

        return run

    def _committed(self, conninfo: str) -> _Run:
        async def run(sql: str) -> bool:
            return await asyncio.to_thread(self._commit, conninfo, sql)

        return run

    def _commit(self, conninfo: str, sql: str) -> bool:
        connection = self._plain.get(conninfo)
        if connection is None or connection.closed:
            connection = psycopg.connect(conninfo, autocommit=True)
            connection.execute(f"set statement_timeout = {TIMEOUT_MS}; set standard_conforming_strings = on")
            self._plain[conninfo] = connection
        try:
            # psycopg sends a text without parameters as it is, by the simple protocol, and it commits
            cursor = connection.execute(sql.encode("utf-8", "surrogatepass"))
            while cursor.description is not None and cursor.fetchmany(100):
                pass
        except (psycopg.Error, ValueError):
            if connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                connection.close()
            return False
        # what the session itself still holds is not what is looked for, locks are
        if connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            connection.close()
        return True


async def _keep(connections: int, _for_s: float) -> int:
    """Let every connection be kept."""
    return connections
