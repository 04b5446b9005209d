"""Connections kept between runs, the environment kept out, and a source that does not answer a look."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from postgres_fixtures import fresh_source
from source_fixtures import address_of, run, run_at, statement

from pgsched.adapters.source import places, pool, session
from pgsched.adapters.source.sources import PsycopgSources
from pgsched.domain.errors import DatabaseUnavailable, QueryFailed, SourceRefused
from pgsched.domain.runs import LEASE_S

PID = "select pg_backend_pid() pid"


@pytest.fixture
async def sources():
    sources = PsycopgSources()
    yield sources
    await sources.close()


async def pid(sources, source, **changes):
    return (await run(sources, source, PID, **changes)).data[0]["pid"]


async def test_a_clean_connection_serves_the_next_run(sources, source_db):
    first = await pid(sources, source_db)
    assert await pid(sources, source_db, application_name="pgsched:2/1") == first
    two = await asyncio.gather(*(run(sources, source_db, PID + ", pg_sleep(0.1)") for _ in range(2)))
    assert len({outcome.data[0]["pid"] for outcome in two}) == 2


@pytest.mark.parametrize("sql", ["select 1/0", "select nope"])
async def test_a_connection_is_closed_after_an_error(sources, source_db, sql):
    first = await pid(sources, source_db)
    with pytest.raises(QueryFailed):
        await run(sources, source_db, sql)
    assert await pid(sources, source_db) != first
    assert source_db.execute("select count(*) from pg_stat_activity where pid = %s", [first]) == [(0,)]


async def test_a_kept_connection_is_not_given_for_another_password(sources, source_db):
    await pid(sources, source_db)
    with pytest.raises(SourceRefused):
        await run_at(sources, address_of(source_db, password="wrong"), statement("select 1"))


async def test_a_kept_connection_that_died_is_replaced_unnoticed(sources, source_db):
    first = await pid(sources, source_db)
    source_db.execute("select pg_terminate_backend(%s, 2000)", [first])
    assert await pid(sources, source_db) != first


async def test_kept_connections_expire_and_close(source_db):
    sources = PsycopgSources(kept_s=0.2)
    await pid(sources, source_db)
    count = "select count(*) from pg_stat_activity where usename = 'reader' and datname = current_database()"
    assert source_db.execute(count) == [(1,)]
    await asyncio.sleep(0.5)
    assert source_db.execute(count) == [(0,)]
    await pid(sources, source_db)
    await sources.close()
    await asyncio.sleep(0.2)
    assert source_db.execute(count) == [(0,)]


async def test_a_connection_that_nobody_could_note_is_closed(sources, source_db):
    async def nobody(connections, for_s):
        raise DatabaseUnavailable("the metadata database is away")

    for keep in (nobody, None):
        first, second = [
            (await run_at(sources, address_of(source_db), statement(PID), keep=keep)).data for _ in range(2)
        ]
        assert first != second


async def test_what_is_open_is_noted_when_it_grows_and_taken_back_at_the_end(source_db):
    sources, notes = PsycopgSources(), []

    async def keep(connections, for_s):
        notes.append(connections)
        assert for_s == LEASE_S
        return connections

    async def some(count):
        slow = statement("select pg_sleep(0.2)::text s")
        await asyncio.gather(*(run_at(sources, address_of(source_db), slow, keep=keep) for _ in range(count)))

    await some(1)
    await some(1)
    assert notes == [1]
    await some(3)
    assert max(notes) == 3
    await some(3)
    assert max(notes) == 3
    await sources.close()
    assert notes[-1] == 0


def open_at(source_db):
    count = "select count(*) from pg_stat_activity where usename = 'reader' and datname = current_database()"
    return source_db.execute(count)[0][0]


async def test_what_has_no_place_is_closed(sources, source_db):
    async def two(connections, _for_s):
        return min(connections, 2)

    slow = statement("select pg_sleep(0.2)::text s")
    await asyncio.gather(*(run_at(sources, address_of(source_db), slow, keep=two) for _ in range(5)))
    await asyncio.sleep(0.2)
    assert open_at(source_db) == 2


@pytest.mark.parametrize("after", ["refused", "away"])
async def test_places_are_renewed_while_connections_are_kept(sources, source_db, monkeypatch, after):
    monkeypatch.setattr(pool, "LOOK_EVERY_S", 0.1)
    monkeypatch.setattr(places, "SELF_KILL_S", 1.0)
    monkeypatch.setattr(places, "RENEW_EVERY_S", 0.3)
    asked, granted = [], [1, 1, 1]

    async def keep(connections, _for_s):
        asked.append(connections)
        if granted:
            return granted.pop()
        if after == "away":
            raise DatabaseUnavailable("the metadata database is away")
        return 0

    await run_at(sources, address_of(source_db), statement(PID), keep=keep)
    await asyncio.sleep(0.6)
    assert open_at(source_db) == 1
    assert asked[:2] == [1, 1]
    await asyncio.sleep(2.0)
    assert open_at(source_db) == 0
    assert not granted


async def test_the_place_of_a_run_that_failed_is_given_back(sources, source_db, monkeypatch):
    monkeypatch.setattr(pool, "LOOK_EVERY_S", 0.1)
    asked = []

    async def keep(connections, _for_s):
        asked.append(connections)
        return connections

    await run_at(sources, address_of(source_db), statement(PID), keep=keep)
    with pytest.raises(QueryFailed):
        await run_at(sources, address_of(source_db), statement("select 1/0"), keep=keep)
    await asyncio.sleep(0.3)
    assert asked == [1, 0]


async def test_whoever_retires_keeps_none_and_ends_what_is_under_way(source_db):
    sources, noted = PsycopgSources(), []

    async def keep(connections, _for_s):
        noted.append(connections)
        return connections

    slow = asyncio.create_task(
        run_at(sources, address_of(source_db), statement("select pg_sleep(0.5)::text s"), keep=keep)
    )
    await run_at(sources, address_of(source_db), statement(PID), keep=keep)
    await sources.retire()
    assert noted[-1] == 0
    await asyncio.sleep(0.2)
    assert open_at(source_db) == 1
    assert (await slow).data == [{"s": ""}]
    await asyncio.sleep(0.2)
    assert open_at(source_db) == 0
    await sources.close()


async def test_a_connection_that_is_old_is_not_kept(sources, source_db, monkeypatch):
    first = await pid(sources, source_db)
    monkeypatch.setattr(session, "MOST_AGE_S", -1.0)
    assert await pid(sources, source_db) == first
    assert await pid(sources, source_db) != first


async def test_no_more_connections_are_open_than_runs_at_once(source_db, pg_server):
    with fresh_source(pg_server) as other:
        sources = PsycopgSources(most=2)
        for source_id, source in enumerate((source_db, source_db, other, other), 1):
            await run_at(sources, replace(address_of(source), source_id=source_id), statement(PID))
        count = "select count(*) from pg_stat_activity where usename = 'reader'"
        await asyncio.sleep(0.2)
        assert source_db.execute(count) == [(2,)]
        assert other.execute(count + " and datname = current_database()") == [(2,)]
        await sources.close()


async def test_a_source_that_was_changed_gives_up_what_was_kept_for_it(sources, source_db):
    address = replace(address_of(source_db), source_id=7)
    await run_at(sources, address, statement(PID))
    await run_at(sources, replace(address, host="localhost"), statement(PID))
    await asyncio.sleep(0.2)
    count = "select count(*) from pg_stat_activity where usename = 'reader' and datname = current_database()"
    assert source_db.execute(count) == [(1,)]


HOSTILE_PROGRAM = """
import asyncio, json, sys
from pgsched.adapters.source.sources import PsycopgSources
from pgsched.application.ports.execution import SourceAddress, Statement
from pgsched.domain.results import OnLimit

async def main():
    given = json.loads(sys.stdin.read())
    sources = PsycopgSources()
    wanted = Statement(sql="select current_user u, current_database() d, current_setting('geqo') g,"
                       " current_setting('work_mem') w, current_setting('application_name') a",
                       timezone="UTC", timeout_ms=5000, max_rows=10, max_bytes=10000,
                       on_limit=OnLimit.ERROR, application_name="pgsched:1/1")
    async with sources.execute(SourceAddress(**given), wanted) as stream:
        print(b"".join([batch.data async for batch in stream]).decode())
    await sources.close()
    import os
    assert os.environ["PGSERVICE"] == "elsewhere"

asyncio.run(main())
"""


@pytest.mark.parametrize("has_password", [True, False])
def test_nothing_of_this_machine_leaks_into_a_connection(source_db, tmp_path, has_password):
    (tmp_path / "service").write_text("[elsewhere]\nhost=203.0.113.1\ndbname=other\nuser=other\n")
    (tmp_path / "pass").write_text(f"*:*:*:*:{source_db.password}\n")
    (tmp_path / "pass").chmod(0o600)
    home = tmp_path / ".postgresql"
    home.mkdir()
    for name in ("postgresql.crt", "postgresql.key", "root.crt", "root.crl"):
        (home / name).write_text("no certificate")
    hostile = {
        "PGHOST": "203.0.113.1", "PGHOSTADDR": "203.0.113.1", "PGPORT": "1", "PGDATABASE": "other",
        "PGUSER": "other", "PGPASSWORD": source_db.password, "PGPASSFILE": str(tmp_path / "pass"),
        "PGSERVICE": "elsewhere", "PGSERVICEFILE": str(tmp_path / "service"), "PGREQUIREAUTH": "none",
        "PGOPTIONS": "-c work_mem=64kB", "PGAPPNAME": "leak", "PGSSLMODE": "verify-full",
        "PGSSLCERT": str(home / "postgresql.crt"), "PGSSLKEY": str(home / "postgresql.key"),
        "PGSSLROOTCERT": str(home / "root.crt"), "PGSSLNEGOTIATION": "direct", "PGCHANNELBINDING": "require",
        "PGTARGETSESSIONATTRS": "standby", "PGGSSENCMODE": "require", "PGCLIENTENCODING": "LATIN1",
        "PGTZ": "Mars/Olympus", "PGDATESTYLE": "nonsense", "PGGEQO": "nonsense", "PGCONNECT_TIMEOUT": "x",
        "PGLOADBALANCEHOSTS": "nonsense", "PGSSLMINPROTOCOLVERSION": "TLSv9", "PGREQUIREPEER": "nobody",
        "PGMINPROTOCOLVERSION": "latest", "PGSSLCERTMODE": "require", "HOME": str(tmp_path),
    }  # fmt: skip
    address = address_of(source_db, **({} if has_password else {"password": None}))
    done = subprocess.run(
        [sys.executable, "-c", HOSTILE_PROGRAM],
        input=json.dumps(asdict(address)),
        env={**os.environ, **hostile},
        cwd=Path(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if has_password:
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == {
            "u": "reader",
            "d": source_db.dbname,
            "g": "on",
            "w": "4MB",
            "a": "pgsched:1/1",
        }
    else:
        assert "SourceRefused" in done.stderr


async def test_a_look_at_a_dead_source_says_what_failed(sources, source_db):
    report = await sources.inspect(address_of(source_db, port=1))
    assert (report.ok, report.error_code, report.latency_ms) == (False, "source_unreachable", None)
    assert report.error_detail
