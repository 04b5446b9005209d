"""Counting runs that are over, each once, without a scan of all runs and without a write on their way.

Runs are counted by ranges of ids. A run of the range that is not over is noted in run_tally_open and counted
when it is. A range ends at the highest id of the last call, and only once every transaction that was under
way then is over: a lower id may come to light after a higher one.
"""

from __future__ import annotations

from typing import Any, Final

from psycopg.rows import dict_row

from pgsched.adapters.postgres.connections import Connection
from pgsched.adapters.postgres.database import Database

#: most runs counted in one call
RANGE: Final = 20_000
#: upper bounds, seconds; run_tally_bucket's number is the position among them
DURATION_BOUNDS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0)
LATENESS_BOUNDS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)

_OVER: Final = "('success', 'error', 'cancelled', 'skipped')"


def _bounds(values: tuple[float, ...]) -> str:
    return f"array[{', '.join(map(str, values))}]::float8[]"


#: sums by query and outcome, over the runs of the relation ``over``
SUMS: Final = """
select o.query_id, o.status, coalesce(o.error_code, '') as reason, count(*) as runs,
    coalesce(sum(o.rows_returned), 0)::bigint as rows, coalesce(sum(b.byte_size), 0)::bigint as bytes,
    coalesce(sum(o.duration_ms), 0)::bigint as duration_ms, sum(o.attempt)::bigint as attempts,
    sum(o.losses)::bigint as losses
from over o left join query_run_blob b on b.run_id = o.id
group by 1, 2, 3"""
#: observations by kind and bucket, over the same
BUCKETS: Final = f"""
select 'duration' as kind, width_bucket(o.duration_ms / 1000.0::float8, {_bounds(DURATION_BOUNDS)}) as bucket,
    count(*) as runs, sum(o.duration_ms) / 1000.0::float8 as seconds
from over o where o.duration_ms is not null and o.status in ('success', 'error') group by 2
union all
select 'lateness', width_bucket(l.seconds, {_bounds(LATENESS_BOUNDS)}), count(*), sum(l.seconds)
from (
    select greatest(0, extract(epoch from o.run_started_at - o.scheduled_at))::float8 as seconds from over o
    where o.trigger = 'schedule' and o.attempt = 1 and o.losses = 0 and o.run_started_at is not null) l
group by 2"""
#: runs that are over and not counted yet, as ``over``; bounded, should nobody have counted for long
NOT_COUNTED: Final = f"""
over as (
    (select r.* from query_run r where r.id > (select counted_to from run_tally_mark) and r.status in {_OVER}
     order by r.id limit 200000)
    union all
    select r.* from run_tally_open w join query_run r on r.id = w.run_id where r.status in {_OVER})"""

# What has an id up to counted_to was seen, and is noted as open or is counted.
_IS_BEHIND: Final = """
select exists (select from query_run where id > counted_to)
    or exists (select from run_tally_open) as is_behind
from run_tally_mark"""
_MARK: Final = """
select counted_to, ceiling, ceiling_xid from run_tally_mark for update skip locked"""
_SNAPSHOT: Final = """
select pg_snapshot_xmin(s)::text::bigint as oldest, pg_snapshot_xmax(s)::text::bigint as next,
    (select coalesce(max(id), 0) from query_run) as highest
from pg_current_snapshot() s"""
_COUNT: Final = f"""
with range as materialized (
    select * from query_run where id > %(counted_to)s and id <= %(upto)s),
noted as (insert into run_tally_open select id from range where status not in {_OVER}),
closed as (
    delete from run_tally_open w using query_run r
    where r.id = w.run_id and r.status in {_OVER} returning r.*),
over as materialized (
    select * from range where status in {_OVER} union all select * from closed),
sums as ({SUMS}),
buckets as ({BUCKETS}),
tallied as (
    insert into run_tally as t (query_id, status, reason, runs, rows, bytes, duration_ms, attempts, losses)
    select s.* from sums s join query_job j on j.id = s.query_id
    on conflict (query_id, status, reason) do update set runs = t.runs + excluded.runs,
        rows = t.rows + excluded.rows, bytes = t.bytes + excluded.bytes,
        duration_ms = t.duration_ms + excluded.duration_ms, attempts = t.attempts + excluded.attempts,
        losses = t.losses + excluded.losses),
observed as (
    insert into run_tally_bucket as t (kind, bucket, runs, seconds) select * from buckets
    on conflict (kind, bucket) do update set
        runs = t.runs + excluded.runs, seconds = t.seconds + excluded.seconds)
select count(*) as counted from over"""
_MOVE: Final = """
update run_tally_mark set counted_to = %(upto)s, ceiling = %(ceiling)s, ceiling_xid = %(xid)s"""


class PostgresRunTally:
    """The port ``RunTally`` over the metadata database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def advance(self) -> int:
        """Count what ended since the last call."""
        async with self._database.pipeline() as pipeline:
            looked = pipeline.send(_IS_BEHIND)
        if not any(row["is_behind"] for row in looked.rows):
            return 0
        async with self._database.transaction() as connection:
            mark = await _first(connection, _MARK, {})
            if mark is None:
                return 0  # another process is at it
            seen = await _first(connection, _SNAPSHOT, {})
            assert seen is not None
            settled = seen["oldest"] >= mark["ceiling_xid"]
            upto = min(mark["ceiling"], mark["counted_to"] + RANGE) if settled else mark["counted_to"]
            done = await _first(connection, _COUNT, {"counted_to": mark["counted_to"], "upto": upto})
            assert done is not None
            if settled:
                moved = {"upto": upto, "ceiling": seen["highest"], "xid": seen["next"]}
                if (upto, seen["highest"]) != (mark["counted_to"], mark["ceiling"]):
                    await connection.execute(_MOVE, moved)
        return int(done["counted"])


async def _first(connection: Connection, statement: str, values: dict[str, Any]) -> dict[str, Any] | None:
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(statement, values)
        return await cursor.fetchone()
