from __future__ import annotations

import os
from pathlib import Path

import pytest

from pgsched.config import load
from pgsched.domain.errors import SettingFault


def write(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / ".env"
    path.write_text(text)
    path.chmod(mode)
    return path


def test_dotenv_is_read_and_the_environment_wins(tmp_path: Path) -> None:
    write(
        tmp_path,
        "# comment\nexport SESSION_TTL_HOURS='5'\nSESSION_MAX_HOURS=6 # six\nLOG_DIR=\"/x y\"\nHOST=$HOME\n",
    )
    found = load({"SESSION_MAX_HOURS": "7"}, tmp_path)
    assert (found.session_ttl_hours, found.session_max_hours) == (5, 7)
    assert found.log_dir == Path("/x y")


def test_dotenv_is_overridden_by_an_empty_variable(tmp_path: Path) -> None:
    write(tmp_path, "PG_DSN_APP=dbname=x\n")
    assert load({}, tmp_path).pg_dsn_app == "dbname=x"
    assert load({"PG_DSN_APP": ""}, tmp_path).pg_dsn_app is None


def test_dotenv_values_are_not_interpolated(tmp_path: Path) -> None:
    write(tmp_path, "PG_DSN_APP=password=a${HOME}$b host=h\n")
    assert load({"HOME": "/home/ada"}, tmp_path).pg_dsn_app == "password=a${HOME}$b host=h"


def test_dotenv_cannot_choose_the_programs(tmp_path: Path) -> None:
    write(tmp_path, "PGSCHED_PG_BIN=/evil/bin\n")
    found = load({}, tmp_path)
    assert found.pgsched_pg_bin is None
    assert found.notes == ("PGSCHED_PG_BIN in .env is ignored; set it in the environment",)
    assert load({"PGSCHED_PG_BIN": "/good/bin"}, tmp_path).pgsched_pg_bin == Path("/good/bin")


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666, 0o660])
def test_dotenv_writable_by_others_is_refused(tmp_path: Path, mode: int) -> None:
    write(tmp_path, "PUBLIC_READ=0\n", mode)
    with pytest.raises(SettingFault, match=r"writable by others.*chmod go-w"):
        load({}, tmp_path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_dotenv_of_another_user_is_refused(tmp_path: Path) -> None:
    os.chown(write(tmp_path, "PUBLIC_READ=0\n"), 12345, 12345)
    with pytest.raises(SettingFault, match="belongs to another user"):
        load({}, tmp_path)


def test_dotenv_readable_by_others_is_taken(tmp_path: Path) -> None:
    write(tmp_path, "PUBLIC_READ=0\n", 0o644)
    assert load({}, tmp_path).public_read is False


def test_dotenv_with_a_broken_line_is_refused_without_showing_it(tmp_path: Path) -> None:
    write(tmp_path, "PUBLIC_READ=0\nARGON2_SECRET_KEY_B64='hunter22\n")
    with pytest.raises(SettingFault, match="line 2 is not NAME=value") as caught:
        load({}, tmp_path)
    assert "hunter22" not in caught.value.detail


@pytest.mark.parametrize("line", ["PUBLIC_READ", "export PUBLIC_READ", "PUBLIC_READ: 0"])
def test_dotenv_with_a_name_and_no_value_is_refused(line: str, tmp_path: Path) -> None:
    write(tmp_path, f"KEEP_DAYS=3\n{line}\n")
    with pytest.raises(SettingFault, match="line 2 is not NAME=value"):
        load({}, tmp_path)
    write(tmp_path, "PUBLIC_READ=\n")
    assert load({}, tmp_path).public_read is True


def test_dotenv_that_is_a_folder_is_ignored(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    assert load({}, tmp_path).public_read is True


def test_dotenv_that_is_a_fifo_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".env", 0o600)
    with pytest.raises(SettingFault, match="not a regular file"):
        load({}, tmp_path)


def test_dotenv_that_is_not_text_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "").write_bytes(b"PUBLIC_READ=\xff\n")
    with pytest.raises(SettingFault, match="not UTF-8"):
        load({}, tmp_path)


def test_key_paths_prefer_settings_then_home_then_the_folder(tmp_path: Path) -> None:
    here = load({}, tmp_path).key_paths()
    assert (here.public, here.private) == (tmp_path / "public_key.base64", None)

    keys = tmp_path / ".pgsched" / "keys"
    keys.mkdir(parents=True)
    (keys / "public_key.base64").touch()
    home = load({}, tmp_path).key_paths()
    assert (home.public, home.private) == (keys / "public_key.base64", None)
    (keys / "private_key.base64").touch()
    home = load({}, tmp_path).key_paths()
    assert (home.public, home.private) == (keys / "public_key.base64", keys / "private_key.base64")


def test_key_paths_never_mix_a_generated_key_with_a_set_one(tmp_path: Path) -> None:
    keys = tmp_path / ".pgsched" / "keys"
    keys.mkdir(parents=True)
    for name in ("public_key.base64", "private_key.base64"):
        (keys / name).touch()
    mine = load({"APP_PRIVATE_KEY_B64_PATH": "mine"}, tmp_path).key_paths()
    assert (mine.public, mine.private) == (tmp_path / "public_key.base64", tmp_path / "mine")
    mine = load({"PUBLIC_KEY_B64_PATH": "mine"}, tmp_path).key_paths()
    assert (mine.public, mine.private) == (tmp_path / "mine", None)
