"""Who sits at the command line, for the audit trail."""

from __future__ import annotations

import getpass
import os

from pgsched.domain.audit import Actor


def operator() -> Actor:
    """Return the system user as an actor: ``cli:<name>``, or the number of one without a name."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError):
        name = str(os.getuid())
    return Actor(name=f"cli:{name}")
