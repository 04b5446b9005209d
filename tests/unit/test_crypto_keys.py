from __future__ import annotations

import base64
import os
import stat
from pathlib import Path

import pytest

from pgsched.adapters.crypto.keygen import KeyPair, generate_pair, write_pair
from pgsched.adapters.crypto.keyring import PrivateKeyring, PublicKeyring, fingerprint
from pgsched.domain.errors import KeyFault

ONE, TWO = (base64.b64encode(bytes([digit]) * 32).decode() for digit in (1, 2))


def key_file(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "key"
    path.write_text(text)
    path.chmod(mode)
    return path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_keyring_reads_one_bare_line_as_version_one(tmp_path: Path) -> None:
    for text in (ONE, f"{ONE}\n", f"\r\n  {ONE} \r\n"):
        assert PublicKeyring.load(key_file(tmp_path, text)).keys == {1: b"\x01" * 32}


def test_keyring_reads_versions_and_the_highest_seals(tmp_path: Path) -> None:
    ring = PublicKeyring.load(key_file(tmp_path, f"2:{TWO}\n1:{ONE}\n"))
    assert ring.keys == {1: b"\x01" * 32, 2: b"\x02" * 32}
    assert ring.current_version == 2
    assert PublicKeyring.load(key_file(tmp_path, f"7:{ONE}")).current_version == 7


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "is empty"),
        ("\n \n", "is empty"),
        ("nonsense!", "line 1 .* is not base64"),
        ("ключ", "line 1 .* is not base64"),
        (ONE[:-4], "holds 3[01] bytes; a key has 32|is not base64"),
        (base64.b64encode(b"x" * 64).decode(), "holds 64 bytes; a key has 32"),
        (f"{ONE}\n{TWO}\n", "line 1 .* is not version:base64"),
        (f"1:{ONE}\n{TWO}\n", "line 2 .* is not version:base64"),
        (f"1:{ONE}\n1:{TWO}\n", "repeats version 1"),
        (f"0:{ONE}\n", "is not base64"),
        (f"1:{ONE}\n2:short\n", "line 2"),
        ("x" * 100_000, "larger than 64 KiB"),
    ],
)
def test_keyring_refuses_a_malformed_file_by_line(tmp_path: Path, text: str, fault: str) -> None:
    path = key_file(tmp_path, text)
    with pytest.raises(KeyFault, match=fault) as caught:
        PrivateKeyring.load(path)
    assert str(path) in caught.value.detail
    assert ONE not in caught.value.detail


def test_keyring_says_what_to_do_about_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(KeyFault, match="does not exist; make a pair with pgsched keys gen"):
        PublicKeyring.load(tmp_path / "none")


def test_keyring_refuses_a_folder_and_a_fifo(tmp_path: Path) -> None:
    with pytest.raises(KeyFault, match="is a folder"):
        PublicKeyring.load(tmp_path)
    os.mkfifo(tmp_path / "fifo", 0o600)
    with pytest.raises(KeyFault, match="not a regular file"):
        PrivateKeyring.load(tmp_path / "fifo")


@pytest.mark.parametrize("bits", [0o640, 0o604, 0o644, 0o660, 0o601, 0o777])
def test_private_keyring_refuses_a_file_open_to_others(tmp_path: Path, bits: int) -> None:
    path = key_file(tmp_path, ONE, bits)
    with pytest.raises(KeyFault, match=r"open to others \(mode 0[0-7]{3}\); run: chmod 0600 ") as caught:
        PrivateKeyring.load(path)
    assert str(path) in caught.value.detail
    # the public file may be read by all
    assert PublicKeyring.load(path).current_version == 1


@pytest.mark.parametrize("bits", [0o600, 0o400])
def test_private_keyring_takes_a_file_of_its_owner_alone(tmp_path: Path, bits: int) -> None:
    assert PrivateKeyring.load(key_file(tmp_path, ONE, bits)).keys == {1: b"\x01" * 32}


def test_private_keyring_derives_its_public_half() -> None:
    pair = generate_pair()
    assert PrivateKeyring(keys={4: pair.private}).public().keys == {4: pair.public}


def test_key_pairs_are_random_and_show_no_private_key() -> None:
    one, other = generate_pair(), generate_pair()
    assert one.private != other.private
    assert fingerprint(one.public) != fingerprint(other.public)
    assert repr(one.private)[2:12] not in repr(one)


def test_written_pair_loads_and_is_private_under_any_umask(tmp_path: Path) -> None:
    pair = generate_pair()
    before = os.umask(0)
    try:
        write_pair(pair, public=tmp_path / "p", private=tmp_path / "s")
    finally:
        os.umask(before)
    assert PublicKeyring.load(tmp_path / "p").keys == {1: pair.public}
    assert PrivateKeyring.load(tmp_path / "s").keys == {1: pair.private}
    assert (mode(tmp_path / "p"), mode(tmp_path / "s")) == (0o644, 0o600)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p", "s"]
    assert (tmp_path / "p").read_bytes() == base64.b64encode(pair.public) + b"\n"


@pytest.mark.parametrize("there", ["p", "s"])
def test_written_pair_never_replaces_a_file_without_force(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("old")
    with pytest.raises(KeyFault, match=r"exists and was not touched.*--force"):
        write_pair(generate_pair(), public=tmp_path / "p", private=tmp_path / "s")
    assert [path.name for path in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text() == "old"


def test_written_pair_does_not_follow_a_dangling_link(tmp_path: Path) -> None:
    (tmp_path / "s").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KeyFault, match="exists"):
        write_pair(generate_pair(), public=tmp_path / "p", private=tmp_path / "s")
    assert not (tmp_path / "elsewhere").exists()


def test_written_pair_replaces_with_force_and_tightens_the_mode(tmp_path: Path) -> None:
    for name in ("p", "s"):
        (tmp_path / name).write_text("old")
        (tmp_path / name).chmod(0o666)
    pair = generate_pair()
    write_pair(pair, public=tmp_path / "p", private=tmp_path / "s", force=True)
    assert PrivateKeyring.load(tmp_path / "s").public().keys == PublicKeyring.load(tmp_path / "p").keys
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p", "s"]


@pytest.mark.parametrize("force", [False, True])
def test_written_pair_is_both_or_none(tmp_path: Path, force: bool) -> None:
    with pytest.raises(KeyFault, match="cannot be written"):
        write_pair(generate_pair(), public=tmp_path / "no" / "p", private=tmp_path / "s", force=force)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "p").mkdir()
    (tmp_path / "s").write_text("old")
    with pytest.raises(KeyFault, match="is a folder"):
        write_pair(generate_pair(), public=tmp_path / "p", private=tmp_path / "s", force=True)
    assert (tmp_path / "s").read_text() == "old"


def test_written_pair_puts_the_first_back_when_the_second_appears_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process makes the public file between the check and the write."""
    link = os.link

    def racing(source: Path, target: Path, **rest: bool) -> None:
        if Path(target).name == "s":
            (tmp_path / "p").write_text("of another process")
        link(source, target, **rest)

    monkeypatch.setattr(os, "link", racing)
    with pytest.raises(KeyFault, match="p exists"):
        write_pair(generate_pair(), public=tmp_path / "p", private=tmp_path / "s")
    assert [path.name for path in tmp_path.iterdir()] == ["p"]
    assert (tmp_path / "p").read_text() == "of another process"


def test_written_pair_puts_the_old_one_back_when_the_second_cannot_be_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("p", "s"):
        (tmp_path / name).write_text(f"old {name}")
    replace = Path.replace

    def failing(self: Path, target: Path) -> Path:
        if Path(target).name == "p":
            raise OSError(28, "No space left on device")
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", failing)
    with pytest.raises(KeyFault, match="No space left"):
        write_pair(generate_pair(), public=tmp_path / "p", private=tmp_path / "s", force=True)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"p": "old p", "s": "old s"}


def test_written_pair_needs_two_files(tmp_path: Path) -> None:
    pair = KeyPair(public=b"p" * 32, private=b"s" * 32)
    with pytest.raises(KeyFault, match="name two files"):
        write_pair(pair, public=tmp_path / "k", private=tmp_path / "k", force=True)
