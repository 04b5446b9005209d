"""What every answer carries, and what is refused ahead of the router."""

from __future__ import annotations

import http.client
import json
import logging
import re
import socket
import time
from collections.abc import Iterator

import httpx
import pytest
from http_fixtures import Rows, api_over
from postgres_fixtures import Database
from test_http_reading import problem

from pgsched.domain.errors import DatabaseUnavailable, SchemaMismatch

ANSWERS = ["/", "/healthz", "/api/queries", "/api/runs/1", "/nowhere", "/schema", "/schema/nothing.json"]


class Broken:
    """A view whose every question ends in one error."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    async def one(self, *_: object, **__: object) -> None:
        raise self._error

    async def page(self, *_: object, **__: object) -> None:
        raise self._error


@pytest.fixture
def rows(database: Database) -> Rows:
    return Rows(conninfo=database.conninfo)


@pytest.fixture
def api(database: Database) -> Iterator[httpx.Client]:
    with api_over(database) as client:
        yield client


def test_every_answer_has_id_cors_and_security_headers(api: httpx.Client) -> None:
    seen = set()
    for path in ANSWERS:
        for answer in (api.get(path), api.post(path), api.get(path, headers={"Authorization": "Bearer x"})):
            told = answer.headers
            assert re.fullmatch(r"[0-9a-f]{24}", told["x-request-id"])
            seen.add(told["x-request-id"])
            assert told["x-content-type-options"] == "nosniff"
            assert "frame-ancestors 'none'" in told["content-security-policy"]
            assert told["referrer-policy"] == "same-origin"
            assert told["access-control-allow-origin"] == "*"
            assert "access-control-allow-credentials" not in told
            assert "server" not in told
    assert len(seen) == 3 * len(ANSWERS)


def test_request_id_is_kept_when_it_is_sane(api: httpx.Client) -> None:
    assert api.get("/healthz", headers={"X-Request-Id": "abc-1.2_3"}).headers["x-request-id"] == "abc-1.2_3"
    for bad in ("a b", "x" * 65, "<script>", ""):
        assert api.get("/healthz", headers={"X-Request-Id": bad}).headers["x-request-id"] != bad


def test_unknown_paths_and_methods_are_problems(api: httpx.Client) -> None:
    for path in ("/nowhere", "/api", "/api/queries/a/b", "/schema/x", "/schema/redoc"):
        assert problem(api.get(path)) == (404, "not_found"), path
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        answer = api.request(method, "/api/queries", json={})
        assert problem(answer) == (405, "method_not_allowed")
        assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}
    options = api.options("/api/queries")
    assert (options.status_code, "GET" in options.headers["allow"]) == (204, True)


@pytest.mark.parametrize("path", ANSWERS)
@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
def test_tokens_are_refused_everywhere(api: httpx.Client, path: str, scheme: str) -> None:
    answer = api.get(path, headers={"Authorization": f"{scheme} x"})
    assert problem(answer) == (401, "not_authenticated")
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_other_schemes_are_somebody_elses(api: httpx.Client) -> None:
    assert api.get("/api/queries", headers={"Authorization": "Basic eDp5"}).status_code == 200


def test_preflight_is_answered_for_any_path(api: httpx.Client) -> None:
    asked = {"Origin": "https://dash.example.com", "Access-Control-Request-Method": "GET"}
    for path in ("/api/queries/orders/runs/latest", "/nowhere"):
        answer = api.options(path, headers=asked)
        assert answer.status_code == 204
        assert answer.headers["access-control-allow-origin"] == "*"
        assert {"Authorization", "If-None-Match"} <= set(
            answer.headers["access-control-allow-headers"].split(", ")
        )


def test_named_origins_alone_may_read(database: Database) -> None:
    dash = "https://dash.example.com"
    with api_over(database, cors_allowed_origins=(dash,)) as api:
        for path in ("/api/queries", "/nowhere"):
            own = api.get(path, headers={"Origin": dash}).headers
            assert (own["access-control-allow-origin"], own["access-control-allow-credentials"]) == (
                dash,
                "true",
            )
            other = api.get(path, headers={"Origin": "https://evil.test"}).headers
            assert "access-control-allow-origin" not in other
            assert other["vary"] == own["vary"] == "Origin"


def test_hosts_that_are_not_ours_are_refused(database: Database) -> None:
    with api_over(database, allowed_hosts=("dash.example.com", "127.0.0.1")) as api:
        assert api.get("/healthz").status_code == 200
        assert api.get("/healthz", headers={"Host": "dash.example.com:80"}).status_code == 200
        for path in ANSWERS:
            assert problem(api.get(path, headers={"Host": "evil.test"})) == (400, "bad_host")
        for hosts in (["127.0.0.1", "evil.test"], ["evil.test", "127.0.0.1"], ["127.0.0.1"] * 2):
            connection = http.client.HTTPConnection("127.0.0.1", api.base_url.port, timeout=20)
            connection.putrequest("GET", "/healthz", skip_host=True)
            for host in hosts:
                connection.putheader("Host", host)
            connection.endheaders()
            answer = connection.getresponse()
            assert (answer.status, json.load(answer)["code"]) == (400, "bad_host")
            connection.close()
        rebound = {"Host": "evil.test", "X-Forwarded-Host": "dash.example.com"}
        assert problem(api.get("/api/queries", headers=rebound)) == (400, "bad_host")
        behind = {"Host": "pgsched:8000", "X-Forwarded-Host": "dash.example.com"}
        assert api.get("/api/queries", headers=behind).status_code == 200


def test_unforeseen_error_says_nothing_of_itself(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    broken = Broken(RuntimeError("/srv/secret"))
    with api_over(database, run_view=broken, query_view=broken) as api, caplog.at_level(logging.ERROR):
        for path in ("/api/runs/1", "/api/queries", "/"):
            answer = api.get(path)
            assert problem(answer) == (500, "internal_error")
            assert "secret" not in answer.text
            assert answer.headers["access-control-allow-origin"] == "*"
    assert [record.action for record in caplog.records] == ["http.error"] * 3  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("error", "code"),
    [(DatabaseUnavailable("gone"), "database_unavailable"), (SchemaMismatch("old"), "schema_mismatch")],
)
def test_database_faults_are_503_and_a_page_for_people(
    database: Database, error: Exception, code: str
) -> None:
    broken = Broken(error)
    with api_over(database, run_view=broken, query_view=broken) as api:
        for path in ("/api/runs/1", "/api/queries", "/"):
            answer = api.get(path)
            assert problem(answer) == (503, code)
            assert int(answer.headers["retry-after"]) > 0
        page = api.get("/", headers={"Accept": "text/html,*/*;q=0.8"})
        assert page.status_code == 503
        assert page.headers["content-type"].startswith("text/html")
        assert str(error) in page.text
        assert 'http-equiv="refresh"' in page.text
        assert api.get("/healthz").status_code == 200


def test_requests_are_logged_without_their_parameters(
    api: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "pgsched.access"):
        api.get(
            "/api/runs/7%0A?token=hunter2",
            headers={"X-Request-Id": "r1", "X-Forwarded-For": "198.51.100.1, 203.0.113.9"},
        )
        records: list[logging.LogRecord] = []
        deadline = time.monotonic() + 5
        # the line is written when the answer is out
        while not records and time.monotonic() < deadline:
            records = [record for record in caplog.records if record.name == "pgsched.access"]
    (record,) = records
    told = vars(record)
    assert (told["action"], told["method"], told["path"], told["status"]) == (
        "http.request",
        "GET",
        "/api/runs/7%0A",
        404,
    )
    assert (told["client"], told["request_id"]) == ("203.0.113.9", "r1")
    assert told["duration_ms"] >= 0
    assert "hunter2" not in str(told)


@pytest.mark.parametrize(
    "request_text",
    [
        "GET /api/queries HTTP/1.0\r\n\r\n",
        "GET //api//queries/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "GET /api/queries?%ff=%00&limit=%00 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "GET /api/queries/%ff%00%2f HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "BREW /api/queries HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: \xff\r\nX-Forwarded-For: \xff,,\r\nAccept: \xff;q=x\r\n"
        "Connection: close\r\n\r\n",
        "GET /api/queries HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: close\r\n\r\n",
    ],
)
def test_odd_requests_are_answered_and_harm_nobody(api: httpx.Client, request_text: str) -> None:
    with socket.create_connection((api.base_url.host, api.base_url.port or 80), timeout=10) as connection:
        connection.sendall(request_text.encode("latin-1"))
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    assert 200 <= int(answer.split(b" ", 2)[1]) < 500
    assert api.get("/healthz").status_code == 200
