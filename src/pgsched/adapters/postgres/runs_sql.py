"""The statements of the run queue. ``%s`` names are bound by psycopg; times are the server's own."""

from __future__ import annotations

from typing import Final

from pgsched.adapters.postgres.mapping import JOB_COLUMNS, RUN_COLUMNS
from pgsched.adapters.postgres.workers import WORKER_LOCK_CLASS
from pgsched.domain.clocks import SLACK_S
from pgsched.domain.runs import LEASE_S, MAX_BACKOFF_S, MAX_LOSSES

#: seconds after a restart of the server within which its workers have taken their locks again
BACK_WITHIN_S: Final = 3

#: SQLSTATE-free proof that the caller still holds the run
HELD: Final = (
    "id = %(run_id)s and token = %(token)s and status = 'running' and lease_until > clock_timestamp()"
)
#: now, once a statement: a volatile function cannot bound an index scan, the value of a subquery can
NOW: Final = "(select clock_timestamp())"
#: what ends every hold
RELEASED: Final = "lease_until = null, worker_id = null, cancel_requested_at = null"
#: what ends every attempt for good
ENDED: Final = f"""run_finished_at = clock_timestamp(),
    duration_ms = round(extract(epoch from clock_timestamp() - run_started_at) * 1000), {RELEASED}"""
#: what makes a run wait again, where its query runs by now; its chunks are swept beside it
WAITS: Final = f"""status = 'queued', run_started_at = null, {RELEASED},
    data_source_id = (select j.data_source_id from query_job j where j.id = query_id)"""

# What is locked here is told to the next statement by a setting of the transaction, so that the two go out
# together; the next one must be a statement of its own, with a snapshot taken after the locks.
LOCK_DUE: Final = f"""
with due as materialized (
    select j.* from query_job j
    where j.next_run_at <= {NOW}
    order by j.next_run_at, j.id
    limit %(limit)s
    for no key update skip locked)
select {JOB_COLUMNS}, clock_timestamp() as now,
    set_config('pgsched.due', (select array_agg(id) from due)::text, true)
from due j"""

_DUE: Final = "nullif(current_setting('pgsched.due', true), '')::bigint[]"

ACTIVE: Final = f"""
select query_id, params,
       count(*) filter (where status = 'queued') as queued,
       count(*) filter (where status = 'running') as running
from query_run
where query_id = any({_DUE}) and status in ('queued', 'running') and trigger = 'schedule'
group by query_id, params"""

# Runs that are being ended by their worker are passed over: waiting for them here could deadlock.
CANCEL_PREVIOUS: Final = """
with old as (
    select id, status from query_run
    where (query_id, params) in (select * from unnest(%(ids)s::bigint[], %(params)s::text[]))
        and status in ('queued', 'running') and trigger = 'schedule'
    for no key update skip locked)
update query_run r set
    status = case when old.status = 'queued' then 'skipped' else r.status end,
    error_code = case when old.status = 'queued' then 'overlap' else r.error_code end,
    error_message = case when old.status = 'queued' then %(why)s else r.error_message end,
    error_public = case when old.status = 'queued' then %(why)s else r.error_public end,
    run_finished_at = case when old.status = 'queued' then clock_timestamp() end,
    cancel_requested_at = coalesce(r.cancel_requested_at, clock_timestamp())
from old where r.id = old.id"""

INSERT_PLANNED: Final = """
insert into query_run (query_id, params, scheduled_at, job_timezone, status, trigger, data_source_id,
    ready_at, deadline_at, exclusive, error_code, error_message, error_public, run_finished_at)
select query_id, params, scheduled_at, job_timezone, status, 'schedule', data_source_id, ready_at,
    deadline_at, exclusive, error_code, error_message, error_message,
    case when status = 'skipped' then clock_timestamp() end
from unnest(%(query_id)s::bigint[], %(params)s::text[], %(scheduled_at)s::timestamptz[],
        %(job_timezone)s::text[],
        %(status)s::text[], %(data_source_id)s::bigint[], %(ready_at)s::timestamptz[],
        %(deadline_at)s::timestamptz[], %(exclusive)s::boolean[], %(error_code)s::text[],
        %(error_message)s::text[])
    as planned (query_id, params, scheduled_at, job_timezone, status, data_source_id, ready_at, deadline_at,
        exclusive, error_code, error_message)
on conflict (query_id, scheduled_at, params) where trigger = 'schedule' do nothing
returning status"""

INSERT_GAPS: Final = """
insert into query_gap (query_id, params, from_at, to_at, instants, reason)
select * from unnest(%(query_id)s::bigint[], %(params)s::text[], %(from_at)s::timestamptz[],
    %(to_at)s::timestamptz[], %(instants)s::bigint[], %(reason)s::text[])
on conflict (query_id, params, from_at) do nothing"""

ADVANCE: Final = """
update query_job j set next_run_at = planned.next_run_at
from unnest(%(ids)s::bigint[], %(next_run_at)s::timestamptz[]) as planned (id, next_run_at)
where j.id = planned.id"""

PAUSE_UNPLANNABLE: Final = """
update query_job set paused_at = clock_timestamp(), pause_reason = %(why)s, next_run_at = null
where id = %(id)s"""

UPCOMING: Final = f"""
select clock_timestamp() as now, array(
    select at from (
        (select distinct next_run_at as at from query_job
         where next_run_at <= {NOW} + make_interval(secs => %(within_s)s)
         order by 1 limit %(limit)s)
        union
        (select distinct waiting.ready_at from data_source s cross join lateral (
            select distinct r.ready_at from query_run r
            where r.status = 'queued' and r.data_source_id = s.id and r.ready_at > {NOW}
              and r.ready_at <= {NOW} + make_interval(secs => %(within_s)s)
            order by 1 limit %(limit)s) waiting
         order by 1 limit %(limit)s)) ahead
    order by at limit %(limit)s) as instants,
    not exists (select from query_run where status = 'queued')
        and not exists (select from query_run where status = 'running')
        and not exists (select from source_kept) as at_rest"""

RENEW: Final = f"""
update query_run r set lease_until = clock_timestamp() + make_interval(secs => {LEASE_S})
from unnest(%(ids)s::bigint[], %(tokens)s::bigint[]) as held (id, token)
where r.id = held.id and r.token = held.token and r.status = 'running' and r.lease_until > clock_timestamp()
returning r.id, r.cancel_requested_at is not null as cancel"""

CANCEL_REQUESTS: Final = """
select id from query_run
where status = 'running' and worker_id = %(worker_id)s and cancel_requested_at is not null"""

HELD_BY: Final = """
select id, token from query_run
where status = 'running' and worker_id = %(worker_id)s and lease_until > clock_timestamp()"""

STAGE: Final = f"""
insert into query_run_chunk (run_id, token, seq, data)
select id, token, %(seq)s, %(rows)s::jsonb from query_run where {HELD}
on conflict (run_id, token, seq) do nothing"""

IS_HELD: Final = f"select from query_run where {HELD}"

SUCCEED: Final = f"""
with r as (
    update query_run set status = 'success', rows_returned = %(rows)s::bigint, truncated = %(truncated)s,
        param_values = %(param_values)s::jsonb, {ENDED}
    where {HELD}
    returning *),
blob as (
    insert into query_run_blob (run_id, format, df_json, row_count, byte_size)
    select id, %(format)s::text, %(document)s::jsonb, %(rows)s::bigint, %(byte_size)s::bigint from r),
swept as (
    delete from query_run_chunk c using r
    where c.run_id = r.id and (c.token <> r.token or %(chunks)s::integer = 0)),
healed as (
    update query_job j set consecutive_failures = 0 from r
    where j.id = r.query_id and j.consecutive_failures > 0)
select {RUN_COLUMNS} from r"""

# The same for several runs with small results. Each is judged by its own token and lease, as above.
SUCCEED_TOGETHER: Final = f"""
with told as (
    select * from unnest(%(ids)s::bigint[], %(tokens)s::bigint[], %(rows)s::bigint[],
            %(truncated)s::boolean[], %(byte_sizes)s::bigint[], %(documents)s::text[],
            %(param_values)s::text[])
        as told (id, token, rows, truncated, byte_size, document, param_values)),
r as (
    update query_run r set status = 'success', rows_returned = told.rows, truncated = told.truncated,
        param_values = told.param_values::jsonb, {ENDED}
    from told
    where r.id = told.id and r.token = told.token and r.status = 'running'
        and r.lease_until > clock_timestamp()
    returning r.*, told.document, told.byte_size),
blob as (
    insert into query_run_blob (run_id, format, df_json, row_count, byte_size)
    select id, 'jsonb', document::jsonb, rows_returned, byte_size from r),
swept as (delete from query_run_chunk c using r where c.run_id = r.id),
healed as (
    update query_job j set consecutive_failures = 0 from r
    where j.id = r.query_id and j.consecutive_failures > 0)
select {RUN_COLUMNS} from r"""

_PAUSES: Final = """j.paused_at is null and j.pause_after_failures > 0
            and j.consecutive_failures + 1 >= j.pause_after_failures"""

FAIL: Final = f"""
with r as (
    update query_run set status = 'error', error_code = %(code)s, error_message = %(message)s,
        error_public = %(public)s, error_sqlstate = %(sqlstate)s, {ENDED}
    where {HELD}
    returning *),
swept as (delete from query_run_chunk c using r where c.run_id = r.id),
counted as (
    update query_job j set
        consecutive_failures = j.consecutive_failures + 1,
        paused_at = case when {_PAUSES} then clock_timestamp() else j.paused_at end,
        pause_reason = case when {_PAUSES}
            then format('%%s failures in a row, the last: %%s', j.consecutive_failures + 1, r.error_public)
            else j.pause_reason end
    from r
    where j.id = r.query_id)
select {RUN_COLUMNS} from r"""

RETRY: Final = f"""
with r as (
    update query_run set {WAITS}, ready_at = clock_timestamp() + make_interval(secs => %(retry_in_s)s),
        error_code = %(code)s, error_message = %(message)s, error_public = %(public)s,
        error_sqlstate = %(sqlstate)s
    where {HELD} and cancel_requested_at is null
    returning *),
swept as (delete from query_run_chunk c using r where c.run_id = r.id)
select {RUN_COLUMNS} from r"""

CANCELLED: Final = f"""
with r as (
    update query_run set status = 'cancelled', error_code = 'cancelled', error_message = %(why)s,
        error_public = %(why)s, {ENDED}
    where {HELD}
    returning *),
swept as (delete from query_run_chunk c using r where c.run_id = r.id)
select {RUN_COLUMNS} from r"""

CANCEL_HELD: Final = f"""
with r as (
    update query_run r set status = 'cancelled', error_code = 'cancelled', error_message = %(why)s,
        error_public = %(why)s, {ENDED}
    from unnest(%(ids)s::bigint[], %(tokens)s::bigint[]) as held (id, token)
    where r.id = held.id and r.token = held.token and r.status = 'running'
        and r.lease_until > clock_timestamp() and r.cancel_requested_at is not null
    returning r.id),
swept as (delete from query_run_chunk c using r where c.run_id = r.id)
select id from r"""

HAND_BACK: Final = f"""
with r as (
    update query_run r set {WAITS}, attempt = r.attempt - 1, ready_at = least(r.ready_at, clock_timestamp())
    from unnest(%(ids)s::bigint[], %(tokens)s::bigint[]) as held (id, token)
    where r.id = held.id and r.token = held.token and r.status = 'running'
        and r.lease_until > clock_timestamp() and r.cancel_requested_at is null
    returning r.id),
swept as (delete from query_run_chunk c using r where c.run_id = r.id)
select id from r"""

# A worker's end shows by its session lock: who can take it knows that nobody holds it. After a restart of the
# server every lock is gone for a moment; only the leases count then. A run that waits again keeps its place:
# what was asked for while it ran is not before it. No lease and no pause between two tries reaches further
# than they are long: one that does was promised before the server's clock was set back, and is made anew.
REAP: Final = f"""
with holder as materialized (
    select w.id from worker w
    where w.session_lock and w.id in (
        select worker_id from query_run where status = 'running' union select worker_id from source_kept)),
gone as materialized (
    select id from holder
    where pg_postmaster_start_time() < clock_timestamp() - interval '{BACK_WITHIN_S} seconds'
      and pg_try_advisory_xact_lock({WORKER_LOCK_CLASS}, id)),
lost as (
    select id from query_run
    where status = 'running' and (lease_until <= clock_timestamp() or worker_id in (select id from gone))
    for no key update skip locked),
r as (
    update query_run r set
        status = fate.status, losses = r.losses + 1, {RELEASED},
        ready_at = least(r.ready_at, clock_timestamp()),
        data_source_id = case when fate.status = 'queued'
            then (select j.data_source_id from query_job j where j.id = r.query_id)
            else r.data_source_id end,
        run_started_at = case when fate.status = 'queued' then null else r.run_started_at end,
        run_finished_at = case when fate.status = 'queued' then null else clock_timestamp() end,
        duration_ms = case when fate.status = 'queued' then null
            else round(extract(epoch from clock_timestamp() - r.run_started_at) * 1000) end,
        error_code = case fate.status when 'error' then 'worker_lost' when 'cancelled' then 'cancelled' end,
        error_message = case fate.status when 'error' then %(lost)s when 'cancelled' then %(cancelled)s end,
        error_public = case fate.status when 'error' then %(lost)s when 'cancelled' then %(cancelled)s end
    from lost, lateral (
        select case when o.cancel_requested_at is not null then 'cancelled'
                    when o.losses + 1 >= {MAX_LOSSES} then 'error' else 'queued' end as status
        from query_run o where o.id = lost.id) fate
    where r.id = lost.id
    returning r.*),
shortened as (
    update query_run q set lease_until = clock_timestamp() + make_interval(secs => {LEASE_S})
    where q.status = 'running'
        and q.lease_until > clock_timestamp() + make_interval(secs => {LEASE_S + SLACK_S})
        and q.id not in (select id from lost)),
due_again as (
    update query_run q set ready_at = clock_timestamp()
    from data_source s
    where q.status = 'queued' and q.data_source_id = s.id
        and q.ready_at > {NOW} + make_interval(secs => {1.1 * MAX_BACKOFF_S})
        and (q.attempt > 0 or q.trigger <> 'schedule')),
left_open as (
    delete from source_kept k
    where k.until_at <= clock_timestamp()
       or k.until_at > clock_timestamp() + make_interval(secs => {LEASE_S + SLACK_S})
       or k.worker_id in (select id from gone)
       or k.worker_id in (select o.worker_id from query_run o
                          where o.status = 'running' and o.lease_until <= clock_timestamp())),
swept as (delete from query_run_chunk c using r where c.run_id = r.id)
select {RUN_COLUMNS} from r"""

REQUEST: Final = f"""
with r as (
    insert into query_run (query_id, params, scheduled_at, job_timezone, status, trigger, data_source_id,
        ready_at, exclusive)
    select j.id, chosen.name, t.now, j.timezone, 'queued', %(trigger)s, j.data_source_id, t.now,
        j.overlap_policy <> 'allow'
    from query_job j, (select clock_timestamp() as now) t, lateral (
        select coalesce(%(params)s::text, j.param_sets #>> '{{0,name}}', '') as name) chosen
    where j.id = %(query_id)s and (%(params)s::text is null or exists (
        select from jsonb_array_elements(j.param_sets) one where one ->> 'name' = chosen.name))
    returning *)
select {RUN_COLUMNS} from r"""

CANCEL_WAITING: Final = f"""
with r as (
    update query_run set status = 'cancelled', error_code = 'cancelled', error_message = %(why)s,
        error_public = %(why)s, run_finished_at = clock_timestamp()
    where id = %(run_id)s and status = 'queued'
    returning *)
select {RUN_COLUMNS} from r"""

CANCEL_RUNNING: Final = f"""
with r as (
    update query_run set cancel_requested_at = coalesce(cancel_requested_at, clock_timestamp())
    where id = %(run_id)s and status = 'running'
    returning *)
select {RUN_COLUMNS} from r"""

STATUS: Final = "select status from query_run where id = %(run_id)s"
