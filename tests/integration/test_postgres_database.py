"""The pool of connections: pinned, alive after the server went away, plain about what is wrong."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager

import psycopg
import pytest

from pgsched.adapters.embedded.cluster import EmbeddedCluster
from pgsched.adapters.postgres.database import Database
from pgsched.domain.errors import DatabaseFault, DatabaseUnavailable, SchemaMismatch


@asynccontextmanager
async def opened(conninfo: str, **options):
    database = Database(conninfo, application_name="test", **options)
    await database.open()
    try:
        yield database
    finally:
        await database.close()


async def one(database: Database, statement: str):
    async with database.connection() as connection:
        row = await (await connection.execute(statement)).fetchone()
    return row[0]


def terminate(fixture) -> int:
    """End every connection to the database, as a restart of the server would."""
    [(count,)] = fixture.server.execute(
        "select count(pg_terminate_backend(pid, 5000)) from pg_stat_activity where datname = %s",
        [fixture.dbname],
    )
    return count


async def test_connection_is_in_utc_and_bounded(empty_database):
    async with opened(empty_database.url) as database:
        settings = ["TimeZone", "statement_timeout", "lock_timeout", "application_name"]
        assert [await one(database, f"show {name}") for name in settings] == ["UTC", "30s", "10s", "test"]


async def test_conninfo_takes_its_own_timeouts(empty_database):
    conninfo = psycopg.conninfo.make_conninfo(empty_database.conninfo, keepalives_idle="77")
    async with opened(conninfo) as database, database.connection() as connection:
        assert connection.info.get_parameters()["keepalives_idle"] == "77"


async def test_connections_ended_by_the_server_are_replaced_unseen(empty_database):
    async with opened(empty_database.conninfo, max_size=4) as database:
        await asyncio.gather(*(one(database, "select pg_sleep(0.3)") for _ in range(4)))
        assert terminate(empty_database) == 4
        before = time.monotonic()
        assert await asyncio.gather(*(one(database, "select 1") for _ in range(8))) == [1] * 8
        assert time.monotonic() - before < 5


async def test_connection_lost_in_use_is_told_and_the_next_one_serves(empty_database):
    async with opened(empty_database.conninfo, max_size=1) as database:

        async def use() -> None:
            async with database.connection() as connection:
                terminate(empty_database)
                await connection.execute("select 1")

        with pytest.raises(DatabaseUnavailable, match="terminating connection"):
            await use()
        assert await one(database, "select 1") == 1


async def test_transaction_rolls_back_when_its_connection_is_lost(empty_database):
    empty_database.execute("create table t (a integer)")
    async with opened(empty_database.conninfo) as database:

        async def use() -> None:
            async with database.transaction() as connection:
                await connection.execute("insert into t values (1)")
                terminate(empty_database)
                await connection.execute("insert into t values (2)")

        with pytest.raises(DatabaseUnavailable):
            await use()
        assert await one(database, "select count(*) from t") == 0


async def test_transaction_ends_with_its_block(empty_database):
    empty_database.execute("create table t (a integer)")
    async with opened(empty_database.conninfo) as database:

        async def insert(values: str) -> None:
            async with database.transaction() as connection:
                await connection.execute(f"insert into t values {values}")
                await connection.execute("select 1 / (2 - a) from t")

        await insert("(1)")
        with pytest.raises(psycopg.errors.DivisionByZero):
            await insert("(2)")
        assert await one(database, "select array_agg(a) from t") == [1]


@pytest.mark.slow
async def test_server_that_stops_and_starts_is_found_again(tmp_path):
    cluster = EmbeddedCluster(tmp_path / "home", durable=False)
    try:
        info = await cluster.start()
        async with opened(info.dsn(), max_size=4) as database:
            await asyncio.gather(*(one(database, "select pg_sleep(0.3)") for _ in range(4)))
            await cluster.stop()
            before = time.monotonic()
            with pytest.raises(DatabaseUnavailable, match="refused"):
                await one(database, "select 1")
            assert time.monotonic() - before < 10
            # Long enough for a backoff to grow, if there were one.
            for _ in range(3):
                with pytest.raises(DatabaseUnavailable):
                    await one(database, "select 1")
            if (await cluster.start()).port != info.port:
                pytest.skip("the port was taken meanwhile")
            before = time.monotonic()
            assert await asyncio.gather(*(one(database, "select 1") for _ in range(8))) == [1] * 8
            assert time.monotonic() - before < 8
    finally:
        await cluster.stop()


async def test_opening_does_not_need_the_server():
    async with opened("host=127.0.0.1 port=1 user=somebody password=hush dbname=d") as database:
        with pytest.raises(DatabaseUnavailable) as caught:
            await one(database, "select 1")
    assert "refused" in caught.value.detail
    assert "hush" not in caught.value.detail + repr(database)


async def test_wrong_password_is_told_without_it(empty_database):
    conninfo = psycopg.conninfo.make_conninfo(empty_database.conninfo, password="not-the-password")
    async with opened(conninfo) as database:
        with pytest.raises(DatabaseUnavailable, match="password authentication failed") as caught:
            await one(database, "select 1")
    assert "not-the-password" not in caught.value.detail


async def test_busy_connections_are_waited_for(empty_database):
    async with opened(empty_database.conninfo, max_size=1) as database:
        assert await asyncio.gather(*(one(database, f"select {n} from pg_sleep(1.2)") for n in range(3))) == [
            0,
            1,
            2,
        ]


async def test_missing_schema_names_the_command(empty_database):
    async with opened(empty_database.conninfo) as database:
        with pytest.raises(SchemaMismatch, match="pgsched db upgrade"):
            await one(database, "select 1 from query_job")


async def test_missing_right_is_told(database):
    database.server.execute("create table hidden ()", dbname=database.dbname)
    async with opened(database.conninfo) as opened_database:
        with pytest.raises(DatabaseFault, match="permission denied for table hidden"):
            await one(opened_database, "select 1 from hidden")


async def test_standby_is_unavailable_and_its_connection_is_not_kept(empty_database):
    empty_database.execute("create table t (a integer)")
    async with opened(empty_database.conninfo, max_size=1) as database:
        first = await one(database, "select pg_backend_pid()")

        async def use() -> None:
            async with database.connection() as connection:
                await connection.execute("set default_transaction_read_only = on")
                await connection.execute("insert into t values (1)")

        with pytest.raises(DatabaseUnavailable, match="read-only transaction"):
            await use()
        assert await one(database, "select pg_backend_pid()") != first


async def test_fault_of_one_statement_stays_the_drivers(empty_database):
    async with opened(empty_database.conninfo) as database:
        with pytest.raises(psycopg.errors.DivisionByZero):
            await one(database, "select 1/0")
        assert await one(database, "select 1") == 1


async def test_cancelled_use_gives_its_connection_back(empty_database):
    async with opened(empty_database.conninfo, max_size=1) as database:
        sleeping = asyncio.create_task(one(database, "select pg_sleep(60)"))
        await asyncio.sleep(0.3)
        sleeping.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sleeping
        assert await asyncio.wait_for(one(database, "select 1"), 5) == 1


async def test_closed_database_says_so(empty_database):
    database = Database(empty_database.conninfo, application_name="test")
    with pytest.raises(DatabaseUnavailable, match="not open"):
        await one(database, "select 1")
    await database.open()
    await database.open()
    assert await one(database, "select 1") == 1
    await database.close()
    await database.close()
    with pytest.raises(DatabaseUnavailable):
        await one(database, "select 1")
