"""Forwarded headers and Host names: who is believed, and what is answered."""

from __future__ import annotations

from ipaddress import ip_network

import pytest

from pgsched.entrypoints.http.peers import PeerPolicy

PROXIES = (ip_network("127.0.0.0/8"), ip_network("10.0.0.0/8"), ip_network("::1"))


def policy(*hosts: str) -> PeerPolicy:
    return PeerPolicy(proxies=PROXIES, hosts=frozenset(hosts) if hosts else None)


def headers(**values: str) -> dict[bytes, bytes]:
    return {name.replace("_", "-").encode(): value.encode() for name, value in values.items()}


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("127.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("127.0.0.1", "198.51.100.1, 203.0.113.9", "203.0.113.9"),
        ("127.0.0.1", "203.0.113.9, 10.1.2.3", "203.0.113.9"),
        ("127.0.0.1", "10.1.2.3", "10.1.2.3"),
        ("127.0.0.1", "198.51.100.1, garbage, 10.1.2.3", "10.1.2.3"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", "[2001:db8::1]:4711", "2001:db8::1"),
        ("127.0.0.1", "203.0.113.9:4711", "203.0.113.9"),
        ("::ffff:127.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("127.0.0.1", "::ffff:203.0.113.9", "203.0.113.9"),
        ("::ffff:192.0.2.7", "203.0.113.9", "192.0.2.7"),
        ("192.0.2.7", "203.0.113.9", "192.0.2.7"),
        ("not an address", "203.0.113.9", "not an address"),
    ],
)
def test_client_is_the_last_hop_that_no_trusted_proxy_is(peer: str, forwarded: str, client: str) -> None:
    assert policy().peer(peer, "http", headers(x_forwarded_for=forwarded)).address == client


def test_scheme_is_the_nearest_proxys() -> None:
    trusted = policy().peer("127.0.0.1", "http", headers(x_forwarded_proto="http, HTTPS"))
    assert trusted.scheme == "https"
    assert policy().peer("127.0.0.1", "http", headers(x_forwarded_proto="gopher")).scheme == "http"
    assert policy().peer("192.0.2.7", "http", headers(x_forwarded_proto="https")).scheme == "http"


def test_without_trusted_proxies_nothing_forwarded_counts() -> None:
    nobody = PeerPolicy(proxies=(), hosts=None)
    peer = nobody.peer("127.0.0.1", "http", headers(x_forwarded_for="203.0.113.9", x_forwarded_host="a"))
    assert (peer.address, peer.hosts) == ("127.0.0.1", ("",))


def answered(rule: PeerPolicy, **values: str) -> bool:
    return rule.answers(rule.peer("127.0.0.1", "http", headers(**values)))


@pytest.mark.parametrize(
    "host", ["dash.example.com", "DASH.example.com:8000", "dash.example.com.", "[::1]:80", "127.0.0.1:8000"]
)
def test_hosts_that_are_answered(host: str) -> None:
    assert answered(policy("dash.example.com", "::1", "127.0.0.1"), host=host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "example.com",
        "dash.example.com.evil.test",
        "dash.example.com@evil.test",
        "a, dash.example.com",
        "[::2]",
        "dash.example.com:x",
    ],
)
def test_hosts_that_are_not(host: str) -> None:
    assert not answered(policy("dash.example.com", "::1"), host=host)


def test_any_host_is_answered_by_default_and_by_a_star() -> None:
    assert answered(policy(), host="evil.test")
    assert answered(policy("*"), host="evil.test")


def test_behind_a_proxy_the_name_it_was_asked_by_counts() -> None:
    rule = policy("dash.example.com")
    for own in ("127.0.0.1:8000", "pgsched:8000", "dash.example.com"):
        assert answered(rule, host=own, x_forwarded_host="dash.example.com")
    assert not answered(rule, host="dash.example.com", x_forwarded_host="evil.test")


def test_a_rebinding_page_gains_nothing_by_a_forwarded_host() -> None:
    assert not answered(policy("localhost"), host="evil.test", x_forwarded_host="localhost")
