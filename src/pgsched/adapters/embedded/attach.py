"""Using the embedded server that `pgsched up` runs in another process."""

from __future__ import annotations

from pathlib import Path

from pgsched.adapters.embedded import home as homes
from pgsched.adapters.embedded import postmaster
from pgsched.adapters.embedded.connection import ConnectionInfo
from pgsched.adapters.embedded.provisioning import APPLICATION
from pgsched.domain.errors import EmbeddedFault


def attach(home: Path) -> ConnectionInfo:
    """Return the application's way into the server that runs under ``home``; starts and changes nothing.

    Raises EmbeddedFault when none runs, it is not ready yet, or its files belong to another user.
    """
    layout = homes.layout_of(home)
    try:
        layout.data.stat()
    except PermissionError:
        raise EmbeddedFault(
            f"the embedded Postgres under {layout.home} belongs to another user; run this as the user who "
            "runs `pgsched up`, or set PG_DSN_APP"
        ) from None
    except OSError:
        raise not_running(layout) from None
    state = postmaster.read_pid_file(layout.data)
    if state is None or not postmaster.serves(state.pid, layout.data):
        raise not_running(layout)
    password = homes.read_secret(layout.application_password)
    if state.status != "ready" or not state.port or password is None:
        raise EmbeddedFault(
            f"the embedded Postgres under {layout.home} is {state.status or 'starting'}; "
            "try again in a moment"
        )
    return ConnectionInfo(
        host=state.host or "127.0.0.1",
        port=state.port,
        user=APPLICATION,
        password=password,
        dbname=APPLICATION,
    )


def not_running(layout: homes.Layout) -> EmbeddedFault:
    """Return the error that says what to do without a running server."""
    return EmbeddedFault(
        f"the embedded Postgres under {layout.home} is not running; start `pgsched up` or set PG_DSN_APP"
    )
