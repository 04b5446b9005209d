"""Whether the metadata database can serve, on Postgres."""

from __future__ import annotations

from typing import Final

from pgsched.adapters.postgres.database import Database
from pgsched.adapters.postgres.schema import EXPECTED, version_of
from pgsched.adapters.postgres.workers import ALIVE
from pgsched.application.ports.views import Readiness
from pgsched.domain.freshness import Freshness
from pgsched.domain.jobs import Visibility

_WORK: Final = f"""
select ({ALIVE}),
       (select count(*) from query_run where status = 'queued' and ready_at <= clock_timestamp())"""


_FRESHNESS: Final = """
select j.id, j.name, j.visibility, j.fresh_for, clock_timestamp() as now, coalesce((
    select r.run_finished_at from query_run r where r.query_id = j.id and r.status = 'success'
    order by r.scheduled_at desc, r.id desc limit 1), j.created_at) as since
from query_job j where j.fresh_for is not null and j.enabled
order by j.id"""


class PostgresHealth:
    """The port ``HealthView`` over the metadata database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def readiness(self) -> Readiness:
        """Look; workers and waiting runs are counted only in a schema of this program's version."""
        workers = waiting = 0
        stale: list[str] = []
        async with self._database.connection() as connection:
            version = await version_of(connection)
            if version == EXPECTED:
                row = await (await connection.execute(_WORK)).fetchone()
                assert row is not None
                workers, waiting = row
                for query_id, name, visibility, fresh_for, now, since in await (
                    await connection.execute(_FRESHNESS)
                ).fetchall():
                    if Freshness(since=since, fresh_for=fresh_for, now=now).is_stale:
                        stale.append(name if visibility == Visibility.PUBLIC else str(query_id))
        return Readiness(
            schema_version=version,
            expected_version=EXPECTED,
            workers=workers,
            waiting=waiting,
            stale=tuple(stale),
        )
