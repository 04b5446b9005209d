"""CORS: who may read from a browser, and that a star never meets credentials."""

from __future__ import annotations

import pytest

from pgsched.entrypoints.http.origins import OriginPolicy

DASH, EVIL = b"https://dash.example.com", b"https://evil.test"


def test_star_lets_anyone_read_without_credentials() -> None:
    told = dict(OriginPolicy.of(["*"]).headers(EVIL))
    assert told[b"access-control-allow-origin"] == b"*"
    assert b"access-control-allow-credentials" not in told
    assert {b"ETag", b"X-Request-Id", b"Retry-After"} <= set(
        told[b"access-control-expose-headers"].split(b", ")
    )


def test_named_origin_reads_with_credentials_and_others_do_not_read() -> None:
    policy = OriginPolicy.of([DASH.decode()])
    assert dict(policy.headers(DASH)) | {b"access-control-expose-headers": b""} == {
        b"vary": b"Origin",
        b"access-control-allow-origin": DASH,
        b"access-control-allow-credentials": b"true",
        b"access-control-expose-headers": b"",
    }
    for other in (EVIL, b"null", DASH + b".evil.test", b"http://dash.example.com", None):
        assert policy.headers(other) == [(b"vary", b"Origin")]


def test_named_beside_star_keeps_its_credentials() -> None:
    policy = OriginPolicy.of(["*", DASH.decode()])
    assert dict(policy.headers(DASH))[b"access-control-allow-origin"] == DASH
    assert dict(policy.headers(EVIL))[b"access-control-allow-origin"] == b"*"
    assert (b"vary", b"Origin") in policy.headers(EVIL)


@pytest.mark.parametrize(
    ("origins", "origin", "writes"), [(["*"], EVIL, False), ([DASH.decode()], DASH, True)]
)
def test_preflight_allows_writes_to_named_origins_alone(
    origins: list[str], origin: bytes, writes: bool
) -> None:
    told = dict(OriginPolicy.of(origins).preflight(origin))
    assert (b"POST" in told[b"access-control-allow-methods"]) is writes
    allowed = told[b"access-control-allow-headers"].split(b", ")
    assert {b"Authorization", b"If-None-Match"} <= set(allowed)


def test_preflight_of_a_stranger_allows_nothing() -> None:
    assert OriginPolicy.of([DASH.decode()]).preflight(EVIL) == []
