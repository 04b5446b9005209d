-- Parameters of a query, the sets it runs with, and with which set a run ran.

-- [{"name", "type", "default"?}]
alter table query_job add column parameters jsonb not null default '[]';
-- [{"name", "values": {parameter: value}}]
alter table query_job add column param_sets jsonb not null default '[]';
alter table query_job
    add constraint query_job_parameters_check check (jsonb_typeof(parameters) = 'array'),
    add constraint query_job_param_sets_check check (jsonb_typeof(param_sets) = 'array');

-- name of the parameter set, empty for a query without sets
alter table query_run add column params text not null default '';
-- what the parameters were at the source, in Postgres's text form, by name
alter table query_run add column param_values jsonb;
alter table query_gap add column params text not null default '';

-- each set has instants, runs and overlaps of its own
drop index query_run_instant_key;
create unique index query_run_instant_key on query_run (query_id, scheduled_at, params) where trigger = 'schedule';
drop index query_run_no_overlap_key;
create unique index query_run_no_overlap_key on query_run (query_id, params) where status = 'running' and exclusive;
create index query_run_params_idx on query_run (query_id, params, scheduled_at desc, id desc) where params <> '';
alter table query_gap drop constraint query_gap_key, add constraint query_gap_key unique (query_id, params, from_at);
