"""The two calls of libpq that psycopg does not have, or not as they are needed here.

They are made in the libpq that psycopg has loaded. Where that is not to be found (another system than Linux),
logins go on without them: told apart by words, and hashed with the interpreter's lock held.
"""

from __future__ import annotations

import asyncio
import ctypes
import re
import threading
from functools import cache
from pathlib import Path
from typing import Any

from psycopg.pq import PollingStatus
from psycopg.pq import abc as pq

from pgsched.adapters.source.faults import broken

#: logins given up that may still be hashing; one more would take yet another processor
MOST_ABANDONED = 2
_DEFAULT, _VERBOSE = 1, 2
_LIBRARY = re.compile(r"\s(/\S*/libpq[-.][^/\s]*)$", re.MULTILINE)
_lock = threading.Lock()
_abandoned = 0


def set_verbose(pgconn: pq.PGconn, *, verbose: bool) -> None:
    """Make a connection tell SQLSTATEs in its messages, or as usual (manual, PQsetErrorVerbosity).

    A server's words for a failed login are in its own language (lc_messages), the SQLSTATE is the same for
    all; libpq keeps it in its message alone, and there only when the connection is verbose.
    """
    library, pointer = _library(), _pointer(pgconn)
    if library is not None and pointer is not None:
        library.PQsetErrorVerbosity(pointer, _VERBOSE if verbose else _DEFAULT)


class AsidePoll:
    """Lets libpq hash a password in a thread of its own, without the interpreter's lock.

    Behind TLS nobody sees how many rounds a server asks for (see ``login``). A login that hashes for hours
    keeps a processor busy then, but no other run, and is given up at the deadline like one that says nothing.
    """

    def __init__(self, pgconn: pq.PGconn) -> None:
        self._pgconn = pgconn
        self._pointer = _pointer(pgconn)
        self._is_left = False
        self._is_busy = False

    @property
    def is_possible(self) -> bool:
        """Whether libpq can be called aside at all."""
        return _library() is not None and self._pointer is not None

    async def poll(self) -> PollingStatus:
        """Do what ``connect_poll`` does.

        Raises:
            ProtocolBroken: logins that were given up are still hashing.
        """
        if _abandoned >= MOST_ABANDONED:
            raise broken("logins that were given up are still busy hashing the password; no other is begun")
        loop = asyncio.get_running_loop()
        polled: asyncio.Future[int] = loop.create_future()
        self._is_busy = True
        threading.Thread(target=self._work, args=(loop, polled), name="pgsched-login", daemon=True).start()
        return PollingStatus(await polled)

    def finish(self) -> None:
        """Close the connection, as soon as libpq has let go of it."""
        global _abandoned
        with _lock:
            if self._is_busy:
                self._is_left = True
                _abandoned += 1
                return
        self._pgconn.finish()

    def _work(self, loop: asyncio.AbstractEventLoop, polled: asyncio.Future[int]) -> None:
        global _abandoned
        status = _library().PQconnectPoll(self._pointer)
        with _lock:
            self._is_busy = False
            if self._is_left:
                _abandoned -= 1
                self._pgconn.finish()
                return
        loop.call_soon_threadsafe(lambda: None if polled.done() else polled.set_result(status))


def _pointer(pgconn: pq.PGconn) -> int | None:
    """Return where libpq has a connection; psycopg's Python implementation has another kind of pointer."""
    pointer = getattr(pgconn, "pgconn_ptr", None)
    return pointer if isinstance(pointer, int) else None


@cache
def _library() -> Any:
    try:
        loaded = set(_LIBRARY.findall(Path("/proc/self/maps").read_text()))
        # of two nobody knows which one a connection is of
        if len(loaded) != 1:
            return None
        library = ctypes.CDLL(loaded.pop())
        library.PQsetErrorVerbosity.argtypes = [ctypes.c_void_p, ctypes.c_int]
        library.PQsetErrorVerbosity.restype = ctypes.c_int
        library.PQconnectPoll.argtypes = [ctypes.c_void_p]
        library.PQconnectPoll.restype = ctypes.c_int
    except (OSError, AttributeError):
        return None
    return library
