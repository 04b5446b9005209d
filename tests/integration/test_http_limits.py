"""What a connection may send and for how long, and that answers from memory keep their turn on it."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from http_fixtures import Rows
from people import People, people_over
from postgres_fixtures import Database
from processes import eventually

from pgsched.entrypoints.http import protocol

GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture
def people(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[People]:
    monkeypatch.setattr(protocol, "HEAD_S", 0.5)
    monkeypatch.setattr(protocol, "BODY_S", 1.0)
    monkeypatch.setattr(protocol, "_SWEEP_S", 0.1)
    with people_over(database, remembering=True) as people:
        yield people


@contextmanager
def connected(people: People) -> Iterator[socket.socket]:
    host, port = people.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as sock:
        yield sock


def rest(sock: socket.socket) -> bytes:
    """Everything until the server closes."""
    found = b""
    while chunk := sock.recv(65536):
        found += chunk
    return found


def told(answer: bytes) -> tuple[int, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"\r\nx-request-id: " in head
    assert b"\r\nx-content-type-options: nosniff" in head
    assert b"\r\ncontent-type: application/problem+json" in head
    return int(head.split(b" ")[1]), json.loads(body)["code"]


@pytest.mark.parametrize(
    ("sent", "wanted"),
    [
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", (414, "too_large")),
        (GET + b"X-Long: " + b"x" * 40_000 + b"\r\n\r\n", (431, "too_large")),
        (GET + b"X-Many: x\r\n" * 4000 + b"\r\n", (431, "too_large")),
        (GET + b"X-Endless: " + b"x" * 70_000, (431, "too_large")),
        (b"nonsense\r\n\r\n", (400, "invalid_request")),
        (GET + b"X-Bad Name: x\r\n\r\n", (400, "invalid_request")),
        (b"GET /healthz HT", (408, "request_timeout")),
        (GET, (408, "request_timeout")),
        (b"", (408, "request_timeout")),
    ],
    ids=["target", "header", "headers", "endless", "nonsense", "bad name", "half a line", "no end", "silent"],
)
def test_what_is_no_request_within_bounds_is_refused_and_the_connection_closed(
    people: People, sent: bytes, wanted: tuple[int, str]
) -> None:
    with connected(people) as sock:
        sock.sendall(sent)
        assert told(rest(sock)) == wanted


def test_body_that_does_not_come_ends_the_connection(people: People) -> None:
    with connected(people) as sock:
        head = b"POST /api/auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        sock.sendall(head + b'Content-Length: 100\r\n\r\n{"email":')
        assert told(rest(sock)) == (408, "request_timeout")


def test_header_of_a_usual_size_is_taken(people: People) -> None:
    cookie = "a=" + "x" * 16_000
    assert people.client(Cookie=cookie).get("/healthz").status_code == 200


def test_pipelined_requests_are_answered_in_turn(people: People, database: Database) -> None:
    rows = Rows(conninfo=database.conninfo)
    run = rows.run(rows.query("orders"), 0)
    path = f"/api/runs/{run}"
    client = people.client()

    def from_memory() -> bool:
        client.get(path)
        return 'outcome="hit"' in client.get("/metrics").text

    eventually(from_memory)
    fast = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: fast%d\r\n\r\n".encode()
    slow = b"GET /api/queries HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: slow%d\r\n\r\n"
    last = GET + b"X-Request-Id: last\r\nConnection: close\r\n\r\n"
    with connected(people) as sock:
        # a body that a GET should not have is passed over
        odd = fast.replace(b"\r\n\r\n", b"\r\nContent-Length: 3\r\n\r\nabc")
        sock.sendall(b"".join((fast % 1, fast % 2, slow % 3, odd % 4, slow % 5, fast % 6, last)))
        answers = rest(sock)
    ids = [line.split(b": ")[1] for line in answers.split(b"\r\n") if line.startswith(b"x-request-id: ")]
    assert ids == [b"fast1", b"fast2", b"slow3", b"fast4", b"slow5", b"fast6", b"last"]
    assert answers.count(b"HTTP/1.1 200 OK") == 7


def test_connections_beyond_the_bound_are_told_when_to_come_again(
    people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "MOST_CONNECTIONS", 3)
    with connected(people) as one, connected(people) as two, connected(people) as three:
        for sock in (one, two, three):
            sock.sendall(GET + b"\r\n")
            assert sock.recv(12) == b"HTTP/1.1 200"
        with connected(people) as fourth:
            answer = rest(fourth)
            assert told(answer) == (503, "overloaded")
            assert b"\r\nretry-after: " in answer
    assert eventually(lambda: people.client().get("/healthz").status_code == 200)
