"""The workers that are there, on Postgres: a row, a session lock that ends with the worker, and hints."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from psycopg import Error

from pgsched.adapters.postgres.connections import Connection
from pgsched.adapters.postgres.database import Database
from pgsched.adapters.postgres.faults import fault_of, reason_of, unavailable
from pgsched.adapters.postgres.schema import EXPECTED, version_of
from pgsched.adapters.sockets import ready
from pgsched.application.ports.queue import WorkerInfo
from pgsched.domain.errors import DatabaseFault, SchemaMismatch
from pgsched.domain.runs import LEASE_S

log = logging.getLogger(__name__)

#: first key of a worker's advisory lock, a number that nobody else uses; the worker's id is the second
WORKER_LOCK_CLASS: Final = 1886812004
#: wakes every worker at commit; takes a global lock then, so it is never on a run's hot path
HINT: Final = "select pg_notify('pgsched', '')"
#: seconds after its last sign of life at which a worker without a session lock counts as gone
SILENT_S: Final = 30
#: seconds a server that does not answer may hold up a worker that leaves
_UNLOCK_S: Final = 1

#: the locks of workers that are there, by worker (objid)
ARE_HELD: Final = f"""
select objid from pg_locks
where locktype = 'advisory' and granted and classid = {WORKER_LOCK_CLASS} and objsubid = 2
  and database = (select oid from pg_database where datname = current_database())"""
#: whether a row of worker is of one that is there now
PRESENT: Final = f"""
stopped_at is null and case
    when session_lock then id in (select objid::bigint from ({ARE_HELD}) held)
    else seen_at > clock_timestamp() - interval '{SILENT_S} seconds' end"""
#: how many workers are present
ALIVE: Final = f"select count(*) from worker where {PRESENT}"

_ENLIST: Final = """
insert into worker (host, pid, version, concurrency)
values (%(host)s, %(pid)s, %(version)s, %(concurrency)s) returning id"""
# Rows of workers that ended long ago say nothing any more.
_FORGET: Final = "delete from worker where seen_at < clock_timestamp() - interval '30 days'"
_BEAT: Final = """
update worker set seen_at = clock_timestamp(), figures = %(figures)s::jsonb where id = %(id)s"""
_ATTEND: Final = """
update worker set session_lock = %(locked)s, seen_at = clock_timestamp(), stopped_at = null
where id = %(id)s"""
_LEAVE: Final = (
    "update worker set stopped_at = clock_timestamp(), seen_at = clock_timestamp() where id = %(id)s"
)

_IS_OURS: Final = "select pg_backend_pid() = %(pid)s"
_LOCK: Final = f"select pg_advisory_lock({WORKER_LOCK_CLASS}, %(id)s)"
_UNLOCK: Final = f"select pg_advisory_unlock({WORKER_LOCK_CLASS}, %(id)s)"
_IS_LOCKED: Final = f"""
select pg_backend_pid() = %(pid)s
   and %(id)s in (select objid::bigint from ({ARE_HELD} and pid = pg_backend_pid()) held)"""
# The server may not have noticed that a connection of this very worker broke; its lock is taken off it.
_END_FORMER: Final = f"""
select pg_terminate_backend(pid) from pg_locks
where locktype = 'advisory' and granted and classid = {WORKER_LOCK_CLASS} and objid = %(id)s
  and objsubid = 2 and pid = %(former)s"""


class PostgresWorkers:
    """The port ``Workers`` over the metadata database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def enlist(self, info: WorkerInfo) -> AsyncIterator[PostgresAttendance]:
        """Announce a worker and hold the session lock by which others notice its end."""
        async with self._database.connection() as connection:
            if (found := await version_of(connection)) != EXPECTED:
                raise SchemaMismatch.between(found, EXPECTED)
            await connection.execute(_FORGET)
            values = {name: getattr(info, name) for name in ("host", "pid", "version", "concurrency")}
            row = await (await connection.execute(_ENLIST, values)).fetchone()
        assert row is not None
        attendance = PostgresAttendance(self._database, row[0])
        try:
            await attendance.attend()
            yield attendance
        finally:
            await attendance.leave()

    async def alive(self) -> int:
        """Return how many workers are present now."""
        async with self._database.connection() as connection:
            row = await (await connection.execute(ALIVE)).fetchone()
        assert row is not None
        return int(row[0])


class PostgresAttendance:
    """The port ``Attendance``: one connection of its own for the lock and for hints.

    Behind a pooler that hands a session's transactions to different backends neither holds; then nothing is
    locked, no hint comes, and lease and poll serve alone.
    """

    def __init__(self, database: Database, worker_id: int) -> None:
        self._database = database
        self._connection: Connection | None = None
        self._former = 0
        #: whether it was said that nothing is locked
        self._said = False
        #: whether this worker's end shows by its lock
        self.session_lock = False
        self.worker_id = worker_id

    async def hint(self, timeout_s: float) -> bool:
        """Wait for a hint that jobs or runs changed; False when none came in time."""
        if self._connection is None or self._connection.closed:
            await self.attend()
            return True
        if not self.session_lock:
            await asyncio.sleep(timeout_s)
            return False
        try:
            return await _hint(self._connection, timeout_s)
        except Error:
            # Something may have been missed, and the lock is gone: both are made good at once.
            await self._drop()
            await self.attend()
            return True

    async def beat(self, figures: Mapping[str, float] | None = None) -> None:
        """Write that the worker is alive, and what it tells of its process."""
        values = {"id": self.worker_id, "figures": json.dumps(dict(figures or {}))}
        async with self._database.pipeline() as pipeline:
            pipeline.send(_BEAT, values)

    async def attend(self) -> None:
        """Open the connection, lock, listen, and note whether the lock holds.

        Raises:
            DatabaseUnavailable: the database cannot be reached now.
        """
        connection = await self._database.connect()
        try:
            self.session_lock = await self._lock(connection)
            if self.session_lock:
                await connection.execute("listen pgsched")
            await connection.execute(_ATTEND, {"id": self.worker_id, "locked": self.session_lock})
        except BaseException as error:
            await connection.close()
            if isinstance(error, Error):
                raise fault_of(error) or unavailable(reason_of(error)) from None
            raise
        self._connection, self._former = connection, connection.info.backend_pid
        if not self.session_lock and not self._said:
            self._said = True
            log.warning(
                "sessions do not last here (a pooler in transaction mode): leases alone serve, and a worker "
                "that is lost is noticed after %.0f s instead of at once",
                LEASE_S,
                extra={"action": "worker.leases_alone"},
            )

    async def leave(self) -> None:
        """Take the lock off and mark the worker as stopped, if the database can be told."""
        if self._connection is not None and self.session_lock:
            # The server frees it by itself, but only some time after the connection is closed.
            with suppress(Error, TimeoutError):
                async with asyncio.timeout(_UNLOCK_S):
                    await self._connection.execute(_UNLOCK, {"id": self.worker_id})
        await self._drop()
        with suppress(DatabaseFault):
            async with self._database.connection() as connection:
                await connection.execute(_LEAVE, {"id": self.worker_id})

    async def _lock(self, connection: Connection) -> bool:
        """Take the session lock where sessions last, and look in a later transaction whether it is held."""
        values = {"id": self.worker_id, "pid": connection.info.backend_pid, "former": self._former}
        # A pooler tells other process ids than the server's; a lock taken through it would stay behind.
        if not await _truth(connection, _IS_OURS, values):
            return False
        if self._former:
            await connection.execute(_END_FORMER, values)
        await connection.execute(_LOCK, values)
        return await _truth(connection, _IS_LOCKED, values)

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


async def _truth(connection: Connection, statement: Any, values: dict[str, Any]) -> bool:
    row = await (await connection.execute(statement, values)).fetchone()
    return row is not None and bool(row[0])


async def _hint(connection: Connection, timeout_s: float) -> bool:
    """Wait for a notification; psycopg's own way would wake this process ten times a second meanwhile."""
    until = asyncio.get_running_loop().time() + timeout_s
    while not _came(connection):
        try:
            await ready(connection.fileno(), until=until)
        except TimeoutError:
            return False
    return True


def _came(connection: Connection) -> bool:
    """Take all notifications that are there."""
    connection.pgconn.consume_input()
    came = False
    while connection.pgconn.notifies() is not None:
        came = True
    return came
