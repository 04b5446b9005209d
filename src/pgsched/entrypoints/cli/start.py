"""The way into the command: Ctrl-C while Python still loads it, or already ends, leaves no traceback."""

from __future__ import annotations

import signal
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line of this process and exit with its code; interrupted, end as others do (130)."""
    # ignored where the process was started in the background: that stays
    heeded = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if heeded:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from pgsched.entrypoints.cli.main import run

    if heeded:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    code = run(sys.argv[1:])
    if heeded:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(code)
