-- The first schema: sources, jobs, runs and their results, gaps, workers, accounts and sessions.

create table data_source (
    id bigint generated always as identity primary key,
    name text not null,
    host text not null,
    port integer not null default 5432,
    dbname text not null,
    username text not null,
    enc_password bytea,
    enc_algo text,
    key_version integer,
    sslmode text not null default 'prefer',
    sslrootcert text,
    max_concurrency integer not null default 4,
    allow_user_functions boolean not null default true,
    allow_metadata boolean not null default false,
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    constraint data_source_name_key unique (name),
    constraint data_source_name_check check (name ~ '^[A-Za-z][A-Za-z0-9_.-]{0,62}$'),
    constraint data_source_port_check check (port between 1 and 65535),
    constraint data_source_sslmode_check
        check (sslmode in ('disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full')),
    constraint data_source_max_concurrency_check check (max_concurrency between 1 and 1000),
    -- a sealed password comes with everything that opening it takes
    constraint data_source_envelope_check
        check (num_nonnulls(enc_password, enc_algo, key_version) in (0, 3)),
    constraint data_source_key_version_check check (key_version >= 1)
);

create table query_job (
    id bigint generated always as identity primary key,
    name text not null,
    title text not null,
    description text not null default '',
    sql_text text not null,
    data_source_id bigint not null,
    schedule_type text not null,
    schedule_expr text not null,
    timezone text not null default 'UTC',
    enabled boolean not null default true,
    visibility text not null default 'public',
    overlap_policy text not null default 'skip',
    misfire_policy text not null default 'once',
    misfire_window text not null default 'P1D',
    start_deadline_s integer,
    jitter_s integer not null default 0,
    max_attempts integer not null default 3,
    retry_backoff_s integer not null default 5,
    timeout_ms integer not null default 300000,
    max_rows bigint not null default 10000,
    max_bytes bigint not null default 8388608,
    on_limit text not null default 'truncate',
    pause_after_failures integer not null default 0,
    keep_runs integer,
    keep_days integer,
    anchor_at timestamptz not null,
    next_run_at timestamptz,
    consecutive_failures integer not null default 0,
    paused_at timestamptz,
    pause_reason text,
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    constraint query_job_name_key unique (name),
    constraint query_job_data_source_fkey foreign key (data_source_id) references data_source (id),
    constraint query_job_name_check check (name ~ '^[A-Za-z][A-Za-z0-9_.-]{0,62}$'),
    constraint query_job_schedule_type_check check (schedule_type in ('cron', 'interval')),
    constraint query_job_visibility_check check (visibility in ('public', 'users', 'restricted')),
    constraint query_job_overlap_policy_check
        check (overlap_policy in ('skip', 'queue', 'queue_all', 'cancel_previous', 'allow')),
    constraint query_job_misfire_policy_check check (misfire_policy in ('once', 'all', 'skip')),
    constraint query_job_on_limit_check check (on_limit in ('truncate', 'sample', 'error')),
    constraint query_job_jitter_check check (jitter_s >= 0),
    constraint query_job_start_deadline_check check (start_deadline_s >= 1),
    constraint query_job_max_attempts_check check (max_attempts >= 1),
    constraint query_job_retry_backoff_check check (retry_backoff_s >= 1),
    constraint query_job_timeout_check check (timeout_ms >= 1),
    constraint query_job_max_rows_check check (max_rows >= 1),
    constraint query_job_max_bytes_check check (max_bytes >= 1),
    constraint query_job_pause_after_check check (pause_after_failures >= 0),
    constraint query_job_keep_runs_check check (keep_runs >= 1),
    constraint query_job_keep_days_check check (keep_days >= 1),
    constraint query_job_pause_check check ((paused_at is null) = (pause_reason is null)),
    -- what is disabled is not planned
    constraint query_job_next_run_check check (enabled or next_run_at is null)
);

create index query_job_due_idx on query_job (next_run_at) where next_run_at is not null;
create index query_job_data_source_idx on query_job (data_source_id);

create table worker (
    id integer generated always as identity primary key,
    host text not null,
    pid integer not null,
    version text not null,
    concurrency integer not null,
    -- whether the worker's end shows by its session lock; false behind a transaction pooler
    session_lock boolean not null default false,
    started_at timestamptz not null default clock_timestamp(),
    seen_at timestamptz not null default clock_timestamp(),
    stopped_at timestamptz
);

-- fencing tokens: every claim draws a higher one
create sequence run_token as bigint;

create table query_run (
    id bigint generated always as identity primary key,
    query_id bigint not null,
    scheduled_at timestamptz not null,
    job_timezone text not null,
    run_started_at timestamptz,
    run_finished_at timestamptz,
    duration_ms bigint,
    status text not null,
    rows_returned bigint,
    error_message text,
    error_code text,
    attempt integer not null default 0,
    trigger text not null,
    truncated boolean not null default false,
    -- what every reader of the query may see of error_message
    error_public text,
    error_sqlstate text,
    created_at timestamptz not null default clock_timestamp(),
    -- where it waits in line; no foreign key: history must not keep a source that its query left
    data_source_id bigint not null,
    ready_at timestamptz not null,
    deadline_at timestamptz,
    -- false under overlap_policy allow: the only runs that may overlap
    exclusive boolean not null default true,
    token bigint not null default 0,
    lease_until timestamptz,
    worker_id integer,
    -- how often the run was lost with its worker
    losses integer not null default 0,
    cancel_requested_at timestamptz,
    constraint query_run_query_fkey foreign key (query_id) references query_job (id) on delete cascade,
    constraint query_run_status_check
        check (status in ('queued', 'running', 'success', 'error', 'cancelled', 'skipped')),
    constraint query_run_trigger_check check (trigger in ('schedule', 'manual', 'backfill')),
    constraint query_run_held_check
        check ((status = 'running') = (lease_until is not null) and (status = 'running') = (worker_id is not null)),
    constraint query_run_started_check
        check (status not in ('running', 'success', 'error') or run_started_at is not null),
    constraint query_run_finished_check
        check ((status in ('queued', 'running')) = (run_finished_at is null)),
    constraint query_run_success_check check (status <> 'success' or (rows_returned is not null and error_code is null)),
    constraint query_run_error_check check (status <> 'error' or (error_code is not null and error_message is not null)),
    constraint query_run_skipped_check
        check (status <> 'skipped' or error_code in ('overlap', 'misfire', 'deadline', 'paused'))
);

-- exactly one recorded outcome for each due instant
create unique index query_run_instant_key on query_run (query_id, scheduled_at) where trigger = 'schedule';
-- no overlap, judged by an index and not by a count
create unique index query_run_no_overlap_key on query_run (query_id) where status = 'running' and exclusive;
create index query_run_history_idx on query_run (query_id, scheduled_at desc, id desc);
create index query_run_success_idx on query_run (query_id, scheduled_at desc, id desc) where status = 'success';
create index query_run_fate_idx on query_run (query_id, status, scheduled_at desc, id desc)
    where status in ('error', 'cancelled', 'skipped');
create index query_run_queued_idx on query_run (data_source_id, ready_at, id) where status = 'queued';
create index query_run_ready_idx on query_run (ready_at) where status = 'queued';
create index query_run_deadline_idx on query_run (deadline_at) where status = 'queued' and deadline_at is not null;
create index query_run_running_idx on query_run (data_source_id) where status = 'running';
create index query_run_worker_idx on query_run (worker_id) where status = 'running';
create index query_run_active_idx on query_run (query_id, status) where status in ('queued', 'running');

create table query_run_blob (
    run_id bigint primary key,
    format text not null,
    df_json jsonb not null,
    row_count bigint not null,
    byte_size bigint not null,
    constraint query_run_blob_run_fkey foreign key (run_id) references query_run (id) on delete cascade,
    constraint query_run_blob_format_check check (format in ('jsonb', 'jsonb-chunks'))
);

create table query_run_chunk (
    run_id bigint not null,
    -- the claim that wrote it; chunks of a claim that came to nothing are removed with the next outcome
    token bigint not null,
    seq integer not null,
    data jsonb not null,
    constraint query_run_chunk_pkey primary key (run_id, token, seq),
    constraint query_run_chunk_run_fkey foreign key (run_id) references query_run (id) on delete cascade
);

create table query_gap (
    id bigint generated always as identity primary key,
    query_id bigint not null,
    from_at timestamptz not null,
    to_at timestamptz not null,
    instants bigint not null,
    reason text not null,
    created_at timestamptz not null default clock_timestamp(),
    constraint query_gap_query_fkey foreign key (query_id) references query_job (id) on delete cascade,
    constraint query_gap_key unique (query_id, from_at),
    constraint query_gap_order_check check (from_at <= to_at and instants >= 1),
    constraint query_gap_reason_check check (reason in ('overlap', 'misfire', 'deadline', 'paused'))
);

create table user_account (
    id bigint generated always as identity primary key,
    email text not null,
    name text not null,
    password_hash text not null,
    is_active boolean not null default true,
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp()
);

create unique index user_account_email_key on user_account (lower(email));

create table user_role (
    user_id bigint not null,
    role text not null,
    constraint user_role_pkey primary key (user_id, role),
    constraint user_role_user_fkey foreign key (user_id) references user_account (id) on delete cascade
);

create table user_session (
    -- SHA-256 of the sid, hexadecimal; never the sid
    id text primary key,
    user_id bigint not null,
    created_at timestamptz not null default clock_timestamp(),
    last_seen_at timestamptz not null default clock_timestamp(),
    expires_at timestamptz not null,
    ip text,
    user_agent text,
    is_revoked boolean not null default false,
    constraint user_session_user_fkey foreign key (user_id) references user_account (id) on delete cascade
);

create index user_session_user_idx on user_session (user_id);
create index user_session_expires_idx on user_session (expires_at);

-- The state chart of domain/runs.py: a terminal status never changes, tokens only grow.
create function run_keeps_its_chart() returns trigger language plpgsql as $$
begin
    if old.status in ('success', 'error', 'cancelled', 'skipped') then
        raise exception 'run % is % and stays so', old.id, old.status
            using errcode = 'check_violation', constraint = 'query_run_chart';
    end if;
    if new.status <> old.status and not (
        (old.status = 'queued' and new.status in ('running', 'cancelled', 'skipped'))
        or (old.status = 'running' and new.status in ('success', 'error', 'cancelled', 'queued'))
    ) then
        raise exception 'run % cannot go from % to %', old.id, old.status, new.status
            using errcode = 'check_violation', constraint = 'query_run_chart';
    end if;
    if new.token < old.token or (old.status = 'queued' and new.status = 'running' and new.token <= old.token) then
        raise exception 'run %: the token does not grow', old.id
            using errcode = 'check_violation', constraint = 'query_run_chart';
    end if;
    return new;
end $$;

create trigger query_run_chart before update on query_run
    for each row execute function run_keeps_its_chart();

-- Exactly one blob for each success and none for anything else, judged when the transaction ends.
create function run_has_its_blob() returns trigger language plpgsql as $$
begin
    if not exists (select from query_run_blob where run_id = new.id)
        and exists (select from query_run where id = new.id) then
        raise exception 'run % is a success without a result', new.id
            using errcode = 'check_violation', constraint = 'query_run_has_blob';
    end if;
    return null;
end $$;

create constraint trigger query_run_has_blob after insert or update of status on query_run
    deferrable initially deferred for each row when (new.status = 'success')
    execute function run_has_its_blob();

create function blob_has_its_run() returns trigger language plpgsql as $$
begin
    if exists (select from query_run where id = new.run_id and status <> 'success') then
        raise exception 'run % has a result and is no success', new.run_id
            using errcode = 'check_violation', constraint = 'query_run_blob_has_success';
    end if;
    return null;
end $$;

create constraint trigger query_run_blob_has_success after insert on query_run_blob
    deferrable initially deferred for each row execute function blob_has_its_run();

create function result_is_final() returns trigger language plpgsql as $$
begin
    raise exception 'a stored result is never rewritten'
        using errcode = 'check_violation', constraint = 'query_run_blob_final';
end $$;

create trigger query_run_blob_final before update on query_run_blob
    for each row execute function result_is_final();

-- lz4 reads and writes faster than pglz; a server built without it keeps its default
do $$
begin
    alter table query_run_blob alter column df_json set compression lz4;
    alter table query_run_chunk alter column data set compression lz4;
exception when feature_not_supported then
    null;
end $$;
