-- Whether the numbers of a query's newest result are told in /metrics, which asks for no login.

alter table query_job add column expose_metrics boolean not null default false;
alter table query_job
    add constraint query_job_expose_metrics_check check (not expose_metrics or visibility = 'public');
create index query_job_expose_metrics_idx on query_job (id) where expose_metrics;
