"""The running server: what its pid file says, and ending what an earlier one left behind.

The pid file's lines are described in Postgres's ``miscadmin.h``: process id, data folder, start time, port,
socket folder, address, shared memory, status.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from pgsched.domain.errors import EmbeddedFault

#: how long each step of ending left-over processes may take, in seconds
PATIENCE_S = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class PidFile:
    """What ``postmaster.pid`` says."""

    #: process id of the postmaster
    pid: int
    #: TCP port, 0 when it is not written yet
    port: int
    #: address it listens on, empty when it is not written yet
    host: str
    #: ``starting``, ``ready``, ``stopping`` …, empty when it is not written yet
    status: str


def read_pid_file(data: Path) -> PidFile | None:
    """Return what the pid file of a data folder says, None when there is none or it is not written yet."""
    try:
        lines = (data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        lines += [""] * (8 - len(lines))
        return PidFile(
            pid=int(lines[0]), port=int(lines[3] or 0), host=lines[5].strip(), status=lines[7].strip()
        )
    except (OSError, ValueError, UnicodeDecodeError):
        return None


def alive(pid: int) -> bool:
    """Return whether a process with this id exists, a zombie or another user's included."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def serves(pid: int, data: Path) -> bool:
    """Return whether the process is there and is a server on this data folder.

    Guards against a stale pid file whose number belongs to a stranger by now. A zombie serves nothing.
    """
    if pid <= 0 or not alive(pid):
        return False
    if sys.platform != "linux":
        return command_names(pid, data)
    try:
        return Path(f"/proc/{pid}/cwd").readlink() == data.resolve()
    except PermissionError:
        return True
    except OSError:
        return False


def command_names(pid: int, data: Path) -> bool:
    """Return whether ps(1) shows a postgres on this data folder, for systems without /proc."""
    shown = subprocess.run(  # noqa: S603 - fixed program and an integer
        ["/bin/ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout
    return "postgres" in shown and f"-D {data.resolve()}" in shown


def processes_in(data: Path) -> list[int]:
    """Return the ids of all processes of a server on this data folder, its postmaster or not.

    Every Postgres process works in its data folder (proc(5), ``cwd``). Empty where there is no /proc.
    """
    place, found = data.resolve(), []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cwd").readlink() == place and (entry / "exe").readlink().name.startswith("postgres"):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


async def end_leftovers(data: Path) -> None:
    """End what a server that was killed left running on the data folder.

    After kill -9 of a postmaster a busy backend lives on, keeps the shared memory and blocks the next
    start. The caller holds the home's lock, so no server here is anyone's any more; one that is just
    shutting down is given the time for it.

    Raises EmbeddedFault when something does not end.
    """
    leader = read_pid_file(data)
    if leader is not None and serves(leader.pid, data):
        send([leader.pid], signal.SIGINT)
        await gone(data, PATIENCE_S)
    for step in (signal.SIGQUIT, signal.SIGKILL):
        left = remaining(data)
        if not left:
            break
        send(left, step)
        await gone(data, PATIENCE_S)
    left = remaining(data)
    if left:
        raise EmbeddedFault(
            f"an earlier embedded Postgres still runs on {data} and does not end "
            f"(process {', '.join(map(str, left))}); end it and start again"
        )
    if leader is not None and alive(leader.pid) and sys.platform == "linux":
        # Its number is a stranger's (or a zombie's) now, at which Postgres would refuse to start. The file
        # also guards against backends left over; here every process was looked at, so it may go.
        (data / "postmaster.pid").unlink(missing_ok=True)


def remaining(data: Path) -> list[int]:
    """Return the processes that still are there, also where there is no /proc to see them all."""
    leader = read_pid_file(data)
    found = set(processes_in(data))
    if leader is not None and serves(leader.pid, data):
        found.add(leader.pid)
    return sorted(found)


async def gone(data: Path, patience_s: float) -> bool:
    """Wait until no process is left on the data folder, at most so long; return whether that is so."""
    end = time.monotonic() + patience_s
    while remaining(data):
        if time.monotonic() > end:
            return False
        await asyncio.sleep(0.05)
    return True


def send(pids: list[int], number: signal.Signals) -> None:
    """Send a signal to those that are still there."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue
