"""Programs of other people that tests speak to: on this machine, or unpacked by ``make tools``."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

from pgsched.adapters.embedded.binaries import find_programs

_ROOT = Path(__file__).parents[2] / ".tools"
_PLACES = [str(_ROOT / folder) for folder in ("usr/bin", "usr/sbin", "bin", "sbin")]
_SYSTEM = ["/usr/sbin", "/usr/local/sbin", "/sbin"]


def missing(name: str) -> NoReturn:
    """Fail the test where everything is to be there, in CI and ``make test``; else skip it."""
    required = os.environ.get("CI") or os.environ.get("PGSCHED_TEST_TOOLS")
    (pytest.fail if required else pytest.skip)(f"{name} is not here: make tools")


def program(name: str) -> str:
    """Where a program is, of the system, unpacked, or of the Postgres that tests run on."""
    places = [os.environ.get("PATH", ""), *_SYSTEM, *_PLACES, str(find_programs().bindir)]
    return shutil.which(name, path=os.pathsep.join(places)) or missing(name)


def folder(*names: str) -> Path:
    """A folder of a package, in the system or unpacked."""
    for root in (Path("/"), _ROOT):
        for found in root.glob(str(Path(*names))):
            return found
    missing(str(Path(*names)))


def environment() -> dict[str, str]:
    """An environment in which unpacked programs find their libraries."""
    own = ("usr/lib/*-linux-gnu", "lib/*-linux-gnu", "usr/lib/syslog-ng")
    libraries = [str(path) for pattern in own for path in _ROOT.glob(pattern)]
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "TMPDIR", "LANG")}
    return kept | {"LD_LIBRARY_PATH": os.pathsep.join(libraries)}


def environment_of(path: str) -> dict[str, str] | None:
    """The environment for a program that goes with its own libraries only: where it was found decides."""
    if not Path(path).is_relative_to(_ROOT):
        return None
    found = environment()
    # what systemd's own programs share among themselves and with nobody else
    own = [str(folder) for folder in _ROOT.glob("usr/lib/*-linux-gnu/systemd")]
    libraries = os.pathsep.join([found["LD_LIBRARY_PATH"], *own])
    return found | {"LD_LIBRARY_PATH": libraries, "SYSTEMD_UNIT_PATH": f"{_ROOT}/lib/systemd/system"}


@contextmanager
def running(command: Sequence[str | Path], log: Path, **more: object) -> Iterator[subprocess.Popen[bytes]]:
    """A program for the time of the block; what it says goes to a file."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment(),
            **more,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
