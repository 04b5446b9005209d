-- Which sources have runs waiting is asked of query_run_queued_idx, source by source. With this one beside it the
-- planner went through everything that waited anywhere, once for each source.
drop index query_run_ready_idx;
