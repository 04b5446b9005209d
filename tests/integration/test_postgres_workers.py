"""Workers' presence: a lock that ends with the worker's connection, hints, and a way back after a break."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from contextlib import asynccontextmanager

import psycopg
import pytest

from pgsched.adapters.embedded.cluster import EmbeddedCluster
from pgsched.adapters.postgres.database import Database
from pgsched.adapters.postgres.health import PostgresHealth
from pgsched.adapters.postgres.schema import upgrade
from pgsched.adapters.postgres.workers import WORKER_LOCK_CLASS, PostgresWorkers
from pgsched.application.ports.queue import WorkerInfo
from pgsched.domain.errors import DatabaseUnavailable

INFO = WorkerInfo(host="here", pid=1, version="0", concurrency=2)


@asynccontextmanager
async def opened(fixture, **options):
    database = Database(fixture.conninfo, application_name="test", **options)
    await database.open()
    try:
        yield database
    finally:
        await database.close()


@asynccontextmanager
async def enlisted(fixture):
    async with opened(fixture) as database, PostgresWorkers(database).enlist(INFO) as attendance:
        yield attendance


def lock_is_free(fixture, worker_id: int) -> bool:
    """Whether anybody could take the worker's lock: what tells others that it is gone."""
    [(free,)] = fixture.execute(f"select pg_try_advisory_xact_lock({WORKER_LOCK_CLASS}, {worker_id})")
    return free


def backend_of(fixture, worker_id: int) -> int:
    [(pid,)] = fixture.execute(
        "select pid from pg_locks where locktype = 'advisory' and granted and classid = %s and objid = %s",
        [WORKER_LOCK_CLASS, worker_id],
    )
    return pid


def end_backend(fixture, pid: int) -> None:
    fixture.server.execute("select pg_terminate_backend(%s, 5000)", [pid])


async def test_lock_is_held_while_enlisted_and_free_afterwards(database):
    async with opened(database) as opened_database:
        workers = PostgresWorkers(opened_database)
        async with workers.enlist(INFO) as attendance:
            assert not lock_is_free(database, attendance.worker_id)
            assert database.execute("select host, session_lock, stopped_at from worker") == [
                ("here", True, None)
            ]
            assert await workers.alive() == 1
        assert lock_is_free(database, attendance.worker_id)
        assert database.execute("select stopped_at is not null from worker") == [(True,)]
        assert await workers.alive() == 0


async def test_each_presence_has_an_identity_of_its_own(database):
    async with opened(database) as opened_database:
        workers = PostgresWorkers(opened_database)
        async with workers.enlist(INFO) as one, workers.enlist(INFO) as other:
            assert one.worker_id != other.worker_id
            assert await workers.alive() == 2


WORKER = """
import asyncio, sys
from pgsched.adapters.postgres.database import Database
from pgsched.adapters.postgres.workers import PostgresWorkers
from pgsched.application.ports.queue import WorkerInfo

async def main():
    database = Database(sys.stdin.readline().strip(), application_name="test")
    await database.open()
    info = WorkerInfo(host="h", pid=1, version="0", concurrency=1)
    async with PostgresWorkers(database).enlist(info) as at:
        print(at.worker_id, flush=True)
        await at.hint(60)

asyncio.run(main())
"""


async def test_killed_worker_is_noticed_at_once(database):
    process = subprocess.Popen(  # noqa: ASYNC220 (two pipes, one line each)
        [sys.executable, "-c", WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        process.stdin.write(database.conninfo + "\n")
        process.stdin.flush()
        worker_id = int(process.stdout.readline())
        assert not lock_is_free(database, worker_id)
        os.kill(process.pid, signal.SIGKILL)
        killed = time.monotonic()
        while not lock_is_free(database, worker_id):
            assert time.monotonic() - killed < 8
            await asyncio.sleep(0.02)
    finally:
        process.kill()
        process.communicate()
    async with opened(database) as opened_database:
        assert await PostgresWorkers(opened_database).alive() == 0


async def test_hint_comes_at_commit_and_not_before(database):
    async with enlisted(database) as attendance:
        assert await attendance.hint(0.1) is False
        async with await psycopg.AsyncConnection.connect(database.conninfo) as connection:
            await connection.execute("notify pgsched")
            assert await attendance.hint(0.2) is False
            await connection.commit()
        before = time.monotonic()
        assert await attendance.hint(10) is True
        assert time.monotonic() - before < 5
        assert await attendance.hint(0.1) is False


async def test_broken_connection_is_made_anew_with_its_lock_and_counts_as_a_hint(database):
    async with enlisted(database) as attendance:
        waiting = asyncio.create_task(attendance.hint(30))
        await asyncio.sleep(0.1)
        end_backend(database, backend_of(database, attendance.worker_id))
        assert await asyncio.wait_for(waiting, 5) is True
        assert not lock_is_free(database, attendance.worker_id)
        assert database.execute("select count(*) from worker") == [(1,)]
        database.execute("notify pgsched")
        assert await attendance.hint(5) is True


async def test_lock_held_by_the_workers_own_former_connection_is_taken_over(database):
    """A connection cut on the worker's side may live on at the server for a while."""
    async with enlisted(database) as attendance:
        former, kept_alive = backend_of(database, attendance.worker_id), attendance._connection
        attendance._connection = None
        before = time.monotonic()
        assert await attendance.hint(30) is True
        assert time.monotonic() - before < 8
        assert backend_of(database, attendance.worker_id) != former
        await kept_alive.close()


async def test_beat_shows_in_the_row(database):
    async with enlisted(database) as attendance:
        database.execute("update worker set seen_at = seen_at - interval '1 hour'")
        await attendance.beat()
        assert database.execute("select clock_timestamp() - seen_at < '1 min' from worker") == [(True,)]


async def test_worker_without_a_session_lock_counts_by_its_last_sign_of_life(database):
    database.execute("insert into worker (host, pid, version, concurrency) values ('pooled', 1, '0', 1)")
    async with opened(database) as opened_database:
        workers = PostgresWorkers(opened_database)
        assert await workers.alive() == 1
        database.execute("update worker set seen_at = seen_at - interval '31 s'")
        assert await workers.alive() == 0


@asynccontextmanager
async def pooler(fixture):
    """A proxy that tells its clients another process id than the server's, as poolers do."""

    async def told(server: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        # Messages are a type, a length with itself, a body; BackendKeyData is K (manual, "Message Formats").
        while True:
            head = await server.readexactly(5)
            body = await server.readexactly(int.from_bytes(head[1:]) - 4)
            if head[:1] == b"K":
                body = (int.from_bytes(body[:4]) + 1).to_bytes(4) + body[4:]
            client.write(head + body)

    async def passed(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            sink.write(data)

    async def serve(client_in: asyncio.StreamReader, client_out: asyncio.StreamWriter) -> None:
        server_in, server_out = await asyncio.open_connection(fixture.server.host, fixture.server.port)
        ways = {
            asyncio.ensure_future(told(server_in, client_out)),
            asyncio.ensure_future(passed(client_in, server_out)),
        }
        _, open_ways = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in open_ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        for end in (client_out, server_out):
            end.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = str(listener.sockets[0].getsockname()[1])
    try:
        yield psycopg.conninfo.make_conninfo(
            fixture.conninfo, host="127.0.0.1", port=port, sslmode="disable", gssencmode="disable"
        )
    finally:
        listener.close()


async def test_behind_a_transaction_pooler_nothing_is_locked(database, caplog):
    async with pooler(database) as conninfo:
        pooled = Database(conninfo, application_name="test")
        await pooled.open()
        async with PostgresWorkers(pooled).enlist(INFO) as attendance:
            assert attendance.session_lock is False
            assert "leases alone serve" in caplog.text
            assert lock_is_free(database, attendance.worker_id)
            assert database.execute("select session_lock from worker") == [(False,)]
            assert await PostgresWorkers(pooled).alive() == 1
            database.execute("notify pgsched")
            assert await attendance.hint(0.1) is False
        assert await PostgresWorkers(pooled).alive() == 0
        await pooled.close()


@pytest.mark.slow
async def test_worker_outlasts_a_restart_of_the_server(tmp_path):
    cluster = EmbeddedCluster(tmp_path / "home", durable=False)
    try:
        info = await cluster.start()
        await upgrade(info.dsn())
        database = Database(info.dsn(), application_name="test")
        await database.open()
        async with PostgresWorkers(database).enlist(INFO) as attendance:
            await cluster.stop()
            with pytest.raises(DatabaseUnavailable):
                await attendance.hint(30)
            if (await cluster.start()).port != info.port:
                pytest.skip("the port was taken meanwhile")
            assert await attendance.hint(30) is True
            assert attendance.session_lock is True
            assert await PostgresWorkers(database).alive() == 1
        await database.close()
    finally:
        await cluster.stop()


async def test_rows_of_workers_of_long_ago_are_forgotten(database):
    database.execute(
        "insert into worker (host, pid, version, concurrency, seen_at) values "
        "('old', 1, '0', 1, clock_timestamp() - interval '31 days')"
    )
    async with opened(database) as opened_database, PostgresWorkers(opened_database).enlist(INFO):
        assert database.execute("select host from worker") == [("here",)]


async def test_readiness_counts_workers_and_what_waits(database):
    async with opened(database) as opened_database:
        health = PostgresHealth(opened_database)
        async with PostgresWorkers(opened_database).enlist(INFO):
            seen = await health.readiness()
        assert (seen.schema_version, seen.workers, seen.waiting) == (seen.expected_version, 1, 0)


@pytest.mark.parametrize("version", [0, 99])
async def test_readiness_of_another_schema_is_told_and_not_raised(empty_database, version):
    if version:
        empty_database.execute("create table schema_migration (version integer)")
        empty_database.execute("insert into schema_migration values (99)")
    async with opened(empty_database) as opened_database:
        seen = await PostgresHealth(opened_database).readiness()
    assert seen.schema_version == version != seen.expected_version
