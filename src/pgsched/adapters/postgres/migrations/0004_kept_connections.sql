-- What each worker may have open at a source, connections kept between runs included: claims of the other
-- workers leave it these places, so that a source never has more than its max_concurrency.

create table source_kept (
    -- no foreign key: what a lost worker noted is removed with its runs' rescue, or expires
    worker_id integer not null,
    data_source_id bigint not null,
    connections integer not null,
    until_at timestamptz not null,
    constraint source_kept_pkey primary key (worker_id, data_source_id),
    constraint source_kept_source_fkey foreign key (data_source_id) references data_source (id) on delete cascade,
    constraint source_kept_connections_check check (connections >= 1)
);

create index source_kept_source_idx on source_kept (data_source_id);
