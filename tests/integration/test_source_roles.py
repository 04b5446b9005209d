"""A look at a source: what its role could do beyond reading is said, each thing in a sentence of its own."""

from __future__ import annotations

import pytest
from postgres_fixtures import fresh_source, new_name
from source_fixtures import address_of

from pgsched.adapters.source import inspection
from pgsched.adapters.source.sources import PsycopgSources


@pytest.fixture
async def sources():
    sources = PsycopgSources()
    yield sources
    await sources.close()


@pytest.fixture
def source(any_pg_server):
    with fresh_source(any_pg_server) as source:
        yield source


async def test_a_reader_is_reported_without_warnings(sources, source):
    report = await sources.inspect(address_of(source))
    assert (report.ok, report.warnings, report.error_code) == (True, (), None)
    assert report.server_version.split(".")[0] == str(source.server.major)
    assert 0 < report.latency_ms < 1000


async def test_what_a_role_could_do_is_said_plainly(sources, source):
    source.execute(
        "create table t (id int); grant insert on t to reader; grant create on schema public to reader"
    )
    warnings = " ".join((await sources.inspect(address_of(source))).warnings)
    assert "may write to tables" in warnings
    assert "create objects in a schema" in warnings
    source.execute("create role powerful login superuser password 'p'")
    source.execute("create role filer login password 'p' in role pg_read_server_files, pg_write_all_data")
    source.execute("create role owner login password 'p' bypassrls; alter table t owner to owner")
    try:
        found = {
            role: " ".join((await sources.inspect(address_of(source, username=role, password="p"))).warnings)
            for role in ("powerful", "filer", "owner")
        }
    finally:
        source.execute("alter table t owner to current_user")
        source.execute("drop role powerful; drop role filer; drop role owner")
    assert "superuser" in found["powerful"]
    assert "pg_read_server_files, pg_write_all_data" in found["filer"]
    assert "may write to tables" in found["filer"]
    assert "owns tables" in found["owner"]
    assert "bypass row security" in found["owner"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("grant update (id) on t to {role}", "may write to tables"),
        ("grant usage on sequence s to {role}", "may advance or set sequences"),
        ("alter materialized view m owner to {role}", "owns tables"),
        ("alter database {db} owner to {role}", "owns tables, views or the database"),
        ("grant {group} to {role}", "may write to tables"),
        ("grant pg_execute_server_program to {role}", "pg_execute_server_program"),
        ("grant execute on function pg_read_file(text) to {role}", "may read or write files"),
        ("grant create on database {db} to {role}", "create schemas"),
        ("alter role {role} createdb", "create roles or databases"),
        ("grant trigger on t to {role}", "put triggers or foreign keys on tables"),
        ("grant references (id) on t to {role}", "put triggers or foreign keys on tables"),
        ("grant trigger on t to public", "put triggers or foreign keys on tables"),
        ("alter function f() owner to {role}", "owns functions or large objects"),
        ("alter large object 4711 owner to {role}", "owns functions or large objects"),
        (
            "grant execute on function pg_reload_conf() to {role}",
            "may call pg_reload_conf, which Postgres keeps from most roles",
        ),
        ("grant execute on function pg_ls_waldir() to {group}; grant {group} to {role}", "call pg_ls_waldir"),
        (
            "grant execute on function pg_switch_wal() to public",
            "may call pg_switch_wal, which Postgres keeps from most roles",
        ),
        (
            "grant execute on all functions in schema pg_catalog to {role}",
            " more, which Postgres keeps from most roles",
        ),
        ("grant alter system on parameter work_mem to {role}", "on the parameters work_mem:"),
        ("grant set on parameter log_statement to public", "on the parameters log_statement:"),
        ("alter role {group} superuser; grant {group} to {role}", "a superuser or a member of one"),
    ],
)
async def test_each_power_of_a_role_is_said(sources, source, given, told):
    role, group = new_name("role"), new_name("grp")
    names = {"role": role, "group": group, "db": source.dbname}
    source.execute(
        "create table t (id int); create sequence s; create materialized view m as select 1 as a;"
        "create function f() returns int language sql return 1; select lo_create(4711);"
        f"create role {role} login noinherit password 'p'; create role {group}; grant insert on t to {group}"
    )
    address = address_of(source, username=role, password="p")
    try:
        assert (await sources.inspect(address)).warnings == ()
        source.execute(given.format(**names))
        assert told in " ".join((await sources.inspect(address)).warnings)
    finally:
        for taken in (
            "execute on function pg_switch_wal() from public",
            f"execute on all functions in schema pg_catalog from {role}",
            "set on parameter log_statement from public",
        ):
            source.execute(f"revoke {taken}")
        source.execute(
            f"alter database {source.dbname} owner to current_user;"
            f"reassign owned by {role} to current_user;"
            f"drop owned by {role}, {group}; drop role {role}; drop role {group}"
        )


async def test_maintain_on_a_table_is_said_where_there_is_such_a_right(sources, source):
    if source.server.major < 17:
        pytest.skip("MAINTAIN came with Postgres 17")
    source.execute("create table t (id int); grant maintain on t to reader")
    [warning] = (await sources.inspect(address_of(source))).warnings
    assert "vacuum, reindex, refresh and lock tables" in warning


async def test_what_comes_with_a_predefined_role_is_said_by_its_name(sources, source):
    """pg_monitor brings pg_ls_waldir and its kin, and reads: no word about it."""
    role = new_name("role")
    source.execute(f"create role {role} login password 'p' in role pg_monitor")
    try:
        address = address_of(source, username=role, password="p")
        assert (await sources.inspect(address)).warnings == ()
        source.execute(f"grant pg_signal_backend to {role}")
        [warning] = (await sources.inspect(address)).warnings
        assert "member of pg_signal_backend:" in warning
    finally:
        source.execute(f"drop role {role}")


async def test_a_mapping_and_default_privileges_are_no_powers(sources, source):
    source.execute(
        "alter default privileges for role reader revoke execute on functions from public;"
        "create foreign data wrapper w; create server s foreign data wrapper w;"
        "create user mapping for reader server s options (password 'x')"
    )
    assert (await sources.inspect(address_of(source))).warnings == ()


@pytest.mark.parametrize("version", [120_000, 140_013])
def test_servers_without_grants_of_parameters_are_not_asked_for_them(source, version):
    asked = inspection._look(version).decode()
    assert "pg_parameter_acl" not in asked
    [row] = source.execute(asked.encode())
    assert row[-1] is None
