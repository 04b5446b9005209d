-- The rules of a run's row in one function: the server reads the text of each CHECK anew for every statement
-- that writes a row, which took longer than writing it. A compiled function is kept for the session.

create function run_is_sound(status text, trigger text, run_started_at timestamptz, run_finished_at timestamptz,
    lease_until timestamptz, worker_id integer, rows_returned bigint, error_code text, error_message text)
returns boolean language plpgsql immutable parallel safe as $$
begin
    return trigger in ('schedule', 'manual', 'backfill') and case status
        when 'queued' then run_finished_at is null and lease_until is null and worker_id is null
        when 'running' then run_finished_at is null
            and num_nonnulls(lease_until, worker_id, run_started_at) = 3
        when 'success' then num_nonnulls(run_started_at, run_finished_at, rows_returned) = 3
            and num_nonnulls(lease_until, worker_id, error_code) = 0
        when 'error' then num_nonnulls(run_started_at, run_finished_at, error_code, error_message) = 4
            and num_nonnulls(lease_until, worker_id) = 0
        when 'cancelled' then run_finished_at is not null and num_nonnulls(lease_until, worker_id) = 0
        when 'skipped' then run_finished_at is not null and num_nonnulls(lease_until, worker_id) = 0
            and coalesce(error_code in ('overlap', 'misfire', 'deadline', 'paused'), true)
        else false end;
end $$;

-- What is there was checked when it was written: not read again, which would lock out everyone for minutes.
alter table query_run
    drop constraint query_run_status_check,
    drop constraint query_run_trigger_check,
    drop constraint query_run_held_check,
    drop constraint query_run_started_check,
    drop constraint query_run_finished_check,
    drop constraint query_run_success_check,
    drop constraint query_run_error_check,
    drop constraint query_run_skipped_check,
    add constraint query_run_sound_check check (run_is_sound(status, trigger, run_started_at, run_finished_at,
        lease_until, worker_id, rows_returned, error_code, error_message)) not valid;
