-- The checker's own record of everything that happens to runs, results and schedules, written by triggers in
-- the same transactions. It belongs to the superuser: pgsched can neither read nor change it.
create schema witness;

create table witness.run (
    seq bigint generated always as identity,
    at timestamptz not null default clock_timestamp(),
    xid text not null default pg_current_xact_id()::text,
    writer text not null default current_setting('application_name'),
    op text not null,
    run_id bigint not null, query_id bigint not null, scheduled_at timestamptz not null, trigger text not null,
    old_status text, status text, attempt integer, old_token bigint, token bigint,
    old_worker integer, worker integer, old_lease timestamptz, lease timestamptz,
    old_losses integer, losses integer, error_code text, ready_at timestamptz, deadline_at timestamptz,
    exclusive boolean
);
create function witness.run_changed() returns trigger language plpgsql security definer as $$
begin
    if tg_op = 'DELETE' then
        insert into witness.run (op, run_id, query_id, scheduled_at, trigger, old_status)
        values (tg_op, old.id, old.query_id, old.scheduled_at, old.trigger, old.status);
    elsif tg_op = 'INSERT' then
        insert into witness.run (op, run_id, query_id, scheduled_at, trigger, status, attempt, token, worker,
            lease, losses, error_code, ready_at, deadline_at, exclusive)
        values (tg_op, new.id, new.query_id, new.scheduled_at, new.trigger, new.status, new.attempt, new.token,
            new.worker_id, new.lease_until, new.losses, new.error_code, new.ready_at, new.deadline_at,
            new.exclusive);
    else
        insert into witness.run (op, run_id, query_id, scheduled_at, trigger, old_status, status, attempt,
            old_token, token, old_worker, worker, old_lease, lease, old_losses, losses, error_code, ready_at,
            deadline_at, exclusive)
        values (tg_op, new.id, new.query_id, new.scheduled_at, new.trigger, old.status, new.status, new.attempt,
            old.token, new.token, old.worker_id, new.worker_id, old.lease_until, new.lease_until, old.losses,
            new.losses, new.error_code, new.ready_at, new.deadline_at, new.exclusive);
    end if;
    return null;
end $$;
create trigger zz_witness after insert or update or delete on query_run
    for each row execute function witness.run_changed();

create table witness.blob (
    seq bigint generated always as identity,
    at timestamptz not null default clock_timestamp(),
    op text not null, run_id bigint not null
);
create function witness.blob_changed() returns trigger language plpgsql security definer as $$
begin
    insert into witness.blob (op, run_id)
    values (tg_op, case when tg_op = 'DELETE' then old.run_id else new.run_id end);
    return null;
end $$;
create trigger zz_witness after insert or update or delete on query_run_blob
    for each row execute function witness.blob_changed();

create table witness.job (
    seq bigint generated always as identity,
    at timestamptz not null default clock_timestamp(),
    xid text not null default pg_current_xact_id()::text,
    op text not null, query_id bigint not null, next_run_at timestamptz, enabled boolean, paused boolean
);
create function witness.job_changed() returns trigger language plpgsql security definer as $$
begin
    if tg_op = 'DELETE' then
        insert into witness.job (op, query_id) values (tg_op, old.id);
    else
        insert into witness.job (op, query_id, next_run_at, enabled, paused)
        values (tg_op, new.id, new.next_run_at, new.enabled, new.paused_at is not null);
    end if;
    return null;
end $$;
create trigger zz_witness after insert or update or delete on query_job
    for each row execute function witness.job_changed();
