"""What stands between a statement and the source's data once the guard has let it pass."""

from __future__ import annotations

import pytest
from source_fixtures import address_of, run, run_at, statement

from pgsched.adapters.source.sources import PsycopgSources
from pgsched.domain.errors import InvalidInput, IsMetadata, QueryFailed
from pgsched.domain.results import OnLimit


@pytest.fixture
async def sources():
    sources = PsycopgSources()
    yield sources
    await sources.close()


@pytest.fixture
def shop(source_db):
    """A source with a table that the reader could write to, if nothing else stopped it."""
    source_db.execute(
        "create table orders (id int); insert into orders values (1);"
        "grant insert, update, delete, truncate on orders to reader;"
        "create function sneak() returns int language sql volatile as"
        " 'insert into orders values (9) returning id';"
        "create function set_it(name text, value text) returns text language plpgsql volatile as"
        " $$ begin return set_config(name, value, false); end $$"
    )
    return source_db


HOSTILE = [
    "commit; insert into orders values (2)",
    "select 1; insert into orders values (2)",
    "select 1; commit; insert into orders values (2)",
    "insert into orders values (2)",
    "insert into orders values (2) returning id",
    "with gone as (delete from orders returning id) select * from gone",
    "select * from orders for update",
    "select id into copied from orders",
    "select sneak()",
    "select set_it('transaction_read_only', 'off')",
    "select set_config('transaction_read_only', 'off', true)",
    "select nextval('no_such')",
    "set transaction read write",
    "begin",
    "copy orders to stdout",
    "do $$ begin end $$",
    "explain analyze insert into orders values (2)",
    "select 1 from orders; fetch all from pgsched",
    "select lo_create(4711)",
    "truncate orders",
    "select $1",
]


@pytest.mark.parametrize("sql", HOSTILE)
async def test_hostile_statements_fail_and_change_nothing(shop, sources, sql):
    if sql == "select lo_create(4711)" and shop.server.major < 16:
        # READ ONLY lets it through on 15; the ROLLBACK takes it back
        await run(sources, shop, sql)
    else:
        with pytest.raises(QueryFailed):
            await run(sources, shop, sql)
    assert shop.execute("select id from orders") == [(1,)]
    assert shop.execute("select count(*) from pg_largeobject_metadata") == [(0,)]
    assert (await run(sources, shop, "select id from orders")).data == [{"id": 1}]


async def test_settings_a_statement_changes_are_gone_for_the_next(shop, sources):
    address = address_of(shop)
    for sql in ("select set_it('search_path', 'nowhere') s", "select set_it('TimeZone', 'Asia/Tokyo') s"):
        await run_at(sources, address, statement(sql))
    outcome = await run_at(
        sources, address,
        statement("select current_setting('search_path') p, current_setting('TimeZone') z, pg_backend_pid()"),
    )  # fmt: skip
    assert (outcome.data[0]["p"], outcome.data[0]["z"]) == ('pg_catalog, "$user", public', "UTC")


@pytest.mark.parametrize("sql", ["select 1\0, 2", "select '\ud800'"])
async def test_text_that_libpq_would_cut_is_refused(shop, sources, sql):
    with pytest.raises(InvalidInput):
        await run(sources, shop, sql)


@pytest.mark.parametrize(
    "ending", ["", ";", " ; ", " -- a comment", "\n-- a comment", " /* one */;", ";\n-- after", ";;"]
)
async def test_endings_of_the_text_make_no_difference(shop, sources, ending):
    assert (await run(sources, shop, "select id from orders" + ending)).data == [{"id": 1}]


@pytest.mark.parametrize(
    ("sql", "position"),
    [
        ("select nope from orders", 8),
        ("select 'é€😀', nope", 15),
        ("-- a comment\nselect 1 +", 24),
        ("selec 1", 1),
        ("select 'a'::int", 8),
        ("select 1/0", None),
    ],
)
async def test_positions_count_in_the_users_text(shop, sources, sql, position):
    with pytest.raises(QueryFailed) as caught:
        await run(sources, shop, sql)
    assert caught.value.position == position
    assert "DECLARE" not in caught.value.detail


async def test_the_public_message_is_the_primary_message_alone(shop, sources):
    shop.execute(
        "create function loud() returns int language plpgsql as $$ begin raise exception 'seen by all'"
        " using detail = 'secret detail', hint = 'secret hint'; end $$"
    )
    with pytest.raises(QueryFailed) as caught:
        await run(sources, shop, "select loud()")
    assert caught.value.public == "seen by all"
    assert caught.value.sqlstate == "P0001"
    for part in ("seen by all", "DETAIL: secret detail", "HINT: secret hint", "CONTEXT: PL/pgSQL function"):
        assert part in caught.value.detail


async def test_the_session_is_pinned_whatever_the_role_has_set(shop, sources):
    shop.execute(
        "create schema evil; grant usage on schema evil to reader;"
        "create function evil.lower(text) returns text language sql as $$ select 'shadowed' $$;"
        "alter role reader set standard_conforming_strings = off;"
        "alter role reader set datestyle = 'SQL, DMY';"
        "alter role reader set intervalstyle = 'iso_8601'; alter role reader set bytea_output = 'escape';"
        "alter role reader set extra_float_digits = -5; alter role reader set client_encoding = 'LATIN1';"
        "alter role reader set timezone = 'Asia/Tokyo'; alter role reader set statement_timeout = '1h';"
        "alter role reader set search_path = evil, pg_catalog, public"
    )
    settings = ("standard_conforming_strings", "DateStyle", "IntervalStyle", "bytea_output",
                "extra_float_digits", "client_encoding", "TimeZone", "statement_timeout", "search_path",
                "transaction_read_only", "transaction_isolation", "application_name", "lock_timeout",
                "cursor_tuple_fraction")  # fmt: skip
    columns = ", ".join(f"current_setting('{name}') as \"{name}\"" for name in settings)
    try:
        outcome = await run(
            sources, shop,
            f"select {columns}, lower('A') as low, '01/02/2026'::date as day, '\\' as slash, 0.1 as f",
            timezone="Europe/Paris", timeout_ms=12_345, application_name="pgsched:7/2",
        )  # fmt: skip
    finally:
        shop.execute("alter role reader reset all")
    assert outcome.data == [
        {
            "standard_conforming_strings": "on",
            "DateStyle": "ISO, DMY",
            "IntervalStyle": "postgres",
            "bytea_output": "hex",
            "extra_float_digits": "1",
            "client_encoding": "UTF8",
            "TimeZone": "Europe/Paris",
            "statement_timeout": "12345ms",
            "search_path": "pg_catalog, evil, pg_catalog, public",
            "transaction_read_only": "on",
            "transaction_isolation": "repeatable read",
            "application_name": "pgsched:7/2",
            "lock_timeout": "10s",
            "cursor_tuple_fraction": "1",
            "low": "a",
            "day": "2026-02-01",
            "slash": "\\",
            "f": 0.1,
        }
    ]


@pytest.mark.parametrize("on_limit", list(OnLimit))
@pytest.mark.parametrize("value", ["'é'", "'\"é'", '\'{"a": "é"}\'::jsonb', "array['é']"])
async def test_a_changed_client_encoding_is_an_error_and_no_broken_document(shop, sources, value, on_limit):
    shop.execute(
        "create or replace function latin() returns void language plpgsql as"
        " $$ begin perform set_config('client_encoding', 'LATIN1', false); end $$"
    )
    with pytest.raises(QueryFailed) as caught:
        await run(sources, shop, f"select latin(), {value} as e", on_limit=on_limit)
    assert caught.value.sqlstate == "22021"
    assert (await run(sources, shop, "select 'é' as e")).data == [{"e": "é"}]


async def test_a_changed_datestyle_stays_text(shop, sources):
    shop.execute(
        "create or replace function german() returns void language plpgsql as"
        " $$ begin perform set_config('datestyle', 'German', false); end $$"
    )
    outcome = await run(sources, shop, "select german(), timestamp '2026-11-19 10:00:00.5' as at")
    assert (outcome.data[0]["at"], outcome.fields[1]["type"]) == ("19.11.2026 10:00:00.5", "string")


IDENTITY = "select (extract(epoch from pg_postmaster_start_time()) * 1000000)::int8::text, current_database()"


async def test_the_metadata_database_is_no_source_by_identity(shop):
    ((started, dbname),) = shop.execute(IDENTITY)

    async def identity():
        return started, dbname

    async def other_database():
        return started, "another"

    own, neighbour = (
        PsycopgSources(metadata_identity=identity),
        PsycopgSources(metadata_identity=other_database),
    )
    try:
        with pytest.raises(IsMetadata):
            await run(own, shop, "select 1")
        assert (await run(own, shop, "select 1 a", allow_metadata=True)).data == [{"a": 1}]
        # the connection just kept does not open the door
        with pytest.raises(IsMetadata):
            await run(own, shop, "select 1")
        assert (await own.inspect(address_of(shop))).error_code == "is_metadata"
        assert (await run(neighbour, shop, "select 1 a")).data == [{"a": 1}]
    finally:
        await own.close()
        await neighbour.close()


async def test_the_metadata_database_is_no_source_by_its_tables(shop, sources):
    shop.execute("create table query_run (id int); create table user_session (id int)")
    assert (await run(sources, shop, "select 1 a")).data == [{"a": 1}]
    await sources.close()
    shop.execute("create table query_run_blob (id int)")
    fresh = PsycopgSources()
    with pytest.raises(IsMetadata):
        await run(fresh, shop, "select 1")
    await fresh.close()
