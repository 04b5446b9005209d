"""Figures for metrics, status and doctor, on Postgres: counted before, or found by an index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from psycopg.rows import dict_row

from pgsched.adapters.postgres.connections import Connection
from pgsched.adapters.postgres.database import Database
from pgsched.adapters.postgres.exposed import ExposedResults
from pgsched.adapters.postgres.mapping import JOB_COLUMNS, job_from
from pgsched.adapters.postgres.tally import (
    BUCKETS,
    DURATION_BOUNDS,
    LATENESS_BOUNDS,
    NOT_COUNTED,
    SUMS,
)
from pgsched.adapters.postgres.workers import PRESENT
from pgsched.application.ports.upkeep import (
    Distribution,
    Figures,
    QueryFigure,
    RecentFailure,
    RunCount,
    SourceFigure,
    StoredSize,
    WorkerFigure,
)
from pgsched.domain.exposure import Exposed
from pgsched.domain.runs import RunStatus

_COUNTS: Final = f"""
with {NOT_COUNTED},
fresh as ({SUMS})
select query_id, status, reason, sum(runs)::bigint as runs, sum(rows)::bigint as rows,
    sum(bytes)::bigint as bytes, sum(duration_ms)::bigint as duration_ms, sum(attempts)::bigint as attempts,
    sum(losses)::bigint as losses
from (select * from run_tally union all select * from fresh) t
group by 1, 2, 3 order by 1, 2, 3"""
_BUCKETS: Final = f"""
with {NOT_COUNTED},
fresh as ({BUCKETS})
select kind, bucket, sum(runs)::bigint as runs, sum(seconds)::float8 as seconds
from (select * from run_tally_bucket union all select * from fresh) t group by 1, 2"""
_QUERIES: Final = f"""
select {JOB_COLUMNS}, q.deleted_to,
    coalesce(q.runs, 0) as deleted_runs, coalesce(q.bytes, 0) as deleted_bytes,
    (select r.run_finished_at from query_run r where r.query_id = j.id and r.status = 'success'
     order by r.scheduled_at desc, r.id desc limit 1) as last_success_at
from query_job j left join query_retention q on q.query_id = j.id
order by j.id limit %(queries)s"""
_SOURCES: Final = """
select s.id, s.name, s.max_concurrency,
    (select count(*) from query_run r where r.status = 'running' and r.data_source_id = s.id) as running,
    (select count(*) from query_run r where r.status = 'queued' and r.data_source_id = s.id
        and r.ready_at <= clock_timestamp()) as waiting
from data_source s order by s.name"""
_WORKERS: Final = f"""
select w.id, w.host, w.pid, w.version, w.concurrency, w.started_at, w.seen_at, w.figures,
    ({PRESENT}) as alive,
    (select count(*) from query_run r where r.status = 'running' and r.worker_id = w.id) as running
from worker w
where w.stopped_at is null and (w.seen_at > clock_timestamp() - interval '1 hour' or ({PRESENT}))
order by w.id"""
_QUEUE: Final = """
select clock_timestamp() as now,
    (select count(*) from query_run where status = 'queued' and ready_at <= clock_timestamp()) as waiting,
    (select count(*) from query_run where status = 'queued' and ready_at > clock_timestamp()) as later,
    (select count(*) from query_run where status = 'running') as running,
    (select count(*) from query_run where status = 'running' and lease_until < clock_timestamp()) as stuck,
    coalesce((select extract(epoch from clock_timestamp() - min(ready_at))::float8 from query_run
        where status = 'queued' and ready_at <= clock_timestamp()), 0) as longest_wait_s,
    greatest(0, coalesce((select extract(epoch from clock_timestamp() - min(next_run_at))::float8
        from query_job), 0)) as planning_delay_s,
    (select count(*) from query_job) as query_count"""
_SIZES: Final = f"""
with {NOT_COUNTED},
fresh as ({SUMS})
select t.query_id, greatest(0, sum(t.runs) - coalesce(max(q.runs), 0))::bigint as runs,
    greatest(0, sum(t.bytes) - coalesce(max(q.bytes), 0))::bigint as bytes
from (select query_id, runs, bytes from run_tally union all select query_id, runs, bytes from fresh) t
left join query_retention q on q.query_id = t.query_id
group by 1"""
_RECENT: Final = """
select percentile_cont(array[0.5, 0.95]) within group (
    order by greatest(0, extract(epoch from run_started_at - scheduled_at)::float8)) as lateness
from query_run
where id > (select max(id) from query_run) - 1000 and trigger = 'schedule' and attempt = 1 and losses = 0
    and run_started_at is not null"""
# Looked for among the newest runs only: an index over all failures would cost every run.
_FAILURES: Final = """
select r.id, j.name, r.run_finished_at, r.error_code, coalesce(r.error_public, '') as message
from query_run r join query_job j on j.id = r.query_id
where r.status = 'error' and r.id > (select max(id) from query_run) - 5000
order by r.id desc limit 10"""


class PostgresFigures:
    """The port ``FiguresView`` over the metadata database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._exposed = ExposedResults()

    async def exposed(self) -> Sequence[Exposed]:
        """Return what public queries with ``expose_metrics`` tell of their newest results."""
        async with self._database.connection() as connection:
            return await self._exposed.look(connection)

    async def sizes(self) -> Mapping[int, StoredSize]:
        """Return what is stored of each query that has runs."""
        async with self._database.connection() as connection:
            rows = await _rows(connection, _SIZES)
        return {row["query_id"]: StoredSize(runs=row["runs"], bytes=row["bytes"]) for row in rows}

    async def figures(self, *, queries: int) -> Figures:
        """Look, with details of at most so many queries."""
        async with self._database.connection() as connection:
            counts = [_count(row) for row in await _rows(connection, _COUNTS)]
            buckets = await _rows(connection, _BUCKETS)
            jobs = await _rows(connection, _QUERIES, {"queries": queries})
            sources = await _rows(connection, _SOURCES)
            workers = await _rows(connection, _WORKERS)
            failures = await _rows(connection, _FAILURES)
            (recent,) = await _rows(connection, _RECENT)
            (queue,) = await _rows(connection, _QUEUE)
        stored: dict[int, tuple[int, int]] = {}
        for count in counts:
            runs, size = stored.get(count.query_id, (0, 0))
            stored[count.query_id] = runs + count.runs, size + count.bytes
        return Figures(
            counts=counts,
            durations=_distribution(buckets, "duration", DURATION_BOUNDS),
            lateness=_distribution(buckets, "lateness", LATENESS_BOUNDS),
            queries=[_query(row, stored) for row in jobs],
            sources=[SourceFigure(**row) for row in sources],
            workers=[WorkerFigure(**row) for row in workers],
            failures=[
                RecentFailure(
                    run_id=row["id"],
                    query=row["name"],
                    at=row["run_finished_at"],
                    code=row["error_code"],
                    message=row["message"],
                )
                for row in failures
            ],
            recent_lateness_s=recent["lateness"] and tuple(recent["lateness"]),
            **queue,
        )


def _count(row: dict[str, Any]) -> RunCount:
    return RunCount(**{**row, "status": RunStatus(row["status"])})


def _distribution(rows: list[dict[str, Any]], kind: str, bounds: tuple[float, ...]) -> Distribution:
    counts = [0] * (len(bounds) + 1)
    seconds = 0.0
    for row in rows:
        if row["kind"] == kind:
            counts[row["bucket"]] += row["runs"]
            seconds += row["seconds"]
    return Distribution(bounds=bounds, counts=tuple(counts), seconds=seconds)


def _query(row: dict[str, Any], stored: dict[int, tuple[int, int]]) -> QueryFigure:
    job = job_from(row)
    runs, size = stored.get(job.id, (0, 0))
    return QueryFigure(
        job=job,
        last_success_at=row["last_success_at"],
        stored_runs=max(0, runs - row["deleted_runs"]),
        stored_bytes=max(0, size - row["deleted_bytes"]),
        deleted_to=row["deleted_to"],
    )


async def _rows(
    connection: Connection, statement: str, values: dict[str, Any] | None = None
) -> list[dict[str, Any]]:
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(statement, values or {})
        return await cursor.fetchall()
