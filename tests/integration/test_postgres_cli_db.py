"""``pgsched db`` as a person runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from pgsched.adapters.postgres import schema


def pgsched_db(dsn: str, *arguments: str, cwd) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSTARTUP"}
    return subprocess.run(
        [sys.executable, "-m", "pgsched", "db", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**environment, "PG_DSN_APP": dsn},
    )


def told(done: subprocess.CompletedProcess[str]) -> object:
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def test_upgrade_tells_what_it_applied_and_can_be_repeated(empty_database, tmp_path):
    versions = [migration.version for migration in schema.migrations()]
    current = pgsched_db(empty_database.url, "current", "--json", cwd=tmp_path)
    assert told(current) == {"version": 0, "expected": schema.EXPECTED}
    first = pgsched_db(empty_database.url, "upgrade", "--json", cwd=tmp_path)
    assert told(first) == {"applied": versions, "version": schema.EXPECTED}
    again = pgsched_db(empty_database.url, "upgrade", "--json", cwd=tmp_path)
    assert told(again) == {"applied": [], "version": schema.EXPECTED}
    current = pgsched_db(empty_database.url, "current", "--json", cwd=tmp_path)
    assert told(current) == {"version": schema.EXPECTED, "expected": schema.EXPECTED}


def test_dry_run_tells_what_would_be_applied_and_changes_nothing(empty_database, tmp_path):
    for _ in range(2):
        found = told(pgsched_db(empty_database.url, "upgrade", "--dry-run", "--json", cwd=tmp_path))
        assert found["version"] == schema.EXPECTED
        assert [each["version"] for each in found["pending"]] == list(range(1, schema.EXPECTED + 1))
    text = pgsched_db(empty_database.url, "upgrade", "--dry-run", cwd=tmp_path).stdout
    assert text.splitlines()[0] == "would apply migration 1 (initial)"
    assert empty_database.execute("select count(*) from pg_class where relname = 'query_run'") == [(0,)]
    pgsched_db(empty_database.url, "upgrade", cwd=tmp_path)
    assert "nothing to do" in pgsched_db(empty_database.url, "upgrade", "--dry-run", cwd=tmp_path).stdout


def test_sqlalchemys_way_to_write_the_address_is_taken(empty_database, tmp_path):
    dsn = empty_database.url.replace("postgresql://", "postgresql+psycopg://")
    done = pgsched_db(dsn, "upgrade", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"the schema is at version {schema.EXPECTED}\n" in done.stdout


def test_schema_is_printed_without_a_database(tmp_path):
    done = pgsched_db("host=127.0.0.1 port=1 password=hush", "schema", cwd=tmp_path)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", schema.printed())


def test_unreachable_database_is_one_line_and_exit_1(tmp_path):
    for command in ("upgrade", "current"):
        done = pgsched_db("postgresql://u:hush@127.0.0.1:1/d", command, cwd=tmp_path)
        assert done.returncode == 1
        assert done.stdout == ""
        assert done.stderr.count("\n") == 1
        assert "Connection refused" in done.stderr
        assert "PG_DSN_APP" in done.stderr
        assert "hush" not in done.stderr


def test_newer_database_is_one_line_and_exit_1(database, tmp_path):
    database.execute("insert into schema_migration (version, name) values (99, 'of_tomorrow')")
    done = pgsched_db(database.url, "upgrade", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "version 99" in done.stderr
