"""Whether the metadata database can serve, on Postgres."""

from __future__ import annotations

from typing import Final

from pgsched.adapters.postgres.database import Database
from pgsched.adapters.postgres.schema import EXPECTED, version_of
from pgsched.adapters.postgres.workers import ALIVE
from pgsched.application.ports.views import Readiness

_WORK: Final = f"""
select ({ALIVE}),
       (select count(*) from query_run where status = 'queued' and ready_at <= clock_timestamp())"""


class PostgresHealth:
    """The port ``HealthView`` over the metadata database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def readiness(self) -> Readiness:
        """Look; workers and waiting runs are counted only in a schema of this program's version."""
        workers = waiting = 0
        async with self._database.connection() as connection:
            version = await version_of(connection)
            if version == EXPECTED:
                row = await (await connection.execute(_WORK)).fetchone()
                assert row is not None
                workers, waiting = row
        return Readiness(schema_version=version, expected_version=EXPECTED, workers=workers, waiting=waiting)
