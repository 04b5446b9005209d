"""Sources that refuse, hang, lie or die: each is one clear error, soon, and nothing is left running."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import pytest
from source_fixtures import address_of, run, run_at, statement

from pgsched.adapters.source import connections
from pgsched.adapters.source.sources import PsycopgSources
from pgsched.application.ports.execution import SourceAddress
from pgsched.domain.errors import (
    InvalidInput,
    QueryFailed,
    QueryTimeout,
    SourceRefused,
    SourceUnreachable,
    SourceUntrusted,
)

SECRET = "s3cret-pa55word"


@pytest.fixture
async def sources():
    sources = PsycopgSources()
    yield sources
    await sources.close()


def running(source, application_name="pgsched:1/1"):
    """What the source is doing for us."""
    return source.execute(
        "select pid from pg_stat_activity where application_name = %s and datname = %s",
        [application_name, source.dbname],
    )


async def until_running(source):
    """Wait until our statement runs at the source (it is another process: there is no event to wait for)."""
    busy = "select 1 from pg_stat_activity where query like 'FETCH%%' and state = 'active' and datname = %s"
    for _ in range(500):
        if source.execute(busy, [source.dbname]):
            return
        await asyncio.sleep(0.02)
    raise AssertionError("the statement does not run")


async def until_idle(source, application_name="pgsched:1/1", within_s=2.0):
    deadline = time.monotonic() + within_s
    while running(source, application_name):
        assert time.monotonic() < deadline, "a backend is still there"
        await asyncio.sleep(0.02)


async def test_a_closed_port_is_unreachable(sources, source_db):
    with pytest.raises(SourceUnreachable) as caught:
        await run_at(sources, address_of(source_db, port=1, password=SECRET), statement("select 1"))
    assert "refused" in caught.value.detail
    assert caught.value.public == "the source cannot be reached"


async def test_a_host_without_an_address_is_unreachable(sources, source_db):
    with pytest.raises(SourceUnreachable):
        await run_at(sources, address_of(source_db, host="no-such-host.invalid"), statement("select 1"))


@pytest.mark.parametrize(
    "host", ["", "/tmp", "@abstract", "127.0.0.1,127.0.0.2", "0x7f.1", "2130706433", "a b", "h%25", "x\0y"]
)
async def test_what_is_not_one_host_is_refused(sources, source_db, host):
    with pytest.raises(InvalidInput):
        await run_at(sources, address_of(source_db, host=host), statement("select 1"))


@pytest.mark.parametrize("field", ["dbname", "username", "password"])
@pytest.mark.parametrize("text", ["x\0y", "\ud800"])
async def test_text_that_libpq_would_cut_is_refused(sources, source_db, field, text):
    with pytest.raises(InvalidInput) as caught:
        await run_at(sources, address_of(source_db, **{field: text}), statement("select 1"))
    assert field in caught.value.detail


@pytest.mark.parametrize(
    ("changes", "sqlstate"),
    [
        ({"password": SECRET}, "28P01"),
        ({"password": None}, "28P01"),
        ({"username": "nobody", "password": SECRET}, "28P01"),
        ({"dbname": "host=127.0.0.1 dbname=postgres"}, "3D000"),
        ({"dbname": "no_such"}, "3D000"),
    ],
)
async def test_a_refused_login_says_why_without_the_password(sources, source_db, changes, sqlstate):
    with pytest.raises(SourceRefused) as caught:
        await run_at(sources, address_of(source_db, **changes), statement("select 1"))
    error = caught.value
    assert error.sqlstate == sqlstate
    assert SECRET not in error.detail + error.public + repr(error)
    assert error.public == "the source refused the login"
    report = await sources.inspect(address_of(source_db, **changes))
    assert (report.ok, report.error_code) == (False, "source_auth")


async def test_too_many_connections_may_pass_by_itself(sources, source_db):
    source_db.execute(f'alter database "{source_db.dbname}" connection limit 0')
    with pytest.raises(SourceUnreachable) as caught:
        await run(sources, source_db, "select 1")
    assert caught.value.sqlstate == "53300"


async def serve(answer):
    """A server that is no Postgres, and what it was sent."""
    received = bytearray()

    async def talk(reader, writer):
        while data := await reader.read(4096):
            received.extend(data)
            if reply := answer(data):
                writer.write(reply)
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1], received


def lying_address(port, **changes):
    given = {"host": "127.0.0.1", "port": port, "dbname": "d", "username": "u", "password": SECRET}
    return SourceAddress(**(given | changes))


async def test_a_mute_server_is_left_in_time(sources, monkeypatch):
    monkeypatch.setattr(connections, "CONNECT_TIMEOUT_S", 0.5)
    server, port, _ = await serve(lambda data: b"")
    started = time.monotonic()
    async with server:
        with pytest.raises(SourceUnreachable) as caught:
            await run_at(sources, lying_address(port), statement("select 1"))
    assert time.monotonic() - started < 8
    assert "within 0.5 s" in caught.value.detail


def asks_for_clear_text(data):
    return b"N" if data[4:8] == b"\x04\xd2\x16\x2f" else b"R\x00\x00\x00\x08\x00\x00\x00\x03"


def speaks_back(data):
    if data[4:8] == b"\x04\xd2\x16\x2f":
        return b"N"
    said = b"SFATAL\0VFATAL\0C28000\0Myou sent " + SECRET.encode() + b"\0\0"
    return b"E" + (len(said) + 4).to_bytes(4, "big") + said


@pytest.mark.parametrize("sslmode", ["disable", "prefer", "require"])
async def test_a_rogue_server_never_gets_the_password_in_clear(sources, sslmode):
    server, port, received = await serve(asks_for_clear_text)
    async with server:
        with pytest.raises((SourceRefused, SourceUnreachable, SourceUntrusted)):
            await run_at(sources, lying_address(port, sslmode=sslmode), statement("select 1"))
    assert received
    assert SECRET.encode() not in received


async def test_a_server_that_speaks_the_password_is_not_quoted(sources):
    server, port, _ = await serve(speaks_back)
    async with server:
        with pytest.raises(SourceRefused) as caught:
            await run_at(sources, lying_address(port), statement("select 1"))
    assert SECRET not in caught.value.detail


async def test_verify_ca_without_a_certificate_is_refused(sources, source_db):
    with pytest.raises(InvalidInput):
        await run_at(sources, address_of(source_db, sslmode="verify-ca"), statement("select 1"))


async def test_a_statement_past_its_timeout_is_ended_by_the_source(sources, source_db):
    started = time.monotonic()
    with pytest.raises(QueryTimeout) as caught:
        await run(sources, source_db, "select pg_sleep(30)", timeout_ms=200)
    assert time.monotonic() - started < 5
    assert caught.value.sqlstate == "57014"
    await until_idle(source_db)


async def test_a_statement_that_switches_its_timeout_off_meets_our_deadline(sources, source_db):
    source_db.execute(
        "create function stubborn() returns int language plpgsql as $$ begin"
        " perform set_config('statement_timeout', '0', false); return 1; end $$;"
        "create function slow(int) returns int language plpgsql as $$ begin"
        " begin perform pg_sleep(3); exception when query_canceled then perform pg_sleep(3); end;"
        " return $1; end $$"
    )
    started = time.monotonic()
    with pytest.raises(QueryTimeout) as caught:
        await run(
            sources, source_db, "select slow(g), stubborn() from generate_series(1, 100) g", timeout_ms=100
        )
    assert 1 < time.monotonic() - started < 5.5
    assert caught.value.sqlstate is None
    await until_idle(source_db, within_s=5)


async def test_a_frozen_backend_is_left_at_the_deadline(sources, source_db):
    task = asyncio.create_task(run(sources, source_db, "select pg_sleep(30)", timeout_ms=500))
    await until_running(source_db)
    ((pid,),) = running(source_db)
    os.kill(pid, signal.SIGSTOP)
    started = time.monotonic()
    try:
        with pytest.raises(QueryTimeout):
            await task
        assert time.monotonic() - started < 4
    finally:
        os.kill(pid, signal.SIGCONT)
    await until_idle(source_db)


async def test_cancelling_the_task_ends_the_statement_at_the_source(sources, source_db):
    for sql in ("select pg_sleep(30)", "select g, pg_sleep(0.01) from generate_series(1, 10000) g"):
        task = asyncio.create_task(run(sources, source_db, sql))
        await until_running(source_db)
        started = time.monotonic()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert time.monotonic() - started < 5
        await until_idle(source_db, within_s=1)


async def test_a_reader_that_stops_reading_leaves_nothing_behind(sources, source_db):
    many = statement("select g, repeat('x', 100) from generate_series(1, 1000000) g", max_rows=1_000_000)
    async with sources.execute(address_of(source_db), many) as stream:
        async for batch in stream:
            assert batch.rows
            break
    await until_idle(source_db)
    with pytest.raises(ZeroDivisionError):
        async with sources.execute(address_of(source_db), many):
            _ = 1 / 0
    await until_idle(source_db)
    assert (await run(sources, source_db, "select 1 a")).data == [{"a": 1}]


async def test_a_backend_that_is_terminated_is_a_lost_connection(sources, source_db):
    task = asyncio.create_task(run(sources, source_db, "select pg_sleep(30)"))
    await until_running(source_db)
    source_db.execute("select pg_terminate_backend(%s)", list(running(source_db)[0]))
    with pytest.raises(SourceUnreachable) as caught:
        await task
    assert caught.value.sqlstate == "57P01"
    assert caught.value.public == "the source cannot be reached"


async def test_someone_else_cancelling_is_no_timeout(sources, source_db):
    task = asyncio.create_task(run(sources, source_db, "select pg_sleep(30)"))
    await until_running(source_db)
    source_db.execute("select pg_cancel_backend(%s)", list(running(source_db)[0]))
    with pytest.raises(QueryFailed) as caught:
        await task
    assert caught.value.sqlstate == "57014"


async def test_an_error_after_many_rows_comes_through(sources, source_db):
    with pytest.raises(QueryFailed) as caught:
        await run(sources, source_db, "select 1 / (5000 - g) from generate_series(1, 9000) g")
    assert caught.value.sqlstate == "22012"
    assert (await run(sources, source_db, "select 1 a")).data == [{"a": 1}]


async def test_an_unknown_zone_is_an_sql_error(sources, source_db):
    with pytest.raises(QueryFailed) as caught:
        await run(sources, source_db, "select 1", timezone="Mars/Olympus")
    assert (caught.value.sqlstate, caught.value.position) == ("22023", None)
