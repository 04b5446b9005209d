-- What is counted of runs that are over, what retention took away, and how the big tables are vacuumed.

-- Runs that are over, counted once each; a query's counts go with it.
create table run_tally (
    query_id bigint not null,
    status text not null,
    -- error_code of the runs, empty for none
    reason text not null,
    runs bigint not null,
    rows bigint not null,
    bytes bigint not null,
    duration_ms bigint not null,
    attempts bigint not null,
    losses bigint not null,
    constraint run_tally_pkey primary key (query_id, status, reason),
    constraint run_tally_query_fkey foreign key (query_id) references query_job (id) on delete cascade
);

-- The same runs by how long they took and how late they began, all queries together.
create table run_tally_bucket (
    kind text not null,
    bucket integer not null,
    runs bigint not null,
    seconds double precision not null,
    constraint run_tally_bucket_pkey primary key (kind, bucket),
    constraint run_tally_bucket_kind_check check (kind in ('duration', 'lateness'))
);

-- Up to which run all are counted, but those in run_tally_open.
create table run_tally_mark (
    single boolean not null default true,
    counted_to bigint not null default 0,
    -- the highest run there was at the last count, and the transaction before which it was given its id
    ceiling bigint not null default 0,
    ceiling_xid bigint not null default 0,
    constraint run_tally_mark_pkey primary key (single),
    constraint run_tally_mark_single_check check (single)
);

insert into run_tally_mark default values;

-- Runs up to the mark that were not over when it passed them.
create table run_tally_open (
    run_id bigint not null,
    constraint run_tally_open_pkey primary key (run_id),
    constraint run_tally_open_run_fkey foreign key (run_id) references query_run (id) on delete cascade
);

-- What retention deleted of a query: until where its history is not whole any more, and how much.
create table query_retention (
    query_id bigint not null,
    -- runs of instants up to this one may be gone
    deleted_to timestamptz not null,
    runs bigint not null,
    bytes bigint not null,
    at timestamptz not null default clock_timestamp(),
    constraint query_retention_pkey primary key (query_id),
    constraint query_retention_query_fkey foreign key (query_id) references query_job (id) on delete cascade
);

-- figures of its process that a worker tells with each sign of life
alter table worker add column figures jsonb not null default '{}';

-- counts change in place: room on each page lets an update stay there
alter table run_tally set (fillfactor = 70);
alter table run_tally_bucket set (fillfactor = 70);
alter table query_retention set (fillfactor = 70);

-- A table that loses as many rows as it gains must give their room to new ones soon: by default a fifth of it
-- is dead before it is vacuumed.
alter table query_run set (
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000,
    autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 1);
alter table query_run_blob set (
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 1,
    toast.autovacuum_vacuum_scale_factor = 0.02, toast.autovacuum_vacuum_threshold = 2000,
    toast.autovacuum_vacuum_cost_delay = 1);
alter table query_run_chunk set (
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_cost_delay = 1,
    toast.autovacuum_vacuum_scale_factor = 0.02, toast.autovacuum_vacuum_threshold = 2000,
    toast.autovacuum_vacuum_cost_delay = 1);
