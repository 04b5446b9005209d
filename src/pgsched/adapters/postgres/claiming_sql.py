"""The statements by which runs are claimed: who is too late, where there are places, who may start.

They go out together in one transaction. ``%s`` names are bound by psycopg; times are the server's own.
"""

from __future__ import annotations

from typing import Final

from pgsched.adapters.postgres.mapping import JOB_COLUMNS, SOURCE_COLUMNS
from pgsched.adapters.postgres.runs_sql import NOW
from pgsched.domain.runs import LEASE_S, MAX_PARALLEL

#: late runs that one claim skips: what it takes is short, and the next claims skip the rest
_MOST_SKIPPED: Final = 1000

_SKIP_LATE: Final = f"""
late as (
    select id from query_run
    where status = 'queued' and deadline_at is not null and deadline_at <= {NOW}
    order by deadline_at limit {_MOST_SKIPPED}
    for no key update skip locked),
skipped as (
    update query_run r set status = 'skipped', error_code = 'deadline', run_finished_at = clock_timestamp(),
        error_message = %(why)s, error_public = %(why)s
    from late where r.id = late.id)"""

#: places at a source ``s`` that are taken: its runs, and what other workers keep open there beyond theirs
TAKEN: Final = f"""((select count(*) from query_run o where o.status = 'running' and o.data_source_id = s.id)
        + coalesce((
            select sum(greatest(k.connections - (
                select count(*) from query_run o
                where o.status = 'running' and o.data_source_id = s.id and o.worker_id = k.worker_id), 0))
            from source_kept k
            where k.data_source_id = s.id and k.worker_id <> %(worker_id)s and k.until_at > {NOW}), 0))"""

# The lock makes the count of a source's runs true until the claim commits; the count itself must be read by
# the next statement, with a snapshot taken after the lock. A setting of the transaction tells it what is
# locked, so that the two go out together.
# The sources are found by steps from the first in one line to the first in the next: those where nothing
# waits are not looked at, nor is the rest of a line.
_LOCKABLE: Final = f"""
with recursive line as (
    (select q.data_source_id, q.ready_at from query_run q
     where q.status = 'queued'
     order by q.data_source_id, q.ready_at, q.id limit 1)
    union all
    select next.* from line cross join lateral (
        select q.data_source_id, q.ready_at from query_run q
        where q.status = 'queued' and q.data_source_id > line.data_source_id
        order by q.data_source_id, q.ready_at, q.id limit 1) next),
wanted as materialized (
    select s.id from line join data_source s on s.id = line.data_source_id
    where line.ready_at <= {NOW} and s.max_concurrency > {TAKEN})"""
# Runs that are too late are skipped beside it, some at a time; at worst a source is locked for them.
# One that somebody has locked is passed over, and told of: it is free in a moment, but for a backend that
# froze, which is to keep nobody from the other sources. Nor may whoever has jobs locked wait for it.
LOCK_SOURCES: Final = f"""{_LOCKABLE},{_SKIP_LATE},
locked as materialized (
    select s.id from data_source s
    where s.id in (select id from wanted)
    order by s.id
    for no key update skip locked)
select set_config('pgsched.sources', array_agg(id)::text, true),
    count(*) < (select count(*) from wanted) as passed_over
from locked"""

_LOCKED: Final = "nullif(current_setting('pgsched.sources', true), '')::bigint[]"

# A run is taken when fewer of its query are before it (running, or waiting with an older place) than may run
# at once: one, or a few under overlap_policy allow. Between sources it goes in turns, beginning with those of
# which this worker runs least: a source with a long line takes no place that another waits for.
CLAIM: Final = f"""
with source as (
    select s.id, s.max_concurrency - {TAKEN} as free, (
        select count(*) from query_run o
        where o.status = 'running' and o.data_source_id = s.id and o.worker_id = %(worker_id)s) as held
    from data_source s where s.id = any({_LOCKED})),
ready as (
    select q.id, q.ready_at,
        source.held + row_number() over (partition by source.id order by q.ready_at, q.id) as turn
    from source cross join lateral (
        select w.id, w.ready_at from query_run w
        where w.status = 'queued' and w.data_source_id = source.id and w.ready_at <= {NOW}
          and (w.deadline_at is null or w.deadline_at > {NOW})
          and (select count(*) from (
                select from query_run o
                where o.query_id = w.query_id and o.params = w.params
                  and (o.status = 'running'
                    or (o.status = 'queued' and o.ready_at <= {NOW}
                        and (o.ready_at, o.id) < (w.ready_at, w.id)))
                limit {MAX_PARALLEL}) ahead) < case when w.exclusive then 1 else {MAX_PARALLEL} end
        order by w.ready_at, w.id
        limit least(greatest(source.free, 0), %(limit)s)
        for no key update skip locked) q),
picked as (select id from ready order by turn, ready_at, id limit %(limit)s)
update query_run r set status = 'running', attempt = r.attempt + 1, token = nextval('run_token'),
    worker_id = %(worker_id)s, run_started_at = clock_timestamp(), data_source_id = j.data_source_id,
    lease_until = clock_timestamp() + make_interval(secs => {LEASE_S}),
    error_code = null, error_message = null, error_public = null, error_sqlstate = null
from picked, query_job j, data_source s
where r.id = picked.id and j.id = r.query_id and s.id = j.data_source_id
returning r.id as run_id, r.token, r.scheduled_at, r.attempt, r.trigger, r.params, {JOB_COLUMNS},
    {SOURCE_COLUMNS}"""
