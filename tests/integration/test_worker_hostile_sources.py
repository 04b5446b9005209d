"""Hostile sources beside a good one: each run is stored with its own code, and the good one is served."""

from __future__ import annotations

import asyncio

import pytest
from lying_server import TEXT, LyingServer, complete, data_row, message, row_description
from processes import assert_quiet, ended_run, installation

SECRET = "a-password-of-a-liar"


@pytest.fixture
def place(database, source_db, tmp_path):
    with installation(tmp_path / "place", database.url) as place:
        place.add_source(source_db)
        yield place


async def lies(talk):
    await talk.say(message(b"y", b"what"))


async def goes_mute(talk):
    await asyncio.sleep(600)


async def breaks_off(talk):
    await talk.say(data_row(b"1"))
    talk.reset()


async def sends_a_gigabyte(talk):
    await talk.say(row_description(TEXT))
    await talk.flood(data_row(b"x" * 60_000)[:-1] + b"x")


async def sends_a_string_without_an_end(talk):
    await talk.say(data_row(b'"' + b'\\"' * 80_000 + b"0" * 19), complete(b"FETCH 1"))


#: what the server does in place of rows, and the code of the run
HOSTILE = {
    "liar": (lies, "source_protocol"),
    "forger": (sends_a_string_without_an_end, "source_protocol"),
    "mute": (goes_mute, "query_timeout"),
    "breaker": (breaks_off, "source_unreachable"),
}
JSON = 114


def add_source_at(place, name, port):
    place.json(
        *("dsn", "add", "--name", name, "--host", "127.0.0.1", "--port", str(port), "--dbname", "d"),
        *("--username", "u", "--password", SECRET, "--key-version", "1", "--sslmode", "disable"),
    )


def add_queries(place, servers):
    for name, server in servers.items():
        add_source_at(place, name, server.port)
    # a sealed password is bound to its source
    add_source_at(place, "moved", 1)
    for name in (*servers, "moved"):
        place.add_query(name, "select 1 as a", data_source=name, timeout_ms="500", max_attempts="1")
    place.add_query("good", "select 1 as a")


async def test_each_hostile_source_is_a_stored_run_and_the_good_one_is_served(place, database, source_db):
    servers = {name: LyingServer(fetch=lie, columns=(JSON,)) for name, (lie, _) in HOSTILE.items()}
    for server in servers.values():
        await server.__aenter__()
    try:
        await asyncio.to_thread(add_queries, place, servers)
        database.execute(
            "update data_source set enc_password = (select enc_password from data_source where name = 'shop')"
            " where name = 'moved'"
        )
        await asyncio.to_thread(place.worker)
        ids = {
            name: (await asyncio.to_thread(place.json, "queries", "run", name))["id"]
            for name in (*servers, "moved", "good")
        }
        runs = {name: await asyncio.to_thread(ended_run, database, run_id) for name, run_id in ids.items()}
    finally:
        for server in servers.values():
            await server.__aexit__()
    assert {name: run["error_code"] for name, run in runs.items()} == {
        **{name: code for name, (_, code) in HOSTILE.items()},
        "moved": "cannot_open",
        "good": None,
    }
    assert {run["status"] for run in runs.values()} == {"error", "success"}
    assert_quiet(place.everything_said(), SECRET, source_db.password)
