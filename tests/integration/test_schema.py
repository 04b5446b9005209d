"""The schema: applied step by step, printed whole, alike both ways, on every version of Postgres there is."""

from __future__ import annotations

import asyncio
import os
import subprocess
from importlib.resources import files

import psycopg
import pytest
from postgres_fixtures import fresh_database
from tools import program

from pgsched.adapters.postgres import schema, tables
from pgsched.domain.errors import DatabaseFault, DatabaseUnavailable, SchemaMismatch

#: everything that makes a schema, by name and not by oid
CATALOG = {
    "columns": """
        select c.relname, c.relkind::text, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
            a.attidentity::text, a.attcompression::text, pg_get_expr(d.adbin, d.adrelid)
        from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
            left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
        where c.relnamespace = 'public'::regnamespace order by c.relname, a.attnum""",
    "constraints": """
        select conrelid::regclass::text, conname, pg_get_constraintdef(oid) from pg_constraint
        where connamespace = 'public'::regnamespace order by 1, 2""",
    "indexes": "select indexname, indexdef from pg_indexes where schemaname = 'public' order by 1",
    "functions": """
        select proname, pg_get_functiondef(oid) from pg_proc where pronamespace = 'public'::regnamespace
        order by 1""",
    "triggers": """
        select tgname, pg_get_triggerdef(oid) from pg_trigger where not tgisinternal order by 1""",
    "migrations": "select version, name from schema_migration order by 1",
}


@pytest.fixture
def any_database(any_pg_server):
    with fresh_database(any_pg_server, purpose="schema") as database:
        yield database


def catalog_of(database) -> dict[str, list[tuple]]:
    return {what: database.execute(statement) for what, statement in CATALOG.items()}


def way_in(database) -> str:
    """The database's conninfo for programs of Postgres 15, which lack some of today's options."""
    options = psycopg.conninfo.conninfo_to_dict(database.conninfo)
    return psycopg.conninfo.make_conninfo(**{k: v for k, v in options.items() if k != "require_auth"})


def psql(database, text: str) -> subprocess.CompletedProcess[str]:
    command = [program("psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", way_in(database)]
    return subprocess.run(command, input=text, text=True, capture_output=True, check=False)


async def test_upgrade_applies_every_step_once(any_database):
    assert await schema.current(any_database.conninfo) == 0
    assert await schema.upgrade(any_database.conninfo) == [m.version for m in schema.migrations()]
    assert await schema.current(any_database.conninfo) == schema.EXPECTED
    assert await schema.upgrade(any_database.conninfo) == []


def test_expected_version_is_the_newest_step_and_steps_have_no_gaps():
    versions = [migration.version for migration in schema.migrations()]
    assert versions == list(range(1, schema.EXPECTED + 1))


def test_every_sql_file_is_a_step():
    folder = files("pgsched.adapters.postgres").joinpath("migrations")
    names = {f"{m.version:04}_{m.name}.sql" for m in schema.migrations()}
    assert {entry.name for entry in folder.iterdir() if entry.name.endswith(".sql")} == names


def test_printed_schema_reads_alike_in_every_encoding():
    assert schema.printed().isascii()


async def test_printed_schema_equals_all_steps_applied(any_pg_server):
    with (
        fresh_database(any_pg_server, purpose="printed") as printed,
        fresh_database(any_pg_server, purpose="upgraded") as upgraded,
    ):
        done = psql(printed, schema.printed())
        assert (done.returncode, done.stderr) == (0, "")
        await schema.upgrade(upgraded.conninfo)
        assert catalog_of(printed) == catalog_of(upgraded)
        assert len(catalog_of(printed)["columns"]) > 100
        assert await schema.upgrade(printed.conninfo) == []
        dump = any_pg_server.cluster.programs.bindir / "pg_dump"
        if dump.exists():
            assert dumped(dump, printed) == dumped(dump, upgraded)


def dumped(program, database) -> list[str]:
    command = [program, "--schema-only", "--no-owner", "-d", way_in(database)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    # \restrict guards a dump with a random word
    return [line for line in text.splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))]


def test_printed_schema_leaves_a_database_that_is_not_empty_alone(empty_database):
    empty_database.execute("create table worker (mine text)")
    done = psql(empty_database, schema.printed())
    assert done.returncode != 0
    assert 'relation "worker" already exists' in done.stderr
    assert empty_database.execute(
        "select relname from pg_class where relnamespace = 'public'::regnamespace"
    ) == [("worker",)]


async def test_two_upgrades_at_once_apply_each_step_once(any_database):
    blocker = await psycopg.AsyncConnection.connect(any_database.conninfo)
    async with blocker:
        # Both are surely under way before either may begin.
        await blocker.execute("select pg_advisory_xact_lock(%s)", [schema._LOCK])
        upgrades = [asyncio.create_task(schema.upgrade(any_database.conninfo)) for _ in range(3)]
        waiting = "select count(*) from pg_locks where locktype = 'advisory' and not granted"
        while any_database.execute(waiting) != [(3,)]:  # noqa: ASYNC110 (another process's event)
            await asyncio.sleep(0.01)
        await blocker.commit()
        applied = await asyncio.gather(*upgrades)
    # one may come in between two steps of another
    assert sorted(version for each in applied for version in each) == list(range(1, schema.EXPECTED + 1))


async def test_failing_step_leaves_nothing(empty_database):
    empty_database.execute("create table query_gap (mine text)")
    with pytest.raises(DatabaseFault, match=r'migration 1 .* failed: relation "query_gap" already exists'):
        await schema.upgrade(empty_database.conninfo)
    assert empty_database.execute("select to_regclass('data_source'), to_regclass('schema_migration')") == [
        (None, None)
    ]


async def test_newer_database_is_refused_in_one_line(database):
    database.execute("insert into schema_migration (version, name) values (99, 'of_tomorrow')")
    with pytest.raises(SchemaMismatch, match="schema version 99, this pgsched knows"):
        await schema.upgrade(database.conninfo)


async def test_role_without_rights_is_told_what_to_do(pg_server):
    with fresh_database(pg_server, purpose="foreign") as database:
        pg_server.execute(f"alter database {database.dbname} owner to {pg_server.user}")
        pg_server.execute(f"grant connect on database {database.dbname} to public")
        with pytest.raises(
            DatabaseFault, match=r"permission denied for schema public.*owner of the database"
        ):
            await schema.upgrade(database.conninfo)


async def test_unreachable_server_is_told_without_the_password(empty_database):
    conninfo = psycopg.conninfo.make_conninfo(empty_database.conninfo, port="1")
    with pytest.raises(DatabaseUnavailable) as caught:
        await schema.upgrade(conninfo)
    assert "refused" in caught.value.detail
    assert "\n" not in caught.value.detail
    assert psycopg.conninfo.conninfo_to_dict(conninfo)["password"] not in caught.value.detail


async def test_tables_are_those_of_the_database(any_database):
    await schema.upgrade(any_database.conninfo)
    long = {"timestamp with time zone": "TIMESTAMP WITH TIME ZONE"}
    columns: dict[str, dict[str, tuple[str, bool]]] = {}
    for table, _, column, kind, required, *_ in any_database.execute(CATALOG["columns"]):
        columns.setdefault(table, {})[column] = (long.get(kind, kind.upper()), not required)
    from sqlalchemy.dialects import postgresql

    dialect = postgresql.dialect()
    for table in tables.metadata.tables.values():
        declared = {c.name: (c.type.compile(dialect), c.nullable) for c in table.columns}
        assert declared == columns[table.name], table.name


def test_steps_come_with_a_wheel(tmp_path):
    """What is imported from a zip has no folder of its own: the steps are read as package data."""
    import sys
    import zipfile

    root = files("pgsched")
    archive = tmp_path / "pgsched.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for folder, _, names in os.walk(str(root)):
            for name in names:
                if name.endswith((".py", ".sql")):
                    path = os.path.join(folder, name)
                    packed.write(path, os.path.join("pgsched", os.path.relpath(path, str(root))))
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from pgsched.adapters.postgres import schema;"
        "assert sys.argv[1] in schema.__file__; print(len(schema.migrations()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(archive)], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) == schema.EXPECTED


@pytest.mark.parametrize(
    "broken",
    [
        "status = 'lost'",
        "trigger = 'whim'",
        "run_finished_at = null",
        "rows_returned = null",
        "run_started_at = null",
        "error_code = 'query_failed'",
        "lease_until = now()",
        "worker_id = 1",
        "status = 'queued'",
        "status = 'running'",
        "status = 'skipped', error_code = 'whim'",
        "status = 'error', error_code = 'query_failed'",
    ],
)
def test_run_that_breaks_a_rule_of_its_status_is_refused(database, broken):
    sound = {
        "query_id": "j.id",
        "data_source_id": "s.id",
        "scheduled_at": "now()",
        "ready_at": "now()",
        "job_timezone": "'UTC'",
        "trigger": "'manual'",
        "status": "'success'",
        "rows_returned": "0",
        "run_started_at": "now()",
        "run_finished_at": "now()",
    }
    changes = dict(change.split(" = ") for change in broken.split(", "))
    with psycopg.connect(database.conninfo) as connection:
        connection.execute(
            "insert into data_source (name, host, dbname, username) values ('s', 'h', 'd', 'u')"
        )
        connection.execute(
            "insert into query_job (name, title, sql_text, data_source_id, schedule_type, schedule_expr,"
            " anchor_at) select 'q', 'q', 'select 1', id, 'interval', 'PT1H', now() from data_source"
        )
        insert = "insert into query_run ({}) select {} from query_job j, data_source s"

        def write(row):
            with connection.transaction(force_rollback=True):
                connection.execute(insert.format(", ".join(row), ", ".join(row.values())))

        write(sound)
        with pytest.raises(psycopg.errors.CheckViolation, match="query_run_sound_check"):
            write(sound | changes)
