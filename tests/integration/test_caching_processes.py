"""Two real API processes and a real worker: what one stores or changes is seen by the others, or not at all.

Behind a database that freezes, or a network that swallows everything, each answers 503 and comes back.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from http_fixtures import PEPPER
from people import People
from postgres_fixtures import Database, fresh_source, template_of, throwaway
from processes import Installation, assert_quiet, eventually, installation
from test_caching import LATEST, PROMISED_S, asked, frozen, hits, warmed

from chaos.proxy import Link, Proxy

#: seconds after which no request may hang, whatever the database does, and some for a busy machine
HANGING_S = 5.0 + 3.0


class Network:
    """A proxy in front of the database, on a loop of its own."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.proxy = Proxy(target)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self.do(self.proxy.open())

    def do(self, call: Any) -> None:
        asyncio.run_coroutine_threadsafe(call, self._loop).result(10)

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Let nothing through for the time of the block, and say nothing of it to either side."""
        self.do(self.proxy.spoil(Link.SILENT))
        try:
            yield
        finally:
            self.do(self.proxy.spoil(Link.GOOD))

    def close(self) -> None:
        self.do(self.proxy.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)


class Fleet:
    """A database server of its own, two API processes, a worker, and a network between."""

    def __init__(self, server, database: Database, place: Installation, network: Network, urls: list[str]):
        self.server, self.database, self.place, self.network = server, database, place, network
        self.here, self.there = (People(conninfo=database.conninfo, url=url) for url in urls)

    @property
    def everywhere(self) -> tuple[People, People]:
        return self.here, self.there

    def run(self) -> int:
        """Have the worker run the query; its id, once it is over."""
        run = self.admin.post("/api/admin/queries/orders/run").json()["id"]
        over = "select 1 from query_run where id = %s and status = 'success'"
        eventually(lambda: self.database.execute(over, [run]))
        return run

    @property
    def admin(self) -> httpx.Client:
        return self.here.client(sid=self.sid)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with (
        throwaway() as server,
        fresh_source(server) as source,
        installation(tmp_path_factory.mktemp("fleet"), None) as bare,
    ):
        database = Database(server=server, dbname=template_of(server))
        network = Network((server.host, server.port))
        behind = database.url.replace(f":{server.port}/", f":{network.proxy.port}/")
        assert behind != database.url
        with installation(bare.folder / "place", behind) as place:
            place.environment["ARGON2_SECRET_KEY_B64"] = PEPPER
            urls = [place.api()[1] for _ in range(2)]
            fleet = Fleet(server, database, place, network, urls)
            fleet.sid = fleet.here.sid(
                fleet.here.account("admin", "admin"), expires_at="clock_timestamp() + interval '1 day'"
            )
            place.add_source(source)
            place.add_query("orders", "select clock_timestamp()::text as at")
            place.worker()
            fleet.run()
            yield fleet
            for people in fleet.everywhere:
                people.close()
            assert_quiet(place.everything_said(), PEPPER, database.server.password)
        network.close()


def newest(people: People) -> int:
    answer = people.client().get(LATEST)
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


def test_run_of_a_worker_is_seen_in_every_process(fleet: Fleet) -> None:
    for people in fleet.everywhere:
        warmed(people, people.client())
    for _ in range(3):
        run = fleet.run()
        for people in fleet.everywhere:
            eventually(lambda: newest(people) == run, within_s=PROMISED_S)  # noqa: B023
    assert all(hits(people) for people in fleet.everywhere)


def test_run_is_seen_though_every_connection_that_watches_was_lost(fleet: Fleet) -> None:
    for people in fleet.everywhere:
        warmed(people, people.client())
    own = "application_name like 'pgsched-api%%' and datname = %s"
    ended = fleet.server.execute(
        f"select pg_terminate_backend(pid) from pg_stat_activity where {own}", [fleet.database.dbname]
    )
    assert ended
    run = fleet.run()
    for people in fleet.everywhere:
        eventually(lambda: newest(people) == run, within_s=HANGING_S)  # noqa: B023


def test_restriction_at_one_holds_there_at_once_and_in_the_other_soon(fleet: Fleet) -> None:
    for people in fleet.everywhere:
        warmed(people, people.client())
    readers = [people.client() for people in fleet.everywhere]
    try:
        changed = fleet.admin.patch("/api/admin/queries/orders", json={"visibility": "restricted"})
        assert changed.status_code == 200, changed.text
        assert readers[0].get(LATEST).status_code == 404
        eventually(lambda: readers[1].get(LATEST).status_code == 404, within_s=PROMISED_S)
    finally:
        fleet.admin.patch("/api/admin/queries/orders", json={"visibility": "public"})
    for reader in readers:
        eventually(lambda: reader.get(LATEST).status_code == 200, within_s=PROMISED_S)  # noqa: B023


def test_session_and_token_that_end_at_one_end_in_the_other(fleet: Fleet) -> None:
    account = fleet.here.account("ada", "viewer")
    sid = fleet.here.sid(account)
    made = fleet.here.client(sid=sid).post("/api/tokens", json={"name": "board"}).json()
    shown = {"token": made["token"]}, {"sid": sid}
    for people in fleet.everywhere:
        for each in shown:
            warmed(people, people.client(**each))
    token, session = (fleet.there.client(**each) for each in shown)
    assert fleet.here.client(sid=sid).delete(f"/api/tokens/{made['id']}").status_code == 204
    eventually(lambda: token.get(LATEST).status_code == 401, within_s=PROMISED_S)
    assert fleet.here.client(sid=sid).post("/api/auth/logout").status_code == 204
    eventually(lambda: session.get("/api/users/me").status_code == 401, within_s=PROMISED_S)


def refused_write(fleet: Fleet, people: People, method: str, path: str, body: dict) -> tuple:
    """The same of a write."""
    began = time.monotonic()
    with people.client(sid=fleet.sid) as client:
        answer = client.request(method, path, json=body)
    took = time.monotonic() - began
    return answer.status_code, answer.json()["code"], answer.headers.get("retry-after"), took


def gone(fleet: Fleet) -> None:
    """While the database is away: nothing but 503, with when to come again, and none of it late."""
    # what was in memory may be answered for a second more; then nothing
    time.sleep(1.2)
    paths = [LATEST, "/api/queries", "/api/queries/orders", "/api/queries/orders/runs", "/readyz"]
    writes = [
        ("PATCH", "/api/admin/queries/orders", {"title": "Never"}),
        ("POST", "/api/auth/login", {"email": "a@example.com", "password": "long enough"}),
    ]
    with ThreadPoolExecutor(32) as pool:
        tried = [
            *(pool.submit(asked, each, path) for each in fleet.everywhere for path in paths * 4),
            *(
                pool.submit(refused_write, fleet, each, *write)
                for each in fleet.everywhere
                for write in writes
            ),
        ]
        found = [each.result() for each in tried]
    assert {(status, code) for status, code, *_ in found} == {(503, "database_unavailable")}
    assert all(retry is not None and int(retry) >= 1 for _, _, retry, _ in found)
    assert max(took for *_, took in found) < HANGING_S
    for people in fleet.everywhere:
        assert people.client().get("/healthz").status_code == 200


def back(fleet: Fleet) -> None:
    """Afterwards: all of it again, by itself, and what was refused did not happen."""
    for people in fleet.everywhere:
        eventually(lambda: asked(people, LATEST)[0] == 200)  # noqa: B023
        warmed(people, people.client())
    assert fleet.database.execute("select title from query_job") == [("orders",)]
    run = fleet.run()
    for people in fleet.everywhere:
        eventually(lambda: newest(people) == run, within_s=PROMISED_S)  # noqa: B023


@pytest.mark.slow
def test_database_that_freezes_is_503_in_every_process_until_it_is_back(fleet: Fleet) -> None:
    with frozen(fleet.server):
        gone(fleet)
    back(fleet)


@pytest.mark.slow
def test_network_that_swallows_everything_is_503_in_every_process_until_it_is_back(fleet: Fleet) -> None:
    with fleet.network.silent():
        gone(fleet)
    back(fleet)
