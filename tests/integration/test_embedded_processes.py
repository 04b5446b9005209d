"""No process outlives its parent, and every user can run the server: processes of their own as parents."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg
import pytest
from postgres_fixtures import in_wheel

from pgsched.adapters.embedded import launching
from pgsched.adapters.embedded.attach import attach
from pgsched.adapters.embedded.postmaster import processes_in

#: starts a server, says so, and holds it until it is told to end (a line) or killed
PARENT = """
import asyncio, os, sys
from pathlib import Path
from pgsched.adapters.embedded.cluster import EmbeddedCluster

async def main():
    home, outside, pg_bin = sys.argv[1:]
    cluster = EmbeddedCluster(
        Path(home), outside=Path(outside), pg_bin=Path(pg_bin) if pg_bin else None, durable=False
    )
    print("starting", flush=True)
    await cluster.start()
    print(os.geteuid(), cluster.pid, flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await cluster.stop()

asyncio.run(main())
"""

#: runs a program as a user that no user database knows, as some container platforms do
NAMELESS = ("unshare", "-U", "--map-user=54321", "--map-group=54321")

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="is about root")


@pytest.fixture
def place():
    """A folder that every user can enter."""
    place = Path(tempfile.mkdtemp(prefix="pgsched-place-"))
    place.chmod(0o755)
    yield place
    shutil.rmtree(place)


class Parent:
    """A process that runs an embedded server."""

    def __init__(self, home: Path, outside: Path, *, prefix: tuple[str, ...] = (), pg_bin: Path | str = ""):
        command = [*prefix, sys.executable, "-c", PARENT, str(home), str(outside), str(pg_bin)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert self.process.stdout.readline() == "starting\n"

    def started(self) -> tuple[int, int]:
        """Wait for the server; return the parent's user id and the postmaster's process id."""
        uid, pid = self.process.stdout.readline().split()
        return int(uid), int(pid)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end(self) -> int:
        self.process.communicate("\n", timeout=40)
        return self.process.returncode


def owner(pid: int) -> int:
    """The user id a process runs as, as seen from here."""
    return Path(f"/proc/{pid}").stat().st_uid


def left_after(seconds: float, data: Path) -> list[int]:
    """The processes still on the data folder after at most so long."""
    end = time.monotonic() + seconds
    while (left := processes_in(data)) and time.monotonic() < end:
        time.sleep(0.05)
    return left


def value(home: Path, statement: str):
    with psycopg.connect(attach(home).dsn(), autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchone()[0] if cursor.description else None


@pytest.mark.parametrize("pg_bin", ["", next(in_wheel())], ids=["installed", "wheel"])
def test_server_dies_cleanly_with_a_killed_parent(place, pg_bin):
    home = place / "home"
    parent = Parent(home, place / "outside", pg_bin=pg_bin)
    parent.started()
    value(home, "CREATE TABLE t AS SELECT 7 AS a")
    parent.kill()
    assert left_after(5, home / "postgres" / "data") == []
    assert not (home / "postgres" / "data" / "postmaster.pid").exists(), "a clean shutdown removes it"
    again = Parent(home, place / "outside", pg_bin=pg_bin)
    again.started()
    assert value(home, "SELECT a FROM t") == 7
    assert again.end() == 0


def test_restart_right_after_a_killed_parent_waits_for_the_old_server(place):
    home = place / "home"
    Parent(home, place / "outside").kill()
    for _ in range(3):
        parent = Parent(home, place / "outside")
        parent.started()
        parent.kill()
    last = Parent(home, place / "outside")
    last.started()
    assert value(home, "SELECT 7") == 7
    assert last.end() == 0


@pytest.mark.parametrize("delay_s", [0.1, 0.25, 0.4])
def test_first_start_killed_half_way_is_healed_by_the_next(place, delay_s):
    home = place / "home"
    parent = Parent(home, place / "outside")
    time.sleep(delay_s)
    parent.kill()
    again = Parent(home, place / "outside")
    again.started()
    assert value(home, "SELECT current_user || current_database()") == "pgschedpgsched"
    assert list((home / "postgres").glob("initdb-*")) == []
    assert again.end() == 0
    assert processes_in(home / "postgres" / "data") == []


def test_ctrl_c_of_the_terminal_does_not_reach_the_server(place):
    home = place / "home"
    parent = Parent(home, place / "outside")
    _, pid = parent.started()
    assert os.getpgid(pid) != os.getpgid(parent.process.pid)
    assert os.getsid(pid) != os.getsid(parent.process.pid)
    assert parent.end() == 0


@root_only
def test_root_runs_the_server_masked_below_a_folder_only_root_may_enter(place):
    place.chmod(0o700)
    parent = Parent(place / "home", place / "outside")
    uid, pid = parent.started()
    assert uid == 0
    masked = Path(f"/proc/{pid}/uid_map").read_text().split()
    assert masked[0] != "0"
    assert masked[1:] == ["0", "1"]
    assert "CapEff:\t0000000000000000" in Path(f"/proc/{pid}/status").read_text()
    assert (place / "home" / "postgres" / "data").stat().st_uid == 0
    assert not (place / "outside").exists()
    assert parent.end() == 0


@root_only
def test_root_becomes_another_user_where_a_mask_does_not_help(place):
    # A masked root has no power over other users' folders: this home is out of its reach.
    closed = place / "closed"
    closed.mkdir(mode=0o700)
    os.chown(closed, pwd.getpwnam("nobody").pw_uid, -1)
    home = closed / "home"
    parent = Parent(home, place / "outside")
    uid, pid = parent.started()
    expected = launching.ordinary_user().pw_uid
    assert (uid, owner(pid)) == (0, expected)
    data = (home / "postgres" / "data").resolve()
    assert data.is_relative_to(place / "outside")
    assert data.stat().st_uid == expected
    assert closed.stat().st_mode & 0o777 == 0o700
    assert value(home, "SELECT 7") == 7
    value(home, "CREATE TABLE t AS SELECT 7 AS a")
    parent.kill()
    assert left_after(5, data) == []
    again = Parent(home, place / "outside")
    again.started()
    assert value(home, "SELECT a FROM t") == 7
    assert again.end() == 0


@root_only
def test_ordinary_user_runs_the_server_as_it_is(place):
    # In a namespace of its own this root is an ordinary user to every program, ours included.
    nobody = pwd.getpwnam("nobody").pw_uid
    parent = Parent(place / "home", place / "outside", prefix=("unshare", "-U", f"--map-user={nobody}"))
    uid, pid = parent.started()
    assert uid == nobody
    namespaces = [Path(f"/proc/{process}/ns/user").readlink() for process in (pid, parent.process.pid)]
    assert namespaces[0] == namespaces[1]
    assert parent.end() == 0


@root_only
def test_user_without_a_name_is_masked_by_one_that_has(place):
    parent = Parent(place / "home", place / "outside", prefix=NAMELESS)
    uid, pid = parent.started()
    assert uid == 54321
    assert Path(f"/proc/{pid}/uid_map").read_text().split()[0] != "54321"
    parent.kill()
    assert left_after(5, place / "home" / "postgres" / "data") == []


@pytest.mark.parametrize("guise", [launching.Guise(), "ordinary"], ids=["ourselves", "become"])
def test_leash_ends_the_program_where_the_kernel_has_no_parent_death_signal(guise):
    if guise == "ordinary":
        if os.geteuid() != 0:
            pytest.skip("only root becomes another user")
        user = launching.ordinary_user()
        guise = launching.Guise(become=(user.pw_uid, user.pw_gid))
    theirs, ours = os.pipe()
    command = launching.command(guise, Path("/"), Path("/bin/sleep"), "60", leash=theirs)
    process = subprocess.Popen(command, pass_fds=[theirs])
    os.close(theirs)
    time.sleep(0.5)
    assert process.poll() is None
    os.close(ours)
    assert process.wait(5) == -signal.SIGINT


def test_nothing_is_started_for_a_parent_that_is_gone():
    command = launching.command(launching.Guise(), Path("/"), Path("/bin/echo"), "started")
    order = command.index("/bin/echo") - 1
    command[order] = command[order].replace(f'"parent": {os.getpid()}', '"parent": 999999999')
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "launch: whoever ordered this is gone\n"


async def test_folder_out_of_reach_is_told():
    code, output = await launching.run(launching.Guise(), Path("/nowhere"), Path("/bin/true"))
    assert code == 1
    assert "launch: " in output
    assert "/nowhere" in output
