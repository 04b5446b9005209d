-- How fresh an answer must be is told with answers kept in memory too: a change of it is noticed as rights are.
drop trigger query_job_access on query_job;
create trigger query_job_access after insert or update of name, visibility, fresh_for or delete on query_job
    for each statement execute function access_changed();
