-- Which parameter sets the instants of a phase were run with: their names in order, [] for a query without sets.

alter table query_phase add column param_sets jsonb not null default '[]';
alter table query_phase add constraint query_phase_param_sets_check check (jsonb_typeof(param_sets) = 'array');

-- What is known of phases older than this column: the sets that the query has now.
update query_phase p set param_sets = jsonb_path_query_array(j.param_sets, '$[*].name')
from query_job j where j.id = p.query_id and j.param_sets <> '[]';

create or replace function job_begins_phase() returns trigger language plpgsql as $$
begin
    insert into query_phase (query_id, since, schedule_type, schedule_expr, timezone, anchor_at, enabled,
        pause_reason, first_at, param_sets)
    values (new.id, clock_timestamp(), new.schedule_type, new.schedule_expr, new.timezone, new.anchor_at,
        new.enabled, new.pause_reason, new.next_run_at, jsonb_path_query_array(new.param_sets, '$[*].name'));
    return null;
end $$;

drop trigger query_job_next_phase on query_job;
create trigger query_job_next_phase
    after update of schedule_type, schedule_expr, timezone, anchor_at, enabled, pause_reason, param_sets on query_job
    for each row when (
        (old.schedule_type, old.schedule_expr, old.timezone, old.anchor_at, old.enabled, old.pause_reason,
            jsonb_path_query_array(old.param_sets, '$[*].name'))
        is distinct from
        (new.schedule_type, new.schedule_expr, new.timezone, new.anchor_at, new.enabled, new.pause_reason,
            jsonb_path_query_array(new.param_sets, '$[*].name')))
    execute function job_begins_phase();
