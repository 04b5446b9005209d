-- Dry runs under way: their number per user and per source is bounded over all API processes.

create table dry_run (
    id bigint generated always as identity primary key,
    -- who asked: an e-mail address, or cli: and the system's user
    user_name text not null,
    -- no foreign key: one that is under way must not keep anybody from deleting the source
    data_source_id bigint not null,
    -- what a lost process held is free then
    until_at timestamptz not null
);
