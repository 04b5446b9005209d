"""The embedded server's life: first start, stop, crash, restart, and everything in its way."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from pathlib import Path

import psycopg
import pytest
from postgres_fixtures import in_wheel

from pgsched.adapters.embedded.attach import attach
from pgsched.adapters.embedded.cluster import EmbeddedCluster
from pgsched.adapters.embedded.postmaster import processes_in
from pgsched.domain.errors import EmbeddedFault


@pytest.fixture
async def cluster(tmp_path):
    """A server that is not started yet, and surely stopped afterwards."""
    cluster = EmbeddedCluster(tmp_path / "home", durable=False)
    yield cluster
    await cluster.stop()


def query(info, statement: str):
    with psycopg.connect(info.dsn(), autocommit=True, connect_timeout=5) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else None


def proc(pid: int, name: str) -> str:
    return Path(f"/proc/{pid}/{name}").read_text()


async def test_start_gives_a_role_without_powers_its_own_database(cluster):
    info = await cluster.start()
    assert query(info, "SELECT current_user, current_database(), pg_catalog.inet_server_addr()::text") == [
        ("pgsched", "pgsched", "127.0.0.1/32")
    ]
    powers = "rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls"
    assert query(info, f"SELECT {powers} FROM pg_roles WHERE rolname = current_user") == [(False,)]
    owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'pgsched'"
    assert query(info, owner) == [("pgsched",)]
    query(info, "CREATE TABLE t (a int)")


async def test_text_is_utf8_in_code_point_order(cluster):
    info = await cluster.start()
    assert query(info, "SHOW server_encoding") == [("UTF8",)]
    assert query(info, "SELECT lower('ÄÉ'), 'Z' < 'a', 'z' < 'ä'") == [("äé", True, True)]


async def test_other_roles_enter_no_database_they_were_not_granted(cluster):
    await cluster.start()
    query(cluster.superuser, "CREATE ROLE stranger LOGIN PASSWORD 'stranger'")
    for dbname in ("pgsched", "postgres", "template1"):
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(
                host="127.0.0.1",
                port=cluster.superuser.port,
                user="stranger",
                password="stranger",
                dbname=dbname,
            )


async def test_wrong_password_is_turned_down_and_no_socket_file_is_made(cluster):
    info = await cluster.start()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(info.dsn(), password="guess")
    assert query(cluster.superuser, "SHOW unix_socket_directories") == [("",)]
    rules = query(cluster.superuser, "SELECT DISTINCT auth_method FROM pg_hba_file_rules")
    assert rules == [("scram-sha-256",)]


async def test_no_password_is_in_log_or_command_line(cluster):
    info = await cluster.start()
    query(cluster.superuser, "ALTER ROLE pgsched VALID UNTIL 'infinity'")
    with pytest.raises(psycopg.errors.SyntaxError):
        query(info, "SELECT 'a secret' FROM FROM")
    log = cluster.layout.log.read_text()
    line = proc(cluster.pid, "cmdline")
    for secret in (info.password, cluster.superuser.password):
        assert secret not in log
        assert secret not in line
    assert "syntax error" in log
    assert "a secret" not in log


async def test_history_survives_a_stop_and_the_port_stays(cluster):
    first = await cluster.start()
    query(first, "CREATE TABLE t AS SELECT 7 AS a")
    await cluster.stop()
    assert processes_in(cluster.layout.data) == []
    second = await cluster.start()
    assert query(second, "SELECT a FROM t") == [(7,)]
    assert second == first


async def test_port_taken_meanwhile_is_exchanged(cluster):
    first = await cluster.start()
    await cluster.stop()
    with socket.create_server(("127.0.0.1", first.port)):
        second = await cluster.start()
        assert second.port != first.port
        assert query(second, "SELECT 1") == [(1,)]


async def test_start_twice_is_the_same_server(cluster):
    first = await cluster.start()
    pid = cluster.pid
    assert await cluster.start() == first
    assert cluster.pid == pid


async def test_second_server_on_the_same_home_is_refused_and_the_first_unhurt(cluster):
    info = await cluster.start()
    other = EmbeddedCluster(cluster.layout.home)
    with pytest.raises(EmbeddedFault, match=rf"already running in .*home \(process {os.getpid()}\)"):
        await other.start()
    await other.stop()
    assert query(info, "SELECT 1") == [(1,)]


@pytest.fixture
async def durable(tmp_path):
    """The same as a user gets it: what is committed is on the disk."""
    cluster = EmbeddedCluster(tmp_path / "home")
    yield cluster
    await cluster.stop()


async def test_killed_postmaster_with_a_busy_backend_restarts_at_once(durable):
    cluster = durable
    info = await cluster.start()
    query(info, "CREATE TABLE t AS SELECT 7 AS a")
    busy = psycopg.connect(info.dsn())
    backend = busy.info.backend_pid
    busy.pgconn.send_query(b"SELECT count(*) FROM generate_series(1, 1000000000000)")
    await asyncio.sleep(0.3)
    os.kill(cluster.pid, signal.SIGKILL)
    assert await asyncio.wait_for(cluster.wait(), 5) == -signal.SIGKILL
    await asyncio.sleep(0.3)
    assert backend in processes_in(cluster.layout.data), "the case is only a case with a backend left"
    started = time.monotonic()
    again = await cluster.start()
    assert time.monotonic() - started < 10
    assert backend not in processes_in(cluster.layout.data)
    assert query(again, "SELECT a FROM t") == [(7,)]
    busy.close()


async def test_stale_pid_file_of_a_stranger_neither_blocks_nor_harms(cluster):
    await cluster.start()
    pid_file = cluster.layout.data / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    await cluster.stop()
    stranger = await asyncio.create_subprocess_exec("sleep", "60")
    pid_file.write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")
    with pytest.raises(EmbeddedFault, match="is not running"):
        attach(cluster.layout.home)
    info = await cluster.start()
    assert query(info, "SELECT 1") == [(1,)]
    assert stranger.returncode is None
    stranger.kill()
    await stranger.wait()


async def test_stop_ends_clients_that_do_not_leave(cluster):
    info = await cluster.start()
    with psycopg.connect(info.dsn()) as lingering:
        lingering.execute("SELECT 1")
        await asyncio.wait_for(cluster.stop(), 5)
        assert processes_in(cluster.layout.data) == []
        with pytest.raises(psycopg.OperationalError):
            lingering.execute("SELECT 1")
        lingering.close()


async def test_stop_of_what_never_started_is_harmless(cluster):
    await cluster.stop()
    await cluster.stop()


async def test_damaged_role_and_password_heal_at_the_next_start(cluster):
    info = await cluster.start()
    query(info, "CREATE TABLE t AS SELECT 7 AS a")
    query(cluster.superuser, "ALTER ROLE pgsched PASSWORD 'other'")
    await cluster.stop()
    again = await cluster.start()
    assert query(again, "SELECT a FROM t") == [(7,)]
    cluster.layout.application_password.unlink()
    await cluster.stop()
    healed = await cluster.start()
    assert healed.password != info.password
    assert query(healed, "SELECT a FROM t") == [(7,)]


async def test_first_start_killed_between_server_and_roles_is_finished_by_the_next(cluster):
    await cluster.start()
    query(cluster.superuser, "DROP DATABASE pgsched")
    query(cluster.superuser, "DROP ROLE pgsched")
    cluster.layout.application_password.unlink()
    with pytest.raises(EmbeddedFault, match="try again in a moment"):
        attach(cluster.layout.home)
    await cluster.stop()
    assert query(await cluster.start(), "SELECT current_user") == [("pgsched",)]


async def test_cancelled_first_start_leaves_no_process_and_no_half_data(cluster):
    for delay in (0.05, 0.15, 0.4):
        start = asyncio.create_task(cluster.start())
        await asyncio.sleep(delay)
        start.cancel()
        with pytest.raises(asyncio.CancelledError):
            await start
        assert processes_in(cluster.layout.data) == []
    assert query(await cluster.start(), "SELECT 1") == [(1,)]
    assert list(cluster.layout.folder.glob("initdb-*")) == []


async def test_draft_of_a_killed_initdb_is_swept_away(cluster):
    draft = cluster.layout.folder / "initdb-killed"
    (draft / "data").mkdir(parents=True)
    cluster.layout.home.chmod(0o700)
    (draft / "data" / "PG_VERSION").write_text("15\n")
    assert query(await cluster.start(), "SELECT 1") == [(1,)]
    assert not draft.exists()


async def test_server_that_cannot_start_says_why_and_leaves_nothing(cluster):
    await cluster.start()
    await cluster.stop()
    (cluster.layout.data / "global" / "pg_control").unlink()
    with pytest.raises(EmbeddedFault, match=r"did not start: postgres: could not find .*; its log is .*log$"):
        await cluster.start()
    assert processes_in(cluster.layout.data) == []
    with pytest.raises(EmbeddedFault, match="did not start"):
        await EmbeddedCluster(cluster.layout.home).start()


async def test_server_that_is_not_ready_in_time_is_stopped(tmp_path):
    slow = EmbeddedCluster(tmp_path / "home", durable=False, start_timeout_s=0.0)
    with pytest.raises(EmbeddedFault, match="not ready within 0 s"):
        await slow.start()
    assert processes_in(slow.layout.data) == []


async def test_data_of_another_major_version_is_refused(cluster):
    await cluster.start()
    await cluster.stop()
    (cluster.layout.data / "PG_VERSION").write_text("12\n")
    with pytest.raises(EmbeddedFault, match="was made by Postgres 12; found only: "):
        await cluster.start()


async def test_data_of_the_wheel_is_opened_by_the_wheel_again(tmp_path):
    home = tmp_path / "home"
    first = EmbeddedCluster(home, pg_bin=next(in_wheel()), durable=False)
    query(await first.start(), "CREATE TABLE t AS SELECT 7 AS a")
    await first.stop()
    second = EmbeddedCluster(home, durable=False)
    try:
        assert query(await second.start(), "SELECT a FROM t") == [(7,)]
        assert second.programs.major == 18
        assert query(second.application, "SELECT lower('ÄÉ'), 'Z' < 'a'") == [("äé", True)]
    finally:
        await second.stop()


async def test_missing_superuser_password_is_told_and_harmless_once_put_back(cluster):
    await cluster.start()
    await cluster.stop()
    path = cluster.layout.superuser_password
    content = path.read_text()
    path.unlink()
    with pytest.raises(EmbeddedFault, match="superuser-password is missing; put it back"):
        await cluster.start()
    path.write_text(content)
    assert query(await cluster.start(), "SELECT 1") == [(1,)]


async def test_environment_of_this_machine_does_not_leak_in(cluster, monkeypatch):
    for name, value in {
        "PGHOSTADDR": "192.0.2.1",
        "PGSSLMODE": "verify-full",
        "PGCHANNELBINDING": "require",
        "PGDATA": "/nowhere",
        "PGPORT": "1",
        "LC_ALL": "xx_XX",
        "ARGON2_SECRET_KEY_B64": "c2VjcmV0",
    }.items():
        monkeypatch.setenv(name, value)
    assert query(await cluster.start(), "SELECT 1") == [(1,)]
    assert "c2VjcmV0" not in proc(cluster.pid, "environ")


async def test_log_is_cut_while_the_server_writes(cluster):
    info = await cluster.start()
    watch = asyncio.create_task(cluster.wait())
    with cluster.layout.log.open("a") as log:
        log.write("x" * 5_000_000)
    await asyncio.sleep(0.8)
    assert cluster.layout.log.stat().st_size < 100_000
    assert cluster.layout.log.with_name("postgres.log.1").stat().st_mode & 0o777 == 0o600
    with pytest.raises(psycopg.errors.DivisionByZero):
        query(info, "SELECT 1/0")
    assert "division by zero" in cluster.layout.log.read_text()
    await cluster.stop()
    assert await watch == 0
