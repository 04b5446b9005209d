-- The past of each query: which schedule named its instants, and whether they were planned. And how fresh its
-- newest result shall be.

create table query_phase (
    id bigint generated always as identity primary key,
    query_id bigint not null,
    -- it lasts until the next one's
    since timestamptz not null,
    schedule_type text not null,
    schedule_expr text not null,
    timezone text not null,
    anchor_at timestamptz not null,
    enabled boolean not null,
    pause_reason text,
    -- the first instant that was to be planned when the phase began
    first_at timestamptz,
    constraint query_phase_query_fkey foreign key (query_id) references query_job (id) on delete cascade
);

create index query_phase_query_idx on query_phase (query_id, id);

-- What is known of queries that are older than this table: the schedule they have now.
insert into query_phase (query_id, since, schedule_type, schedule_expr, timezone, anchor_at, enabled,
    pause_reason, first_at)
select id, created_at, schedule_type, schedule_expr, timezone, anchor_at, enabled, pause_reason,
    case when schedule_type = 'interval' then anchor_at end
from query_job;

-- A trigger, so that no way of changing a query leaves its past with a hole.
create function job_begins_phase() returns trigger language plpgsql as $$
begin
    insert into query_phase (query_id, since, schedule_type, schedule_expr, timezone, anchor_at, enabled,
        pause_reason, first_at)
    values (new.id, clock_timestamp(), new.schedule_type, new.schedule_expr, new.timezone, new.anchor_at,
        new.enabled, new.pause_reason, new.next_run_at);
    return null;
end $$;

create trigger query_job_new_phase after insert on query_job
    for each row execute function job_begins_phase();

create trigger query_job_next_phase
    after update of schedule_type, schedule_expr, timezone, anchor_at, enabled, pause_reason on query_job
    for each row when (
        (old.schedule_type, old.schedule_expr, old.timezone, old.anchor_at, old.enabled, old.pause_reason)
        is distinct from
        (new.schedule_type, new.schedule_expr, new.timezone, new.anchor_at, new.enabled, new.pause_reason))
    execute function job_begins_phase();

alter table query_job add column fresh_for text;

create index query_job_fresh_idx on query_job (id) where fresh_for is not null;
