from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.public import PrivateKey, PublicKey, SealedBox

from pgsched.adapters.crypto.keygen import generate_pair, write_pair
from pgsched.adapters.crypto.keyring import PrivateKeyring, PublicKeyring
from pgsched.adapters.crypto.rings import KeyFileRings
from pgsched.adapters.crypto.vault import ALGO, SealedBoxVault
from pgsched.application.ports.secrets import PasswordVault
from pgsched.domain.errors import CannotOpen, InvalidInput, KeyFault, NoPrivateKey
from pgsched.domain.sources import SealedPassword, SourceBinding

KEYS = {version: bytes([version]) * 32 for version in (1, 2, 3)}
BINDING = SourceBinding(host="db.example.com", port=5432, dbname="shop", username="reader")
texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=80)
bindings = st.builds(SourceBinding, host=texts, port=st.integers(1, 65535), dbname=texts, username=texts)


def vault(*versions: int, opens: bool = True) -> SealedBoxVault:
    private = PrivateKeyring(keys={version: KEYS[version] for version in versions or (1,)})
    return SealedBoxVault(public=private.public(), private=private if opens else None)


def test_vault_is_a_password_vault() -> None:
    assert isinstance(vault(), PasswordVault)


@given(texts, bindings)
def test_vault_opens_what_it_sealed(password: str, binding: SourceBinding) -> None:
    sealed = vault().seal(password, binding)
    assert (sealed.algo, sealed.key_version) == ("sealedbox-v1", 1)
    assert vault().open(sealed, binding) == password


@given(bindings, bindings)
def test_vault_opens_for_the_same_binding_only(one: SourceBinding, other: SourceBinding) -> None:
    sealed = vault().seal("hunter22", one)
    if one == other:
        assert vault().open(sealed, other) == "hunter22"
    else:
        with pytest.raises(CannotOpen, match="another source"):
            vault().open(sealed, other)


@pytest.mark.parametrize(
    "change", [{"host": "DB.example.com"}, {"port": 5433}, {"dbname": "shop2"}, {"username": "admin"}]
)
def test_vault_refuses_an_envelope_moved_to_another_source(change: dict[str, object]) -> None:
    sealed = vault().seal("hunter22", BINDING)
    with pytest.raises(CannotOpen, match="another source") as caught:
        vault().open(sealed, dataclasses.replace(BINDING, **change))
    assert "hunter22" not in caught.value.detail


def test_vault_seals_differently_each_time() -> None:
    assert vault().seal("hunter22", BINDING).ciphertext != vault().seal("hunter22", BINDING).ciphertext


def test_vault_seals_without_a_private_key_and_does_not_open() -> None:
    sealing = vault(opens=False)
    sealed = sealing.seal("hunter22", BINDING)
    assert sealing.can_open is False
    assert vault().can_open is True
    with pytest.raises(NoPrivateKey, match="APP_PRIVATE_KEY_B64_PATH"):
        sealing.open(sealed, BINDING)
    assert vault().open(sealed, BINDING) == "hunter22"


def test_vault_without_a_public_key_only_opens() -> None:
    opening = SealedBoxVault(public=None, private=PrivateKeyring(keys={1: KEYS[1]}))
    assert opening.open(vault().seal("hunter22", BINDING), BINDING) == "hunter22"
    with pytest.raises(KeyFault, match="no public key"):
        opening.seal("hunter22", BINDING)
    with pytest.raises(KeyFault):
        _ = opening.current_version


def test_vault_seals_with_the_highest_version_and_opens_older_ones() -> None:
    old = vault(1).seal("hunter22", BINDING)
    both = vault(1, 3)
    assert both.current_version == 3
    assert both.seal("hunter23", BINDING).key_version == 3
    assert both.open(old, BINDING) == "hunter22"
    with pytest.raises(NoPrivateKey, match="version 1"):
        vault(2, 3).open(old, BINDING)


def test_vault_refuses_another_key_of_the_same_version() -> None:
    sealed = vault(1).seal("hunter22", BINDING)
    other = SealedBoxVault(public=None, private=PrivateKeyring(keys={1: KEYS[2]}))
    with pytest.raises(CannotOpen, match="damaged or was sealed for another key"):
        other.open(sealed, BINDING)


@given(st.data())
def test_vault_refuses_every_damaged_box(data: st.DataObject) -> None:
    sealed = vault().seal("hunter22", BINDING)
    box = bytearray(sealed.ciphertext)
    place = data.draw(st.integers(0, len(box) - 1))
    box[place] ^= data.draw(st.integers(1, 255))
    # the top bit of an X25519 key is ignored by its definition (RFC 7748 §5), but not by the box's nonce
    with pytest.raises(CannotOpen):
        vault().open(dataclasses.replace(sealed, ciphertext=bytes(box)), BINDING)


@given(st.binary(max_size=100))
def test_vault_refuses_nonsense(ciphertext: bytes) -> None:
    with pytest.raises(CannotOpen):
        vault().open(SealedPassword(ciphertext=ciphertext, algo=ALGO, key_version=1), BINDING)


def test_vault_refuses_an_unknown_format() -> None:
    sealed = dataclasses.replace(vault().seal("hunter22", BINDING), algo="sealedbox-v2")
    with pytest.raises(CannotOpen, match="format"):
        vault().open(sealed, BINDING)


def sealed_outside(content: bytes) -> SealedPassword:
    public = PrivateKey(KEYS[1]).public_key
    return SealedPassword(
        ciphertext=bytes(SealedBox(PublicKey(bytes(public))).encrypt(content)), algo=ALGO, key_version=1
    )


def test_vault_opens_the_documented_envelope_from_outside_in_any_json_spelling() -> None:
    envelope = {"v": 1, "password": "pä\u0000ß", **dataclasses.asdict(BINDING)}
    content = json.dumps(envelope, indent=2, ensure_ascii=True).encode()
    assert vault().open(sealed_outside(content), BINDING) == "pä\u0000ß"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hunter22",
        b"\xff\xfe",
        b"[]",
        b'"hunter22"',
        b'{"v":1}',
        b'{"v":2,"host":"db.example.com","port":5432,"dbname":"shop","username":"reader","password":"hunter22"}',
        b'{"v":1,"host":"db.example.com","port":5432,"dbname":"shop","username":"reader","password":22}',
        b"[" * 100_000,
    ],
)
def test_vault_refuses_what_is_no_envelope(content: bytes) -> None:
    with pytest.raises(CannotOpen, match="not a sealedbox-v1 envelope") as caught:
        vault().open(sealed_outside(content), BINDING)
    assert "hunter22" not in caught.value.detail


def test_vault_refuses_a_public_key_that_seals_nothing() -> None:
    with pytest.raises(KeyFault, match="not a usable"):
        SealedBoxVault(public=PublicKeyring(keys={1: bytes(32)})).seal("hunter22", BINDING)


def test_vault_refuses_half_a_character() -> None:
    with pytest.raises(InvalidInput) as caught:
        vault().seal("a\ud800", BINDING)
    assert caught.value.faults[0].field == "password"


def test_keyrings_and_sealed_passwords_show_no_secret() -> None:
    private = PrivateKeyring(keys={1: KEYS[1]})
    assert repr(KEYS[1])[2:10] not in repr(private)
    sealed = vault().seal("hunter22", BINDING)
    assert repr(sealed.ciphertext)[2:12] not in repr(sealed)


def test_vault_reads_key_files_again_when_they_change(tmp_path: Path) -> None:
    public, private = tmp_path / "public", tmp_path / "private"
    write_pair(generate_pair(), public=public, private=private)
    rings = KeyFileRings(public=public, private=private)
    vault = SealedBoxVault.load(public=public, private=private)
    old = vault.seal("hunter22", BINDING)
    rings.publish(rings.prepare())
    new = vault.seal("hunter22", BINDING)
    assert (old.key_version, new.key_version) == (1, 2)
    assert vault.open(old, BINDING) == vault.open(new, BINDING) == "hunter22"
    rings.retire(2)
    assert vault.open(new, BINDING) == "hunter22"
    with pytest.raises(NoPrivateKey):
        vault.open(old, BINDING)


@pytest.mark.parametrize("spoil", ["removed", "open", "torn"])
def test_vault_keeps_its_keys_while_a_file_is_unreadable(
    tmp_path: Path, spoil: str, caplog: pytest.LogCaptureFixture
) -> None:
    public, private = tmp_path / "public", tmp_path / "private"
    write_pair(generate_pair(), public=public, private=private)
    vault = SealedBoxVault.load(public=public, private=private)
    sealed = vault.seal("hunter22", BINDING)
    kept = private.read_bytes()
    private.unlink()
    if spoil != "removed":
        private.write_bytes(kept[:9] if spoil == "torn" else kept)
        private.chmod(0o644 if spoil == "open" else 0o600)
    for _ in range(3):
        assert vault.open(sealed, BINDING) == "hunter22"
    assert [record.action for record in caplog.records] == ["keys.unreadable"]
    assert kept.decode().strip() not in caplog.text


def test_ring_is_replaced_with_the_mode_and_the_link_it_had(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    public, private = tmp_path / "public", tmp_path / "real" / "private"
    write_pair(generate_pair(), public=public, private=private)
    private.chmod(0o400)
    link = tmp_path / "private"
    link.symlink_to(private)
    KeyFileRings(public=public, private=link).prepare()
    assert link.is_symlink()
    assert private.stat().st_mode & 0o777 == 0o400
    assert [line.partition(":")[0] for line in private.read_text().splitlines()] == ["1", "2"]
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["private", "private", "public", "real"]
