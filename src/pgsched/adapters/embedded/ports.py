"""The TCP port of the embedded server: the same as last time, as long as it is free."""

from __future__ import annotations

import random
import socket
from pathlib import Path

from pgsched.domain.errors import EmbeddedFault

#: address the server listens on; never reachable from elsewhere
LOOPBACK = "127.0.0.1"


#: below what systems hand out to outgoing connections (32768 on Linux, 49152 elsewhere): a port out of that
#: range could be somebody's client port when the server starts again
_OURS = range(20_000, 30_000)
_TRIES = 100


def free_port(wanted: int = 0) -> int:
    """Return ``wanted`` when nobody listens there, else a port that is free at the moment.

    Raises:
        EmbeddedFault: no port was found.
    """
    for port in (wanted, *random.sample(_OURS, _TRIES)):
        if port and _is_free(port):
            return port
    raise EmbeddedFault(f"there is no free port on {LOOPBACK}")


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def read_port(path: Path) -> int:
    """Return the port of the last start, 0 when there was none."""
    try:
        port = int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0
    return port if 1024 <= port <= 65535 else 0
