"""The query jobs on Postgres."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Label, insert, select

from pgsched.adapters.postgres.database import Database
from pgsched.adapters.postgres.faults import violations
from pgsched.adapters.postgres.mapping import JOB, SPEC, job_from
from pgsched.adapters.postgres.statements import first, labelled, rows
from pgsched.adapters.postgres.tables import query_job
from pgsched.adapters.postgres.workers import HINT
from pgsched.domain.errors import NameTaken, NotFound
from pgsched.domain.jobs import Job, JobSpec, first_instant
from pgsched.domain.names import is_key


class PostgresJobs:
    """The port ``Jobs`` over the metadata database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, spec: JobSpec, *, start_at: datetime | None = None) -> Job:
        """Store a job; its anchor is ``start_at`` or the whole second of now."""
        if not is_key(spec.data_source_id):
            raise NotFound("data source", spec.data_source_id)
        faults = {
            "query_job_name_key": NameTaken("query", spec.name),
            "query_job_data_source_fkey": NotFound("data source", spec.data_source_id),
        }
        with violations(faults):
            async with self._database.transaction() as connection:
                now = await (await connection.execute("select clock_timestamp()")).fetchone()
                assert now is not None
                anchor = (start_at or now[0]).astimezone(UTC).replace(microsecond=0)
                statement = (
                    insert(query_job)
                    .values(
                        # an enumeration goes as its text, which it is
                        **{name: getattr(spec, name) for name in SPEC},
                        anchor_at=anchor,
                        next_run_at=first_instant(spec, anchor, now[0]),
                    )
                    .returning(*_columns())
                )
                row = await first(connection, statement)
                await connection.execute(HINT)
        assert row is not None
        return job_from(row)

    async def get(self, key: str | int) -> Job:
        """Return the job of this name or id."""
        if is_key(key):
            column = query_job.c.id if isinstance(key, int) else query_job.c.name
            async with self._database.connection() as connection:
                row = await first(connection, select(*_columns()).where(column == key))
            if row is not None:
                return job_from(row)
        raise NotFound("query", key)

    async def all(self) -> Sequence[Job]:
        """Return every job, by name."""
        async with self._database.connection() as connection:
            found = await rows(connection, select(*_columns()).order_by(query_job.c.name.collate("C")))
        return [job_from(row) for row in found]


def _columns() -> list[Label[Any]]:
    return labelled(query_job, (*JOB, *SPEC), "j_")
