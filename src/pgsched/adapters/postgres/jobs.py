"""The query jobs on Postgres."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from psycopg import AsyncConnection
from sqlalchemy import ColumnElement, Label, Select, func, insert, or_, select, update

from pgsched.adapters.postgres.database import Database
from pgsched.adapters.postgres.faults import violations
from pgsched.adapters.postgres.mapping import JOB, SPEC, job_from, spec_values
from pgsched.adapters.postgres.statements import first, labelled, next_version, one_by_key, rows
from pgsched.adapters.postgres.tables import query_job
from pgsched.adapters.postgres.workers import HINT
from pgsched.domain.errors import HasRuns, NameTaken, NotFound, PgschedError, Stale
from pgsched.domain.job_changes import changes_plan, revised
from pgsched.domain.jobs import Job, JobSpec, first_instant
from pgsched.domain.names import is_key, text_fault

#: bytes of results that one call of ``forget_runs`` deletes at most, one run whatever its size aside
_FORGOTTEN_BYTES: Final = 64 * 1024 * 1024

# Rows that a worker has under way are passed over: it takes the run first and the query after it, this one
# has the query already.
_MOVE_WAITING: Final = """
update query_run set data_source_id = %(source_id)s where id in (
    select id from query_run
    where query_id = %(id)s and status = 'queued' and data_source_id <> %(source_id)s
    for no key update skip locked)"""
_DISABLE: Final = """
update query_job set enabled = false, next_run_at = null,
    updated_at = greatest(clock_timestamp(), updated_at + interval '1 microsecond')
where id = %(id)s returning id"""
_CANCEL_WAITING: Final = """
update query_run set status = 'cancelled', error_code = 'cancelled', run_finished_at = clock_timestamp(),
    error_message = 'cancelled on request', error_public = 'cancelled on request'
where id in (
    select id from query_run where query_id = %(id)s and status = 'queued' for no key update skip locked)"""
_CANCEL_RUNNING: Final = """
update query_run set cancel_requested_at = coalesce(cancel_requested_at, clock_timestamp())
where id in (
    select id from query_run where query_id = %(id)s and status = 'running' for no key update skip locked)"""
_NOT_OVER: Final = """
select count(*) from query_run where query_id = %(id)s and status in ('queued', 'running')"""
_FORGET: Final = """
delete from query_run where id in (
    select id from (
        select o.id, row_number() over line as place, sum(coalesce(b.byte_size, 0)) over line as bytes
        from (select id, scheduled_at from query_run where query_id = %(id)s
              order by scheduled_at, id limit %(limit)s) o
        left join query_run_blob b on b.run_id = o.id
        window line as (order by o.scheduled_at, o.id)) oldest
    where place = 1 or bytes <= %(bytes)s)"""
_LOCK: Final = "select name from query_job where id = %(id)s for update"
_HAS_RUNS: Final = "select exists (select from query_run where query_id = %(id)s)"
_REMOVE: Final = "delete from query_job where id = %(id)s"
# The runs before their query, in the order in which a worker that ends one takes them.
_REMOVE_RUNS: Final = "delete from query_run where query_id = %(id)s"


class PostgresJobs:
    """The port ``Jobs`` over the metadata database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, spec: JobSpec, *, start_at: datetime | None = None) -> Job:
        """Store a job; its anchor is ``start_at`` or the whole second of now."""
        if not is_key(spec.data_source_id):
            raise NotFound("data source", spec.data_source_id)
        with violations(_faults(spec)):
            async with self._database.transaction() as connection:
                now = await (await connection.execute("select clock_timestamp()")).fetchone()
                assert now is not None
                anchor = (start_at or now[0]).astimezone(UTC).replace(microsecond=0)
                statement = (
                    insert(query_job)
                    .values(
                        **spec_values(spec),
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
                row = await one_by_key(connection, _columns, column, key)
            if row is not None:
                return job_from(row)
        raise NotFound("query", key)

    async def change(
        self, before: Job, spec: JobSpec, *, start_at: datetime | None = None, resume: bool = False
    ) -> Job:
        """Put everything a person decides about a job anew, if nobody changed it since it was read."""
        if not is_key(spec.data_source_id):
            raise NotFound("data source", spec.data_source_id)
        locked = (
            select(*_columns(), func.clock_timestamp().label("now"))
            .where(query_job.c.id == before.id)
            .with_for_update(key_share=True)
        )
        with violations(_faults(spec)):
            async with self._database.transaction() as connection:
                row = await first(connection, locked)
                if row is None:
                    raise NotFound("query", before.spec.name)
                job, now = job_from(row), row["now"]
                is_due = job.next_run_at is not None and job.next_run_at <= now
                planned_anew = resume or changes_plan(job, spec, start_at=start_at)
                if job.updated_at != before.updated_at or (is_due and planned_anew):
                    raise Stale("query")
                changed = revised(job, spec, now, start_at=start_at, resume=resume)
                statement = (
                    update(query_job)
                    .where(query_job.c.id == job.id)
                    .values(
                        **spec_values(spec),
                        anchor_at=changed.anchor_at,
                        next_run_at=changed.next_run_at,
                        consecutive_failures=changed.consecutive_failures,
                        paused_at=changed.paused_at,
                        pause_reason=changed.pause_reason,
                        updated_at=next_version(query_job.c.updated_at),
                    )
                    .returning(*_columns())
                )
                after = await first(connection, statement)
                await connection.execute(_MOVE_WAITING, {"id": job.id, "source_id": spec.data_source_id})
                await connection.execute(HINT)
        assert after is not None
        return job_from(after)

    async def wind_down(self, job_id: int) -> int:
        """Disable a job, cancel what waits, ask what runs to be cancelled."""
        values = {"id": job_id}
        if is_key(job_id):
            async with self._database.transaction() as connection:
                if await _one(connection, _DISABLE, values) is not None:
                    await connection.execute(_CANCEL_WAITING, values)
                    await connection.execute(_CANCEL_RUNNING, values)
                    await connection.execute(HINT)
                    left = await _one(connection, _NOT_OVER, values)
                    assert left is not None
                    return int(left[0])
        raise NotFound("query", job_id)

    async def forget_runs(self, job_id: int, *, limit: int) -> int:
        """Delete some runs of a job with their results, oldest first."""
        values = {"id": job_id, "limit": limit, "bytes": _FORGOTTEN_BYTES}
        async with self._database.connection() as connection:
            return (await connection.execute(_FORGET, values)).rowcount

    async def remove(self, job_id: int, *, with_runs: bool = False) -> None:
        """Delete a job, with what runs and gaps it still has if ``with_runs``."""
        values = {"id": job_id}
        if not is_key(job_id):
            raise NotFound("query", job_id)
        async with self._database.transaction() as connection:
            if with_runs:
                await connection.execute(_REMOVE_RUNS, values)
            row = await _one(connection, _LOCK, values)
            if row is None:
                raise NotFound("query", job_id)
            has_runs = await _one(connection, _HAS_RUNS, values)
            if has_runs == (True,) and not with_runs:
                raise HasRuns(f"the query {row[0]} has runs")
            await connection.execute(_REMOVE, values)

    async def page(
        self, *, text: str = "", enabled: bool | None = None, limit: int, offset: int
    ) -> tuple[Sequence[Job], int]:
        """Return some jobs by name, and how many there are in all."""
        if text_fault("text", text, len(text), lines=True) is not None:
            # what Postgres cannot hold is part of nothing
            return [], 0
        held = query_job.c
        conditions: list[ColumnElement[bool]] = [] if enabled is None else [held.enabled.is_(enabled)]
        if text:
            parts = (held.name, held.title, held.description)
            conditions.append(or_(*(part.icontains(text, autoescape=True) for part in parts)))
        wanted: Select[Any] = select(*_columns()).where(*conditions).order_by(held.name.collate("C"))
        total: Select[Any] = select(func.count().label("total")).select_from(query_job).where(*conditions)
        async with self._database.connection() as connection:
            found = await rows(connection, wanted.limit(limit).offset(offset))
            counted = await first(connection, total)
        assert counted is not None
        return [job_from(row) for row in found], counted["total"]

    async def all(self) -> Sequence[Job]:
        """Return every job, by name."""
        async with self._database.connection() as connection:
            found = await rows(connection, select(*_columns()).order_by(query_job.c.name.collate("C")))
        return [job_from(row) for row in found]


def _columns() -> list[Label[Any]]:
    return labelled(query_job, (*JOB, *SPEC), "j_")


def _faults(spec: JobSpec) -> dict[str, PgschedError]:
    return {
        "query_job_name_key": NameTaken("query", spec.name),
        "query_job_data_source_fkey": NotFound("data source", spec.data_source_id),
    }


async def _one(connection: AsyncConnection[Any], statement: str, values: dict[str, Any]) -> Any:
    return await (await connection.execute(statement.encode(), values)).fetchone()
