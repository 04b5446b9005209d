-- Who may read and write: API tokens, grants on queries, failed logins, the audit trail, and an epoch that
-- moves with every change of rights, so that other processes notice within their next look.

create table api_token (
    id bigint generated always as identity primary key,
    user_id bigint not null,
    name text not null,
    -- SHA-256 of the token, hexadecimal; never the token
    token_hash text not null,
    -- ids of the queries it is narrowed to, null for all that its owner may read
    queries bigint[],
    created_at timestamptz not null default clock_timestamp(),
    expires_at timestamptz,
    last_used_at timestamptz,
    constraint api_token_user_fkey foreign key (user_id) references user_account (id) on delete cascade,
    constraint api_token_hash_key unique (token_hash)
);

create index api_token_user_idx on api_token (user_id);

create table query_grant (
    id bigint generated always as identity primary key,
    query_id bigint not null,
    user_id bigint,
    role text,
    token_id bigint,
    -- {column: [values]}; a row is shown when each column holds one of its values; null shows every row
    row_filter jsonb,
    created_at timestamptz not null default clock_timestamp(),
    constraint query_grant_query_fkey foreign key (query_id) references query_job (id) on delete cascade,
    constraint query_grant_user_fkey foreign key (user_id) references user_account (id) on delete cascade,
    constraint query_grant_token_fkey foreign key (token_id) references api_token (id) on delete cascade,
    constraint query_grant_grantee_check check (num_nonnulls(user_id, role, token_id) = 1),
    constraint query_grant_filter_check check (jsonb_typeof(row_filter) = 'object'),
    constraint query_grant_user_key unique (query_id, user_id),
    constraint query_grant_role_key unique (query_id, role),
    constraint query_grant_token_key unique (query_id, token_id)
);

create index query_grant_user_idx on query_grant (user_id) where user_id is not null;
create index query_grant_role_idx on query_grant (role) where role is not null;
create index query_grant_token_idx on query_grant (token_id) where token_id is not null;

create table login_failure (
    id bigint generated always as identity primary key,
    -- the address that was tried, in small letters, whether or not it is an account's
    email text not null,
    -- network address it came from, null when unknown
    ip text,
    at timestamptz not null default clock_timestamp()
);

create index login_failure_email_idx on login_failure (email, at);
create index login_failure_ip_idx on login_failure (ip, at);
create index login_failure_at_idx on login_failure (at);

create table audit_event (
    id bigint generated always as identity primary key,
    at timestamptz not null default clock_timestamp(),
    -- who: an account's id, null for the command line and for who is not logged in; kept when the account goes
    actor_id bigint,
    -- who, as shown: an e-mail address, cli:<system user>, or anonymous
    actor text not null,
    -- from where: a network address, null for the command line
    ip text,
    request_id text,
    -- what was done, as noun.verb
    action text not null,
    -- what it was done to: user, session, token, source, query, run, grant, key
    noun text not null,
    noun_id text,
    noun_name text,
    -- what changed, secrets masked; null where there was or is nothing
    old jsonb,
    new jsonb
);

create index audit_event_at_idx on audit_event (at desc, id desc);
create index audit_event_noun_idx on audit_event (noun, noun_id, id desc);

-- One row; its lock makes the order of changes that of their commits.
create table access_epoch (
    single boolean primary key default true,
    epoch bigint not null default 1,
    constraint access_epoch_single_check check (single)
);

insert into access_epoch default values;

create function access_changed() returns trigger language plpgsql as $$
begin
    update access_epoch set epoch = epoch + 1;
    return null;
end $$;

create trigger user_account_access after update of email, name, is_active or delete on user_account
    for each statement execute function access_changed();
create trigger user_role_access after insert or update or delete on user_role
    for each statement execute function access_changed();
create trigger user_session_access after update of is_revoked or delete on user_session
    for each statement execute function access_changed();
create trigger api_token_access after update of queries, expires_at or delete on api_token
    for each statement execute function access_changed();
create trigger query_grant_access after insert or update or delete on query_grant
    for each statement execute function access_changed();
create trigger query_job_access after insert or update of name, visibility or delete on query_job
    for each statement execute function access_changed();
