"""The clauses of the ports to what keeps secrets, on their real adapters and in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from nacl.public import PrivateKey, SealedBox

from pgsched.adapters.crypto.keygen import generate_pair, write_pair
from pgsched.adapters.crypto.keyring import PrivateKeyring, PublicKeyring
from pgsched.adapters.crypto.passwords import Argon2Passwords
from pgsched.adapters.crypto.rings import KeyFileRings
from pgsched.adapters.crypto.vault import SealedBoxVault
from pgsched.adapters.memory.secrets import MemoryKeyRings, OpenVault, PlainHasher, sealed_bare
from pgsched.application.ports.secrets import KeyRings, KeyVersions, PasswordHasher, PasswordVault
from pgsched.domain.errors import CannotOpen, KeyFault, NoPrivateKey
from pgsched.domain.sources import SourceBinding

KEYS = {version: PrivateKey(bytes([version]) * 32) for version in (1, 2)}
BINDING = SourceBinding(host="db.example.com", port=5432, dbname="shop", username="reader")
PASSWORD = "hunter22-pä\u0000ß'\\"

MakeVault = Callable[[set[int], set[int]], PasswordVault]
MakeHasher = Callable[[str], PasswordHasher]


def open_vault(sealing: set[int], opening: set[int]) -> PasswordVault:
    return OpenVault(sealing=max(sealing, default=None), opening=opening)


def sealed_box_vault(sealing: set[int], opening: set[int]) -> PasswordVault:
    public = PublicKeyring(keys={version: bytes(KEYS[version].public_key) for version in sealing})
    private = PrivateKeyring(keys={version: bytes(KEYS[version]) for version in opening})
    return SealedBoxVault(public=public if sealing else None, private=private if opening else None)


@pytest.fixture(params=[open_vault, sealed_box_vault])
def vault(request: pytest.FixtureRequest) -> MakeVault:
    return request.param


def test_what_was_sealed_opens_for_the_same_source(vault: MakeVault) -> None:
    sealed = vault({1}, set()).seal(PASSWORD, BINDING)
    assert vault(set(), {1}).open(sealed, BINDING) == PASSWORD


def test_empty_password_is_one(vault: MakeVault) -> None:
    made = vault({1}, {1})
    assert made.open(made.seal("", BINDING), BINDING) == ""


def test_sealed_password_does_not_show_the_password(vault: MakeVault) -> None:
    sealed = vault({1}, set()).seal("hunter22", BINDING)
    assert b"hunter22" not in sealed.ciphertext
    assert "hunter22" not in repr(sealed)


@pytest.mark.parametrize(
    "change", [{"host": "DB.example.com"}, {"port": 1}, {"dbname": "x"}, {"username": "x"}]
)
def test_password_moved_to_another_source_does_not_open(vault: MakeVault, change: dict) -> None:
    made = vault({1}, {1})
    sealed = made.seal("hunter22", BINDING)
    with pytest.raises(CannotOpen) as caught:
        made.open(sealed, replace(BINDING, **change))
    assert "hunter22" not in caught.value.detail


def test_damaged_password_does_not_open(vault: MakeVault) -> None:
    made = vault({1}, {1})
    sealed = made.seal("hunter22", BINDING)
    last = sealed.ciphertext[-1] ^ 1
    for damaged in (sealed.ciphertext[:-1] + bytes([last]), sealed.ciphertext[:-1], b""):
        with pytest.raises(CannotOpen):
            made.open(replace(sealed, ciphertext=damaged), BINDING)


def test_password_in_another_format_does_not_open(vault: MakeVault) -> None:
    made = vault({1}, {1})
    with pytest.raises(CannotOpen):
        made.open(replace(made.seal("hunter22", BINDING), algo="rot13"), BINDING)


def test_password_said_to_be_sealed_with_another_key_does_not_open(vault: MakeVault) -> None:
    made = vault({1}, {1, 2})
    with pytest.raises(CannotOpen):
        made.open(replace(made.seal("hunter22", BINDING), key_version=2), BINDING)


def test_highest_key_seals_and_older_ones_still_open(vault: MakeVault) -> None:
    old = vault({1}, set()).seal("hunter22", BINDING)
    both = vault({1, 2}, {1, 2})
    assert (both.current_version, both.seal("hunter22", BINDING).key_version) == (2, 2)
    assert both.open(old, BINDING) == "hunter22"


def test_without_its_private_key_a_password_does_not_open(vault: MakeVault) -> None:
    sealed = vault({2}, set()).seal("hunter22", BINDING)
    assert vault({2}, {1}).can_open is True
    assert vault({2}, set()).can_open is False
    for opening in ({1}, set()):
        with pytest.raises(NoPrivateKey):
            vault({2}, opening).open(sealed, BINDING)


def test_without_a_public_key_nothing_is_sealed(vault: MakeVault) -> None:
    made = vault(set(), {1})
    with pytest.raises(KeyFault):
        made.seal("hunter22", BINDING)
    with pytest.raises(KeyFault):
        _ = made.current_version


def bare(vault: PasswordVault, password: str) -> bytes:
    """A password sealed by somebody who knows the public key and no envelope."""
    if isinstance(vault, OpenVault):
        return sealed_bare(password)
    return bytes(SealedBox(KEYS[1].public_key).encrypt(password.encode()))


def test_envelope_and_bare_password_from_outside_open(vault: MakeVault) -> None:
    made = vault({1}, {1})
    sealed = made.seal("hunter22", BINDING)
    assert sealed.algo == made.algo
    assert made.open_given(sealed.ciphertext, BINDING, key_version=1) == "hunter22"
    assert made.open_given(sealed.ciphertext, BINDING, key_version=1, bound=True) == "hunter22"
    assert made.open_given(bare(made, "hünter22"), BINDING, key_version=1) == "hünter22"


def test_envelope_of_another_source_is_not_taken_from_outside(vault: MakeVault) -> None:
    made = vault({1}, {1})
    sealed = made.seal("hunter22", replace(BINDING, host="elsewhere"))
    with pytest.raises(CannotOpen) as caught:
        made.open_given(sealed.ciphertext, BINDING, key_version=1)
    assert "hunter22" not in caught.value.detail


def test_bare_password_is_no_envelope(vault: MakeVault) -> None:
    made = vault({1}, {1})
    with pytest.raises(CannotOpen):
        made.open_given(bare(made, "hunter22"), BINDING, key_version=1, bound=True)


def test_nothing_from_outside_opens_without_its_private_key(vault: MakeVault) -> None:
    made = vault({1}, {1})
    for opening, version in ((set(), 1), ({1}, 2)):
        with pytest.raises(NoPrivateKey):
            vault({1}, opening).open_given(bare(made, "hunter22"), BINDING, key_version=version)
    for damaged in (b"", b"x" * 100):
        with pytest.raises(CannotOpen):
            made.open_given(damaged, BINDING, key_version=1)


# rings


def memory_rings(_folder: Path) -> KeyRings:
    return MemoryKeyRings()


def file_rings(folder: Path) -> KeyRings:
    write_pair(generate_pair(), public=folder / "public", private=folder / "private")
    return KeyFileRings(public=folder / "public", private=folder / "private")


@pytest.fixture(params=[memory_rings, file_rings])
def rings(request: pytest.FixtureRequest, tmp_path: Path) -> KeyRings:
    return request.param(tmp_path)


def test_rings_rotate_step_by_step(rings: KeyRings) -> None:
    assert rings.versions() == KeyVersions(sealing=frozenset({1}), opening=frozenset({1}))
    assert not rings.versions().rotating
    assert rings.prepare() == 2
    assert rings.versions() == KeyVersions(sealing=frozenset({1}), opening=frozenset({1, 2}))
    assert rings.versions().newest == 2
    rings.publish(2)
    assert rings.versions() == KeyVersions(sealing=frozenset({1, 2}), opening=frozenset({1, 2}))
    rings.retire(2)
    assert rings.versions() == KeyVersions(sealing=frozenset({2}), opening=frozenset({2}))
    rings.retire(2)
    assert rings.versions().newest == 2


def test_rings_are_held_by_one(rings: KeyRings) -> None:
    with rings.held(), pytest.raises(KeyFault), rings.held():
        pass
    with rings.held():
        pass


# hashes


def plain_hasher(pepper: str) -> PasswordHasher:
    return PlainHasher(pepper.encode())


def argon2_hasher(pepper: str) -> PasswordHasher:
    return Argon2Passwords(pepper.encode().ljust(32))


@pytest.fixture(params=[plain_hasher, argon2_hasher])
def hasher(request: pytest.FixtureRequest) -> MakeHasher:
    return request.param


def test_hash_is_of_that_password_alone(hasher: MakeHasher) -> None:
    made = hasher("pepper")
    hashed = made.hash(PASSWORD)
    assert made.verify(hashed, PASSWORD) is True
    assert made.verify(hashed, PASSWORD + " ") is False
    assert made.verify(hashed, "") is False
    assert made.needs_rehash(hashed) is False


def test_hash_has_a_fresh_salt_and_shows_nothing(hasher: MakeHasher) -> None:
    made = hasher("pepper")
    first, second = made.hash("hunter22"), made.hash("hunter22")
    assert first != second
    assert "hunter22" not in first
    assert "pepper" not in first + repr(made)


def test_hash_under_another_pepper_is_no_match_and_needs_a_new_one(hasher: MakeHasher) -> None:
    hashed = hasher("pepper").hash("hunter22")
    assert hasher("salt").verify(hashed, "hunter22") is False
    assert hasher("salt").needs_rehash(hashed) is True


@pytest.mark.parametrize("malformed", ["", "x", "$", "$plain$", "$argon2id$v=19$m=1$$", "a\x00b", "$" * 50])
def test_malformed_hash_matches_nothing(hasher: MakeHasher, malformed: str) -> None:
    made = hasher("pepper")
    assert made.verify(malformed, "hunter22") is False
    assert made.needs_rehash(malformed) is True


def test_password_that_is_no_text_matches_nothing(hasher: MakeHasher) -> None:
    made = hasher("pepper")
    assert made.verify(made.hash("a"), "\ud800") is False
