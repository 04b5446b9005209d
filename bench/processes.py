"""pgsched's services as processes, for measurements that do not need a loop."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.stage import Stage


@contextmanager
def service(where: Stage, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run ``pgsched …`` for the time of the block."""
    with (where.folder / "services.err").open("ab") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "pgsched", *arguments],
            cwd=where.folder,
            env=dict(where.environment),
            stdout=said,
            stderr=said,
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def free_port() -> int:
    """Return a TCP port on loopback that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
