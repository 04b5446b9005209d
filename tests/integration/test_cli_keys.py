from __future__ import annotations

import base64
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from pgsched.adapters.crypto.keygen import generate_pair
from pgsched.adapters.crypto.vault import SealedBoxVault
from pgsched.domain.sources import SourceBinding


def keys(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {
        name: value for name, value in os.environ.items() if "KEY_B64" not in name and "PGSCHED" not in name
    }
    return subprocess.run(
        [sys.executable, "-m", "pgsched", "keys", *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**kept, **environment},
        stdin=subprocess.DEVNULL,
    )


def made(folder: Path) -> dict[str, str]:
    done = keys(folder, "gen", "--public", "public_key.base64", "--private", "private.key")
    assert done.returncode == 0, done.stderr
    return {"APP_PRIVATE_KEY_B64_PATH": "private.key"}


def refused(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("Error: ")
    return done.stderr


def test_gen_writes_one_base64_line_each(tmp_path: Path) -> None:
    made(tmp_path)
    for name, mode in (("public_key.base64", 0o644), ("private.key", 0o600)):
        raw = (tmp_path / name).read_bytes()
        assert raw.count(b"\n") == 1
        assert len(base64.b64decode(raw, validate=False)) == 32
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == mode
    vault = SealedBoxVault.load(public=tmp_path / "public_key.base64", private=tmp_path / "private.key")
    binding = SourceBinding(host="h", port=1, dbname="d", username="u")
    assert vault.open(vault.seal("hunter22", binding), binding) == "hunter22"


def test_gen_prints_json_without_the_private_key(tmp_path: Path) -> None:
    done = keys(tmp_path, "gen", "--public", "p", "--private", "s", "--json")
    shown = json.loads(done.stdout)
    assert shown["version"] == 1
    assert (shown["public"], shown["private"]) == (str(tmp_path / "p"), str(tmp_path / "s"))
    assert (tmp_path / "s").read_text().strip() not in done.stdout


@pytest.mark.parametrize("there", ["p", "s"])
def test_gen_never_overwrites_without_force(tmp_path: Path, there: str) -> None:
    (tmp_path / there).write_text("old")
    assert f"{there} exists" in refused(keys(tmp_path, "gen", "--public", "p", "--private", "s"))
    assert [path.name for path in tmp_path.iterdir()] == [there]
    assert (tmp_path / there).read_text() == "old"
    assert keys(tmp_path, "gen", "--public", "p", "--private", "s", "--force").returncode == 0
    assert (tmp_path / there).read_text() != "old"


def test_gen_into_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "No such file" in refused(keys(tmp_path, "gen", "--public", "no/p", "--private", "no/s"))


def test_check_passes_for_a_pair(tmp_path: Path) -> None:
    done = keys(tmp_path, "check", "--json", **made(tmp_path))
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"ok": True, "seals": 1, "opens": [1], "sources": None}


def test_check_passes_where_only_sealing_is_done(tmp_path: Path) -> None:
    made(tmp_path)
    done = keys(tmp_path, "check", "--json")
    assert json.loads(done.stdout) == {"ok": True, "seals": 1, "opens": [], "sources": None}


def test_check_refuses_keys_that_are_no_pair(tmp_path: Path) -> None:
    environment = made(tmp_path)
    (tmp_path / "public_key.base64").write_bytes(base64.b64encode(generate_pair().public))
    assert "not a pair" in refused(keys(tmp_path, "check", **environment))


def test_check_refuses_a_private_key_open_to_others(tmp_path: Path) -> None:
    environment = made(tmp_path)
    (tmp_path / "private.key").chmod(0o640)
    assert f"chmod 0600 {tmp_path / 'private.key'}" in refused(keys(tmp_path, "check", **environment))


def test_check_refuses_a_missing_key_and_names_the_command(tmp_path: Path) -> None:
    assert "pgsched keys gen" in refused(keys(tmp_path, "check"))


def test_check_refuses_when_what_is_sealed_could_not_be_opened(tmp_path: Path) -> None:
    environment = made(tmp_path)
    old = (tmp_path / "public_key.base64").read_text().strip()
    new = base64.b64encode(generate_pair().public).decode()
    (tmp_path / "public_key.base64").write_text(f"1:{old}\n2:{new}\n")
    assert "does not hold version 2" in refused(keys(tmp_path, "check", **environment))


def test_list_shows_every_version_newest_first(tmp_path: Path) -> None:
    environment = made(tmp_path)
    old = (tmp_path / "public_key.base64").read_text().strip()
    new = base64.b64encode(generate_pair().public).decode()
    (tmp_path / "public_key.base64").write_text(f"1:{old}\n2:{new}\n")
    done = keys(tmp_path, "list", "--json", **environment)
    assert done.returncode == 0, done.stderr
    found = [(row["version"], row["seals"], row["opens"]) for row in json.loads(done.stdout)]
    assert found == [(2, True, False), (1, False, True)]
    assert keys(tmp_path, "list", **environment).stdout.splitlines()[0].split() == [
        "VERSION",
        "FINGERPRINT",
        "SEALS",
        "OPENS",
        "SOURCES",
    ]


def test_bad_setting_stops_a_command_in_one_line(tmp_path: Path) -> None:
    done = keys(tmp_path, "check", SESSION_TTL_HOURS="soon")
    assert refused(done).startswith("Error: SESSION_TTL_HOURS: 'soon' is not a whole number from 1 to 87600")
