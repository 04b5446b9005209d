"""What libpq reads from this machine, and what a role or database sets: no value comes out otherwise."""

from __future__ import annotations

import signal
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from processes import eventually, free_port, installation
from psycopg import sql

from pgsched.adapters.postgres.database import Database

#: each of them alone kept pgsched from its own server, or from reading what that said
HOSTILE = {
    "PGDATESTYLE": "German",
    "PGTZ": "Mars",
    "PGGEQO": "perhaps",
    "PGOPTIONS": "-c datestyle=german -c nosuch=1",
    "PGCLIENTENCODING": "SQL_ASCII",
    "PGTARGETSESSIONATTRS": "standby",
    "PGSSLCERTMODE": "require",
    "PGSSLNEGOTIATION": "direct",
    "PGMINPROTOCOLVERSION": "3.2",
    "PGSERVICE": "nosuch",
    "PGCONNECT_TIMEOUT": "soon",
}
#: what a role may have set that changes how values are written or read
SETTINGS = {
    "DateStyle": "German",
    "IntervalStyle": "sql_standard",
    "TimeZone": "Asia/Tokyo",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "standard_conforming_strings": "off",
    "array_nulls": "off",
    "client_encoding": "SQL_ASCII",
}
VALUES = r"""
select timestamptz '2026-02-01 12:00Z' as at, date '2026-02-01' as day, interval '-1 day 2 hours' as span,
       bytea '\x00ff' as bytes, 0.1::float8 + 0.2::float8 as float, 'a\b' as text, '{NULL}'::text[] as array,
       'é' as letter, (timestamptz '2026-02-01 12:00Z')::text as written"""
EXPECTED = (
    datetime(2026, 2, 1, 12, tzinfo=UTC),
    datetime(2026, 2, 1, tzinfo=UTC).date(),
    timedelta(days=-1, hours=2),
    b"\x00\xff",
    0.30000000000000004,
    "a\\b",
    [None],
    "é",
    "2026-02-01 12:00:00+00",
)


@asynccontextmanager
async def opened(conninfo: str, **options):
    database = Database(conninfo, application_name="test", **options)
    await database.open()
    try:
        yield database
    finally:
        await database.close()


async def values_of(conninfo: str, **options) -> list[tuple]:
    """The values as a connection of the pool reads them, its pipeline, and a connection outside the pool."""
    async with opened(conninfo, **options) as database:
        async with database.connection() as connection:
            row = await (await connection.execute(VALUES)).fetchone()
        async with database.pipeline() as pipeline:
            answer = pipeline.send(VALUES)
        async with await database.connect() as single:
            other = await (await single.execute(VALUES)).fetchone()
    return [row, tuple(answer.rows[0].values()), other]


@pytest.fixture(scope="module")
def up(tmp_path_factory):
    with installation(tmp_path_factory.mktemp("variables"), None) as place:
        process = place.start("up", "--demo", "--port", str(free_port()), **HOSTILE)

        def told() -> bool:
            assert process.process.poll() is None, process.err
            return "Ctrl-C stops all of it." in process.out

        eventually(told, within_s=60)
        yield place
        assert process.end(signal.SIGINT) == 0, process.err


@pytest.mark.slow
def test_up_and_its_commands_know_nothing_of_them(up):
    # the commands attach with the same variables around them
    for arguments in (
        ("db", "current"),
        ("users", "list"),
        ("queries", "list"),
        ("runs", "list", "orders_by_hour"),
    ):
        done = up.run(*arguments, "--json", **HOSTILE)
        assert (done.returncode, done.stderr) == (0, "")
    assert up.run("dsn", "test", "shop", **HOSTILE).returncode == 0
    assert "demo.closed" not in up.log("up")


@pytest.mark.parametrize("is_secluded", [False, True])
async def test_values_are_read_alike_whatever_the_role_has_set(empty_database, is_secluded):
    place = sql.Identifier(empty_database.dbname)
    for name, value in SETTINGS.items():
        empty_database.server.execute(
            sql.SQL("alter role pgsched in database {} set {} = {}").format(
                place, sql.Identifier(name), sql.Literal(value)
            )
        )
    with psycopg.connect(empty_database.conninfo) as plain:
        assert plain.info.parameter_status("DateStyle").startswith("German")
    assert await values_of(empty_database.conninfo, is_secluded=is_secluded) == [EXPECTED] * 3


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PGDATESTYLE", "German"),
        ("PGTZ", "Asia/Tokyo"),
        ("PGCLIENTENCODING", "SQL_ASCII"),
        ("PGCLIENTENCODING", "nosuch"),
        ("PGOPTIONS", "-c datestyle=german -c intervalstyle=iso_8601 -c extra_float_digits=-10"),
    ],
)
async def test_values_are_read_alike_whatever_the_variables_say(empty_database, monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert await values_of(empty_database.conninfo) == [EXPECTED] * 3


def test_variables_reach_a_database_that_is_not_our_own(database, tmp_path):
    """PGPASSFILE and its like are how people configure libpq; a bad one is told in one line."""
    options = psycopg.conninfo.conninfo_to_dict(database.conninfo)
    host, port = options.pop("hostaddr"), options.pop("port")
    del options["host"]
    (tmp_path / "pass").write_text(f"*:*:*:*:{options.pop('password')}\n")
    (tmp_path / "pass").chmod(0o600)
    with installation(tmp_path / "place", psycopg.conninfo.make_conninfo(**options)) as place:
        place.environment |= {"PGHOST": host, "PGPORT": port}
        assert "no password supplied" in place.refused("users", "list")
        place.environment["PGPASSFILE"] = str(tmp_path / "pass")
        assert place.json("users", "list") == []
        for name, value, told in (
            ("PGTZ", "Mars", 'invalid value for parameter "TimeZone": "Mars"'),
            ("PGOPTIONS", "-cnosuch=1", 'unrecognized configuration parameter "nosuch"'),
            ("PGTARGETSESSIONATTRS", "standby", "server is not in hot standby mode"),
            ("PGSERVICE", "nosuch", 'definition of service "nosuch" not found'),
            ("PGPORT", "nosuch", 'invalid integer value "nosuch"'),
        ):
            line = place.refused("users", "list", **{name: value})
            assert line.startswith("the metadata database cannot be reached: ")
            assert told in line
