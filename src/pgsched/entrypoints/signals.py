"""How a service learns that it shall stop: signals, and the leash of the process that started it."""

from __future__ import annotations

import asyncio
import os
import signal

#: names the file descriptor whose end of file means that ``pgsched up`` is gone
LEASH_VARIABLE = "PGSCHED_LEASH_FD"


def stop_on_signals() -> asyncio.Event:
    """Return an event of the running loop that SIGTERM, SIGINT and a torn leash set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    watch_leash()
    return stop


def watch_leash() -> None:
    """Send this process SIGTERM when the process that holds its leash ends, however it ends.

    A pipe, not prctl(2)'s parent-death signal: it works on macOS too, and whichever thread started us.
    """
    text = os.environ.pop(LEASH_VARIABLE, "")
    if not text.isdigit():
        return
    descriptor = int(text)
    loop = asyncio.get_running_loop()

    def torn() -> None:
        loop.remove_reader(descriptor)
        os.kill(os.getpid(), signal.SIGTERM)

    loop.add_reader(descriptor, torn)
