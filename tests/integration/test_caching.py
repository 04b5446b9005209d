"""Answers from memory: the same as from the database, a second behind it at most, none while it is away."""

from __future__ import annotations

import http.client
import json
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx
import psutil
import pytest
from http_fixtures import Rows, numbered
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from people import People, people_over
from postgres_fixtures import Database, fresh_database, template_of, throwaway
from processes import eventually

#: seconds within which every process knows of a change, and some for a machine that does other things too
PROMISED_S = 1.0 + 1.0
LATEST = "/api/queries/orders/runs/latest"


@pytest.fixture
def here(database: Database) -> Iterator[People]:
    """The server that tests change things at."""
    with people_over(database, remembering=True) as people:
        yield people


@pytest.fixture
def there(database: Database) -> Iterator[People]:
    """Another process's stand-in: a server of its own over the same database."""
    with people_over(database, remembering=True) as people:
        yield people


@pytest.fixture
def rows(database: Database) -> Rows:
    return Rows(conninfo=database.conninfo)


def hits(people: People) -> int:
    """How many answers came from memory."""
    for line in people.client().get("/metrics").text.splitlines():
        if line.startswith("pgsched_cache_requests_total{") and 'outcome="hit"' in line:
            return int(float(line.rpartition(" ")[2]))
    return 0


def answer_of(
    url: str, path: str, method: str = "GET", headers: dict[str, str] | None = None
) -> tuple[int, list[tuple[str, str]], bytes]:
    """Status, headers and body as they came over the wire, of a request with these headers alone."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    try:
        connection.putrequest(method, path, skip_host="Host" in (headers or {}), skip_accept_encoding=True)
        for name, value in (headers or {}).items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.getheaders(), answer.read()
    finally:
        connection.close()


def warmed(people: People, client: httpx.Client, path: str = LATEST) -> httpx.Response:
    """Ask until the answer comes from memory."""
    before = hits(people)

    def asked() -> httpx.Response | None:
        answer = client.get(path)
        assert answer.status_code == 200
        return answer if hits(people) > before else None

    return eventually(asked)


# the same answers


@pytest.fixture(scope="module")
def pair(pg_server, migrated_template) -> Iterator[tuple[People, People, list[int], str]]:
    """A server that remembers and one that does not, over the same runs and people."""
    with fresh_database(pg_server, template=migrated_template) as database:
        rows = Rows(conninfo=database.conninfo)
        small, large = rows.query("small"), rows.query("large", visibility="users")
        runs = [
            rows.run(small, 0),
            rows.run(small, 1, "error"),
            rows.run(large, 0, document=numbered(300)),
            rows.run(large, 1, "running"),
        ]
        with people_over(database, remembering=True) as quick, people_over(database) as plain:
            token = quick.token(quick.account("ada"))
            yield quick, plain, runs, token


FORMS = st.sampled_from(
    [
        *("", "&&", "_=17", "format=csv&_=%FF", "status=success", "status=any", "status=error", "status="),
        *("format=table", "format=csv", "format=records&bigint=string", "format=xml", "rows=1"),
        *("format=columns&rows=0,5", "columns=n", "columns=nowhere", "format=ndjson&format=csv"),
    ]
)
HEADERS = {
    "Accept": st.sampled_from(["*/*", "text/csv", "application/json", "image/png", "a,b;q=x", ""]),
    "Accept-Encoding": st.sampled_from(["gzip", "identity", "gzip;q=0, *", "br", ""]),
    "If-None-Match": st.sampled_from(["*", '"x"', "known", "known-gzip", "W/known"]),
    "Origin": st.sampled_from(["https://example.com", "null"]),
    "Host": st.sampled_from(["localhost", "127.0.0.1:1", "[::1]"]),
    "X-Forwarded-For": st.sampled_from(["203.0.113.9", "junk, 203.0.113.9"]),
    "Authorization": st.sampled_from(["token", "Bearer pgs_nonsense", "Basic eDp5"]),
    "Cookie": st.sampled_from(["sid=nonsense", "a=b"]),
}


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(["GET", "HEAD"]),
    place=st.sampled_from(
        ["small", "large", "1", "2", "nowhere", "run0", "run1", "run2", "run3", "007", "sm%61ll"]
    ),
    form=FORMS,
    headers=st.fixed_dictionaries({}, optional=HEADERS),
)
def test_memory_answers_as_the_database_does(pair, method, place, form, headers):
    quick, plain, runs, token = pair
    path = f"/api/queries/{place}/runs/latest"
    if place.startswith("run"):
        path = f"/api/runs/{runs[int(place[3:])]}"
    headers = dict(headers)
    if headers.get("Authorization") == "token":
        headers["Authorization"] = f"Bearer {token}"
    if "known" in headers.get("If-None-Match", ""):
        shown = {name: value for name, value in headers.items() if name in ("Accept", "Authorization")}
        tag = dict(answer_of(plain.url, f"{path}?{form}", "GET", shown)[1]).get("etag", '"none"')
        known = headers["If-None-Match"].replace("known", tag)
        headers["If-None-Match"] = known if not known.endswith("-gzip") else f'{known[:-6]}-gzip"'
    headers["X-Request-Id"] = "same"
    answers = []
    # twice, so that the second may come from memory
    for people in (plain, quick, quick):
        status, kept, body = answer_of(people.url, f"{path}?{form}", method, headers)
        # an age in seconds goes on while one asks: it must be there, at its place
        shown = [(name, "" if name == "pgsched-age" else value) for name, value in kept if name != "date"]
        answers.append((status, shown, body))
    assert answers[0] == answers[1] == answers[2]


def test_some_of_them_came_from_memory(pair):
    quick, _, runs, token = pair
    for client in (quick.client(), quick.client(token=token)):
        warmed(quick, client, "/api/queries/small/runs/latest")
        warmed(quick, client, f"/api/runs/{runs[0]}")
    assert hits(quick) >= 4


# at most a second behind


def test_new_run_is_seen_everywhere_within_a_second_without_any_notification(
    here: People, there: People, rows: Rows
) -> None:
    query = rows.query("orders")
    rows.run(query, 0)
    clients = [here.client(), there.client()]
    warmed(here, clients[0])
    warmed(there, clients[1])
    for minute in range(1, 4):
        newest = rows.run(query, minute)
        for client in clients:
            eventually(lambda: client.get(LATEST).json()["id"] == newest, within_s=PROMISED_S)  # noqa: B023


def test_run_that_was_deleted_is_gone_within_a_second(here: People, rows: Rows) -> None:
    run = rows.run(rows.query("orders"), 0)
    client = here.client()
    warmed(here, client, f"/api/runs/{run}")
    here.sql("delete from query_run where id = %s", [run])
    eventually(lambda: client.get(f"/api/runs/{run}").status_code == 404, within_s=PROMISED_S)
    assert client.get(LATEST).status_code == 404


RESTRICTIONS = {
    "visibility": "update query_job set visibility = 'restricted'",
    "rename": "update query_job set name = 'other'",
    "token": "delete from api_token",
    "owner": "update user_account set is_active = false",
    "query": "delete from query_job",
}


@pytest.mark.parametrize("kind", RESTRICTIONS)
def test_restriction_holds_elsewhere_within_a_second(here: People, rows: Rows, kind: str) -> None:
    query = rows.query("orders", visibility="users")
    rows.run(query, 0)
    client = here.client(token=here.token(here.account("ada")))
    warmed(here, client)
    if kind == "query":
        here.sql("delete from query_run")
    here.sql(RESTRICTIONS[kind])
    eventually(lambda: client.get(LATEST).status_code in (401, 404), within_s=PROMISED_S)


def test_restriction_holds_before_the_changing_process_answers(here: People, rows: Rows) -> None:
    rows.run(rows.query("orders"), 0)
    admin, reader = here.session(here.account("root", "admin")), here.client()
    for _ in range(10):
        warmed(here, reader)
        changed = admin.patch("/api/admin/queries/orders", json={"visibility": "restricted"})
        assert changed.status_code == 200, changed.text
        assert reader.get(LATEST).status_code == 404
        assert admin.patch("/api/admin/queries/orders", json={"visibility": "public"}).status_code == 200
        assert reader.get(LATEST).status_code == 200


def test_logout_and_revoked_token_hold_at_once(here: People, rows: Rows) -> None:
    rows.run(rows.query("orders", visibility="users"), 0)
    ada = here.account("ada")
    session = here.session(ada)
    made = session.post("/api/tokens", json={"name": "board"}).json()
    reader = here.client(token=made["token"])
    warmed(here, reader)
    warmed(here, session)
    assert session.delete(f"/api/tokens/{made['id']}").status_code == 204
    assert reader.get(LATEST).status_code == 401
    assert session.post("/api/auth/logout").status_code == 204
    assert session.get(LATEST).status_code == 404


def test_tenants_never_get_each_others_rows_from_memory(here: People, rows: Rows) -> None:
    query = rows.query("orders", visibility="restricted")
    rows.run(query, 0, document=numbered(100))
    for number, name in enumerate(["ada", "bob"]):
        account = here.account(name)
        here.sql(
            "insert into query_grant (query_id, user_id, row_filter) values (%s, %s, %s::text::jsonb)",
            [query, account, f'{{"n": [{number}]}}'],
        )
        client = here.session(account)
        for _ in range(3):
            told = warmed(here, client).json()
            assert [row["n"] for row in told["result"]["data"]] == [number]
    assert here.client().get(LATEST).status_code == 404


# the database goes away


@contextmanager
def frozen(server) -> Iterator[None]:
    """Stop every process of a database server for the time of the block, as a frozen host would be."""
    postmaster = psutil.Process(server.cluster.pid)
    family = [postmaster, *postmaster.children(recursive=True)]
    for process in family:
        os.kill(process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for process in family:
            if process.is_running():
                os.kill(process.pid, signal.SIGCONT)


def asked(people: People, path: str) -> tuple[int, str | None, str | None, float]:
    """Status, code, Retry-After and seconds of an answer."""
    began = time.monotonic()
    status, headers, body = answer_of(people.url, path)
    took = time.monotonic() - began
    code = json.loads(body).get("code") if status != 200 else None
    return status, code, dict(headers).get("retry-after"), took


def test_database_that_freezes_or_dies_under_load_is_503_soon_and_noticed_when_it_is_back() -> None:
    with throwaway() as server:
        database = Database(server=server, dbname=template_of(server))
        rows = Rows(conninfo=database.conninfo)
        rows.run(rows.query("orders"), 0)
        with people_over(database, remembering=True) as people, ThreadPoolExecutor(24) as pool:
            warmed(people, people.client())
            paths = [LATEST, "/api/queries", "/api/queries/orders/runs", "/readyz", "/api/users/me"]
            sid = people.sid(people.account("ada"))
            with frozen(server):
                # what was in memory may be answered for a second more; then nothing
                time.sleep(1.1)
                for _ in range(2):
                    found = list(pool.map(lambda path: asked(people, path), paths[:4] * 12))
                    assert {(status, code) for status, code, *_ in found} == {(503, "database_unavailable")}
                    assert all(retry for _, _, retry, _ in found)
                    assert max(took for *_, took in found) < 2 + 2  # and some for a busy machine
                with people.client(sid=sid) as client:
                    assert client.get("/api/users/me").status_code == 503
                assert people.client().get("/healthz").status_code == 200
            eventually(lambda: asked(people, LATEST)[0] == 200)
            server.execute(f"alter database {database.dbname} with allow_connections false")
            server.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s", [database.dbname]
            )
            eventually(lambda: asked(people, LATEST)[0] == 503, within_s=PROMISED_S)
            server.execute(f"alter database {database.dbname} with allow_connections true")
            eventually(lambda: asked(people, LATEST)[0] == 200)
            warmed(people, people.client())
