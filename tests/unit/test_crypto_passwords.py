from __future__ import annotations

import logging
import re

import pytest
from argon2.low_level import Type, hash_secret

from pgsched.adapters.crypto.passwords import Argon2Passwords, _argon2id, _Cost
from pgsched.application.ports.secrets import PasswordHasher

PEPPER, OTHER = b"p" * 32, b"q" * 64


def test_passwords_are_a_password_hasher() -> None:
    assert isinstance(Argon2Passwords(PEPPER), PasswordHasher)


def test_passwords_verify_what_they_hashed() -> None:
    hasher = Argon2Passwords(PEPPER)
    for password in ("hunter22", "ключ от двери", "\0" * 8, "x" * 1024):
        stored = hasher.hash(password)
        assert hasher.verify(stored, password)
        assert not hasher.verify(stored, f"{password}x")
        assert not hasher.needs_rehash(stored)


def test_password_hash_is_a_phc_string_with_its_own_salt() -> None:
    one, other = (Argon2Passwords(PEPPER).hash("hunter22") for _ in range(2))
    shape = r"\$argon2id\$v=19\$m=19456,t=2,p=1,keyid=[A-Za-z0-9+/]{8}\$[A-Za-z0-9+/]{22}\$[A-Za-z0-9+/]{43}"
    assert re.fullmatch(shape, one)
    assert one != other


def test_password_hash_depends_on_the_pepper(caplog: pytest.LogCaptureFixture) -> None:
    stored = Argon2Passwords(PEPPER).hash("hunter22")
    changed = Argon2Passwords(OTHER)
    with caplog.at_level(logging.WARNING):
        assert not changed.verify(stored, "hunter22")
    assert "another pepper" in caplog.text
    assert "hunter22" not in caplog.text
    assert changed.needs_rehash(stored)
    # not only its name is compared
    renamed = stored.replace(stored.split("keyid=")[1][:8], changed.hash("x" * 8).split("keyid=")[1][:8])
    assert not changed.verify(renamed, "hunter22")


def test_passwords_take_a_hash_of_other_tools_without_pepper_once() -> None:
    plain = hash_secret(b"hunter22", b"s" * 16, 3, 8192, 2, 24, Type.ID).decode()
    hasher = Argon2Passwords(PEPPER)
    assert hasher.verify(plain, "hunter22")
    assert not hasher.verify(plain, "hunter23")
    assert hasher.needs_rehash(plain)


def test_argon2id_meets_the_test_vector_of_rfc_9106() -> None:
    cost = _Cost(memory_kib=32, passes=3, lanes=4)
    tag = _argon2id(b"\x01" * 32, b"\x02" * 16, b"\x03" * 8, cost, 32, b"\x04" * 12)
    assert tag.hex() == "0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659"


@pytest.mark.parametrize(
    "stored",
    [
        "",
        "hunter22",
        "$argon2i$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA",
        "$argon2id$v=16$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA",
        "$argon2id$v=19$m=9999999,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA",
        "$argon2id$v=19$m=19456,t=999,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA",
        "$argon2id$v=19$m=4,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA",
        "$argon2id$v=19$m=19456,t=2,p=1$c2Fsd$aGFzaA",
        "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA\n",
    ],
)
def test_passwords_refuse_a_malformed_hash(stored: str) -> None:
    hasher = Argon2Passwords(PEPPER)
    assert not hasher.verify(stored, "hunter22")
    assert hasher.needs_rehash(stored)


def test_passwords_refuse_half_a_character() -> None:
    hasher = Argon2Passwords(PEPPER)
    assert not hasher.verify(hasher.hash("hunter22"), "a\ud800")


@pytest.mark.parametrize("size", [0, 31, 65])
def test_pepper_has_32_to_64_bytes(size: int) -> None:
    with pytest.raises(ValueError, match="32 to 64"):
        Argon2Passwords(b"p" * size)


def test_passwords_show_no_pepper() -> None:
    assert "pppp" not in repr(Argon2Passwords(PEPPER))
