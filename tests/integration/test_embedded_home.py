"""PGSCHED_HOME: who may look in, what is refused, and using the server from another process."""

from __future__ import annotations

import os
import signal
import stat
from pathlib import Path

import pytest

from pgsched.adapters.embedded.attach import attach
from pgsched.adapters.embedded.cluster import EmbeddedCluster
from pgsched.adapters.embedded.postmaster import processes_in, read_pid_file
from pgsched.domain.errors import EmbeddedFault, SettingFault


@pytest.fixture
async def cluster(tmp_path):
    """A server that is not started yet, and surely stopped afterwards."""
    cluster = EmbeddedCluster(tmp_path / "home", durable=False)
    yield cluster
    await cluster.stop()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


async def test_attach_finds_the_running_server(cluster):
    started = await cluster.start()
    assert attach(cluster.layout.home) == started


async def test_attach_without_a_server_says_what_to_do(cluster):
    for _ in range(2):
        with pytest.raises(EmbeddedFault) as caught:
            attach(cluster.layout.home)
        assert caught.value.detail == (
            f"the embedded Postgres under {cluster.layout.home} is not running; "
            "start `pgsched up` or set PG_DSN_APP"
        )
        # Once before anything exists, once with a data folder whose server was stopped.
        await cluster.start()
        await cluster.stop()


def test_attach_makes_nothing(tmp_path):
    with pytest.raises(EmbeddedFault):
        attach(tmp_path / "home")
    assert list(tmp_path.iterdir()) == []


async def test_attach_to_a_killed_server_says_it_is_not_running(cluster):
    await cluster.start()
    os.kill(cluster.pid, signal.SIGKILL)
    await cluster.wait()
    assert read_pid_file(cluster.layout.data) is not None
    with pytest.raises(EmbeddedFault, match="is not running"):
        attach(cluster.layout.home)


async def test_home_of_ours_that_is_too_open_is_narrowed_and_its_parent_not(cluster):
    parent = cluster.layout.home.parent
    parent.chmod(0o755)
    cluster.layout.home.mkdir(mode=0o755)
    await cluster.start()
    assert (mode(cluster.layout.home), mode(parent)) == (0o700, 0o755)


async def test_home_that_holds_other_things_is_left_alone(cluster):
    cluster.layout.home.mkdir()
    cluster.layout.home.chmod(0o755)
    (cluster.layout.home / "thesis.txt").write_text("years of work")
    with pytest.raises(SettingFault, match="holds other files; choose a folder of its own") as caught:
        await cluster.start()
    assert caught.value.variable == "PGSCHED_HOME"
    assert mode(cluster.layout.home) == 0o755


@pytest.mark.parametrize("place", ["file", "file/below"])
async def test_home_that_is_no_folder_is_refused(tmp_path, place):
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingFault, match=r"PGSCHED_HOME: .* cannot be used: "):
        await EmbeddedCluster(tmp_path / place).start()


async def test_data_that_is_no_postgres_is_not_overwritten(cluster):
    (cluster.layout.data).mkdir(parents=True)
    cluster.layout.home.chmod(0o700)
    (cluster.layout.data / "thesis.txt").write_text("years of work")
    with pytest.raises(EmbeddedFault, match="is no data folder of Postgres; move it away"):
        await cluster.start()
    assert (cluster.layout.data / "thesis.txt").exists()


async def test_lock_that_cannot_be_opened_is_told(cluster):
    cluster.layout.lock.mkdir(parents=True)
    cluster.layout.home.chmod(0o700)
    with pytest.raises(EmbeddedFault, match="lock cannot be used: Is a directory"):
        await cluster.start()


async def test_folder_that_cannot_be_used_is_told_without_a_process_left(cluster):
    await cluster.start()
    await cluster.stop()
    cluster.layout.log.unlink()
    cluster.layout.log.mkdir()
    with pytest.raises(EmbeddedFault, match=r"cannot use .*postgres: .*Is a directory: .*postgres\.log"):
        await cluster.start()
    assert processes_in(cluster.layout.data) == []


async def test_everything_kept_is_closed_to_others(cluster):
    await cluster.start()
    folder = cluster.layout.folder
    assert [mode(path) for path in (cluster.layout.home, folder, cluster.layout.data)] == [0o700] * 3
    files = [path for path in folder.iterdir() if path.is_file()]
    assert {path.name for path in files} >= {"application-password", "superuser-password", "postgres.log"}
    assert {mode(path) for path in files} == {0o600}
