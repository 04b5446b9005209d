"""Sources: what may be one, and what its password is bound to."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address

import pytest
from certificates import CERTIFICATE as PEM
from certificates import KEY_TEXT, OTHER_CERTIFICATE, PRIVATE_KEY, TRUSTED_CERTIFICATE
from hypothesis import given
from hypothesis import strategies as st

from pgsched.domain.errors import InvalidInput
from pgsched.domain.sources import DataSource, NewSource, SealedPassword, SourceBinding, SslMode, host_fault

SHAPE_ALONE = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
NOW = datetime(2026, 1, 1, tzinfo=UTC)
LABELS = st.from_regex(r"[a-zA-Z0-9_]([a-zA-Z0-9_-]{0,10}[a-zA-Z0-9_])?", fullmatch=True)


def new(**changes: object) -> NewSource:
    given = {"name": "shop", "host": "db.example.com", "dbname": "shop", "username": "reader"}
    return NewSource(**(given | changes))


def fields_at_fault(**changes: object) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        new(**changes)
    return [fault.field for fault in caught.value.faults]


def test_source_needs_no_more_than_where_it_is_and_who_asks() -> None:
    source = new()
    assert (source.port, source.sslmode, source.max_concurrency) == (5432, "prefer", 4)
    assert (source.password, source.allow_metadata, source.allow_user_functions) == (None, False, True)


def test_all_faults_are_told_at_once() -> None:
    assert fields_at_fault(name="1", host="", port=0, dbname="", username="", max_concurrency=0) == [
        "name",
        "host",
        "port",
        "dbname",
        "username",
        "max_concurrency",
    ]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("port", 0),
        ("port", 65536),
        ("port", -1),
        ("max_concurrency", 0),
        ("max_concurrency", 1001),
        ("dbname", " "),
        ("dbname", "x" * 64),
        ("dbname", "a\x00b"),
        ("dbname", "a\nb"),
        ("username", "\ud800"),
        ("username", "a\x7fb"),
        ("name", "a b"),
        ("name", ""),
        ("name", "-a"),
        ("name", "a/b"),
        ("name", "käse"),
        ("name", "a" * 64),
        ("name", "a\n"),
        ("name", "١"),
    ],
)
def test_what_could_never_be_a_source_is_refused(field: str, value: object) -> None:
    assert fields_at_fault(**{field: value}) == [field]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("port", 1),
        ("port", 65535),
        ("max_concurrency", 1000),
        ("dbname", "Käse & Co"),
        ("dbname", "x" * 63),
        ("name", "a"),
        ("name", "A-b_c.9"),
        ("name", "a" * 63),
    ],
)
def test_what_can_be_a_source_is_taken(field: str, value: object) -> None:
    assert getattr(new(**{field: value}), field) == value


# hosts


@given(host=st.lists(LABELS, min_size=1, max_size=4).map(".".join))
def test_host_names_are_taken_unless_they_end_like_a_number(host: str) -> None:
    last = host.rpartition(".")[2]
    numeric = last.isdecimal() or (
        last[:2].lower() == "0x" and set(last[2:]) <= set("0123456789abcdefABCDEF")
    )
    is_address = host.count(".") == 3 and all(
        part.isdecimal() and str(int(part)) == part and int(part) < 256 for part in host.split(".")
    )
    assert (host_fault(host) is None) is (not numeric or is_address)


@given(address=st.ip_addresses())
def test_addresses_are_taken(address: IPv4Address | IPv6Address) -> None:
    assert host_fault(str(address)) is None


@pytest.mark.parametrize("host", ["localhost", "db.example.com.", "a_b", "10.0.0.1", "::1", "xn--kse-qla.de"])
def test_one_name_or_address_is_a_host(host: str) -> None:
    assert host_fault(host) is None


@pytest.mark.parametrize(
    "host",
    [
        "",
        " ",
        ".",
        "a..b",
        "-a",
        "a-",
        "a b",
        "a,b",
        "10.0.0.1,10.0.0.2",
        "/var/run/postgresql",
        "@abstract",
        "0x7f.1",
        "0x7f000001",
        "0x",
        "2130706433",
        "127.1",
        "0177.0.0.1",
        "1.2.3.4.5",
        "256.1.1.1",
        "1.2.3.4.",
        "fe80::1%eth0",
        "[::1]",
        "a:5432",
        "user@host",
        "a\x00b",
        "a\n",
        "käse.de",
        "١.٢.٣.٤",
        "a" * 64,
        ".".join(["a" * 60] * 5),
    ],
)
def test_what_is_not_one_name_or_address_is_no_host(host: str) -> None:
    fault = host_fault(host)
    assert fault is not None
    assert fault.field == "host"


# certificates


@pytest.mark.parametrize(
    ("sslmode", "pem"),
    [
        (SslMode.PREFER, None),
        (SslMode.VERIFY_FULL, None),
        (SslMode.VERIFY_FULL, PEM),
        (SslMode.VERIFY_CA, PEM),
        (SslMode.VERIFY_CA, f"subject=/CN=root\n{PEM}{PEM}"),
        (
            SslMode.VERIFY_CA,
            f"# one\n{PEM}\n# two -- its private key is in a vault\n{OTHER_CERTIFICATE}\n\n",
        ),
        (SslMode.VERIFY_CA, (PEM + OTHER_CERTIFICATE).replace("\n", "\r\n")),
        (SslMode.VERIFY_CA, PEM.rstrip()),
        (SslMode.VERIFY_CA, PEM + "  \n"),
        (SslMode.VERIFY_CA, PEM.replace("-----\n", "-----  \n")),
        (SslMode.VERIFY_CA, TRUSTED_CERTIFICATE + PEM),
        (SslMode.VERIFY_CA, PEM.replace("CERTIFICATE", "X509 CERTIFICATE")),
        (SslMode.DISABLE, PEM),
    ],
)
def test_root_certificate_is_taken_or_left_to_the_system(sslmode: SslMode, pem: str | None) -> None:
    assert new(sslmode=sslmode, sslrootcert=pem).sslrootcert == pem


@pytest.mark.parametrize(
    ("sslmode", "pem"),
    [
        (SslMode.VERIFY_CA, None),
        (SslMode.VERIFY_FULL, ""),
        (SslMode.VERIFY_FULL, "/etc/ssl/root.crt"),
        (SslMode.VERIFY_FULL, SHAPE_ALONE),
        (SslMode.VERIFY_FULL, PEM + SHAPE_ALONE),
        (SslMode.VERIFY_FULL, PEM + PEM.partition("-----END")[0]),
        (SslMode.VERIFY_FULL, PEM[:200] + PEM[260:]),
        (SslMode.VERIFY_FULL, PEM.replace("\n", " ")),
        (SslMode.VERIFY_FULL, PEM.replace("\n", "\\n")),
        (SslMode.VERIFY_FULL, "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"),
        (SslMode.VERIFY_FULL, PEM + PEM.replace("CERTIFICATE", "X509 CRL")),
        (SslMode.VERIFY_FULL, "-----BEGIN CERTIFICATE-----\nAAAA\n" * 40_000),
        (SslMode.VERIFY_FULL, "-" * 1_000_000),
        (SslMode.VERIFY_FULL, PEM.partition("-----END")[0]),
        (SslMode.VERIFY_FULL, PEM + "\x00"),
        (SslMode.VERIFY_FULL, PEM + "ä"),
    ],
)
def test_what_is_no_root_certificate_is_refused(sslmode: SslMode, pem: str | None) -> None:
    assert fields_at_fault(sslmode=sslmode, sslrootcert=pem) == ["sslrootcert"]


@pytest.mark.parametrize("kind", ["", "RSA ", "EC ", "ENCRYPTED ", "OPENSSH ", "rsa "])
@pytest.mark.parametrize("order", ["{key}{pem}", "{pem}{key}", "{key}", "{pem}\nx{key}", "{pem}é{key}"])
def test_private_key_pasted_along_is_named_and_not_shown(kind: str, order: str) -> None:
    key = PRIVATE_KEY.replace("PRIVATE", f"{kind}PRIVATE")
    with pytest.raises(InvalidInput) as caught:
        new(sslmode=SslMode.VERIFY_CA, sslrootcert=order.format(key=key, pem=PEM))
    [fault] = caught.value.faults
    assert fault.message.startswith("holds a private key")
    assert KEY_TEXT not in caught.value.detail


def test_certificate_that_cannot_be_read_is_counted() -> None:
    with pytest.raises(InvalidInput, match="certificate 2 of 3 cannot be read"):
        new(sslrootcert=PEM + SHAPE_ALONE + PEM)


# bindings


@pytest.mark.parametrize(
    "change", [{"host": "DB.example.com"}, {"port": 5433}, {"dbname": "x"}, {"username": "x"}]
)
def test_binding_changes_with_where_the_password_goes(change: dict[str, object]) -> None:
    assert new(**change).binding != new().binding


@pytest.mark.parametrize(
    "change", [{"name": "other"}, {"max_concurrency": 9}, {"allow_user_functions": False}]
)
def test_binding_stays_with_everything_else(change: dict[str, object]) -> None:
    assert new(**change).binding == new().binding


def test_binding_is_the_same_before_and_after_storing() -> None:
    source = new()
    decided = {field.name: getattr(source, field.name) for field in fields(NewSource)}
    stored = DataSource(id=1, created_at=NOW, updated_at=NOW, **decided)
    assert stored.binding == source.binding
    assert source.binding == SourceBinding(host="db.example.com", port=5432, dbname="shop", username="reader")


def test_sealed_password_does_not_show_itself() -> None:
    sealed = SealedPassword(ciphertext=b"topsecret", algo="sealedbox-v1", key_version=1)
    assert "topsecret" not in repr(sealed) + str(sealed) + repr(new(password=sealed))
