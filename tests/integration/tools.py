"""Programs of other people that tests speak to: on this machine, or unpacked by ``make tools``."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2] / ".tools"
_PLACES = [str(_ROOT / folder) for folder in ("usr/bin", "usr/sbin", "bin", "sbin")]
_SYSTEM = ["/usr/sbin", "/usr/local/sbin", "/sbin"]


def program(name: str) -> str:
    """Where a program is; the test is skipped where there is none."""
    path = os.pathsep.join([os.environ.get("PATH", ""), *_SYSTEM, *_PLACES])
    return shutil.which(name, path=path) or pytest.skip(f"{name} is not here: make tools")


def folder(*names: str) -> Path:
    """A folder of a package, in the system or unpacked."""
    for root in (Path("/"), _ROOT):
        for found in root.glob(str(Path(*names))):
            return found
    pytest.skip(f"{Path(*names)} is not here: make tools")


def environment() -> dict[str, str]:
    """An environment in which unpacked programs find their libraries."""
    libraries = [str(path) for path in (*_ROOT.glob("usr/lib/*-linux-gnu"), *_ROOT.glob("lib/*-linux-gnu"))]
    libraries += [str(path) for path in _ROOT.glob("usr/lib/syslog-ng")]
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "TMPDIR", "LANG")}
    return kept | {"LD_LIBRARY_PATH": os.pathsep.join(libraries)}


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
