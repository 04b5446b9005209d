"""Deleting runs that are kept no longer, on Postgres: small batches, oldest first, in nobody's way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pgsched.adapters.postgres.database import Database
from pgsched.domain.retention import Limits

#: most runs deleted in one transaction
BATCH: Final = 200

_LIMITED: Final = """
select id, coalesce(keep_runs, %(keep_runs)s), coalesce(keep_days, %(keep_days)s) from query_job
where coalesce(keep_runs, %(keep_runs)s) is not null or coalesce(keep_days, %(keep_days)s) is not null
order by id"""

# Results go by their foreign keys. Runs that somebody works on are passed over, not waited for.
_DELETE: Final = f"""
with beyond as (
    select scheduled_at, id from query_run
    where %(keep_runs)s::integer is not null and query_id = %(query_id)s
    order by scheduled_at desc, id desc offset %(keep_runs)s::integer limit 1),
cut as (
    select greatest(
        (select scheduled_at from beyond), clock_timestamp() - make_interval(days => %(keep_days)s)) as at),
doomed as (
    select r.id, r.scheduled_at, (select b.byte_size from query_run_blob b where b.run_id = r.id) as bytes
    from query_run r
    where r.query_id = %(query_id)s and r.scheduled_at <= (select at from cut)
        and ((r.scheduled_at, r.id) <= (select scheduled_at, id from beyond)
            or r.scheduled_at < clock_timestamp() - make_interval(days => %(keep_days)s))
        and r.status in ('success', 'error', 'cancelled', 'skipped')
        and r.id <= (select counted_to from run_tally_mark)
        and not exists (select from run_tally_open w where w.run_id = r.id)
        and r.id is distinct from (
            select s.id from query_run s
            where s.query_id = %(query_id)s and s.params = r.params and s.status = 'success'
            order by s.scheduled_at desc, s.id desc limit 1)
    order by r.scheduled_at, r.id limit {BATCH}
    for update of r skip locked),
gone as (delete from query_run r using doomed d where r.id = d.id returning r.id),
noted as (
    insert into query_retention as q (query_id, deleted_to, runs, bytes)
    select %(query_id)s, max(scheduled_at), count(*), coalesce(sum(bytes), 0) from doomed having count(*) > 0
    on conflict (query_id) do update set deleted_to = greatest(q.deleted_to, excluded.deleted_to),
        runs = q.runs + excluded.runs, bytes = q.bytes + excluded.bytes, at = clock_timestamp())
select count(*) from gone"""
_DELETE_GAPS: Final = """
with gone as (
    delete from query_gap g
    where g.query_id = %(query_id)s and g.to_at <= greatest(
        (select deleted_to from query_retention q where q.query_id = g.query_id),
        clock_timestamp() - make_interval(days => %(keep_days)s))
    returning to_at)
insert into query_retention as q (query_id, deleted_to, runs, bytes)
select %(query_id)s, max(to_at), 0, 0 from gone having count(*) > 0
on conflict (query_id) do update set deleted_to = greatest(q.deleted_to, excluded.deleted_to)"""

_DELETE_EVENTS: Final = f"""
delete from audit_event where id in (
    select id from audit_event where at < clock_timestamp() - make_interval(days => %s)
    order by at, id limit {BATCH}
    for update skip locked)"""


class PostgresRetention:
    """The port ``Retention`` over the metadata database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def limited(self, defaults: Limits) -> Sequence[tuple[int, Limits]]:
        """Return the queries that have a limit, their own or the default."""
        values = {"keep_runs": defaults.keep_runs, "keep_days": defaults.keep_days}
        async with self._database.connection() as connection:
            rows = await (await connection.execute(_LIMITED, values)).fetchall()
        return [(row[0], Limits(keep_runs=row[1], keep_days=row[2])) for row in rows]

    async def delete_some(self, query_id: int, limits: Limits) -> int:
        """Delete a small batch of a query's runs beyond its limits."""
        values = {"query_id": query_id, "keep_runs": limits.keep_runs, "keep_days": limits.keep_days}
        async with self._database.transaction() as connection:
            row = await (await connection.execute(_DELETE, values)).fetchone()
            await connection.execute(_DELETE_GAPS, values)
        assert row is not None
        return int(row[0])

    async def delete_events(self, keep_days: int) -> int:
        """Delete a small batch of the audit trail, the oldest of what is older than this."""
        async with self._database.connection() as connection:
            return (await connection.execute(_DELETE_EVENTS, [keep_days])).rowcount
