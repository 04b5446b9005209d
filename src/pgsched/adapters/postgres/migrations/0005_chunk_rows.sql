-- How many rows a chunk has, so that a page is read from the chunks that hold it alone.
-- Generated: whoever writes chunks cannot get it wrong.

alter table query_run_chunk
    add column row_count integer not null generated always as (jsonb_array_length(data)) stored;
