"""The TCP port of the embedded server: the same as last time, as long as it is free."""

from __future__ import annotations

import socket
from pathlib import Path

from pgsched.domain.errors import EmbeddedFault

#: address the server listens on; never reachable from elsewhere
LOOPBACK = "127.0.0.1"


def free_port(wanted: int = 0) -> int:
    """Return ``wanted`` when nobody listens there, else a port that is free at the moment."""
    for port in (wanted, 0):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise EmbeddedFault(f"there is no free port on {LOOPBACK}")


def read_port(path: Path) -> int:
    """Return the port of the last start, 0 when there was none."""
    try:
        port = int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0
    return port if 1024 <= port <= 65535 else 0
