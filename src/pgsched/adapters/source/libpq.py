"""The calls of libpq that psycopg does not have, or not as they are needed here.

They are made in the libpq that psycopg has loaded. Where that is not to be found (another system than Linux),
logins go on without them: told apart by words, and hashed with the interpreter's lock held, as often as a
server behind TLS asks for.
"""

from __future__ import annotations

import asyncio
import ctypes
import re
import threading
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

from psycopg.pq import PollingStatus
from psycopg.pq import abc as pq

from pgsched.adapters.source.faults import CANNOT_REACH
from pgsched.domain.errors import SourceUnreachable

#: logins given up that may still be hashing, at one address and in all; one more would take yet another
#: processor
MOST_ABANDONED = 2
MOST_ABANDONED_IN_ALL = 16
#: most bytes that TLS decrypts at once (RFC 8446, section 5.1)
_MOST_RECORD = 1 << 14
#: what SSL_get_error says where more must arrive first
_WANT_READ = 2
_DEFAULT, _VERBOSE = 1, 2
_LIBRARY = re.compile(r"\s(/\S*/libpq[-.][^/\s]*)$", re.MULTILINE)
_lock = threading.Lock()
_abandoned: Counter[str] = Counter()


def set_verbose(pgconn: pq.PGconn, *, verbose: bool) -> None:
    """Make a connection tell SQLSTATEs in its messages, or as usual (manual, PQsetErrorVerbosity).

    A server's words for a failed login are in its own language (lc_messages), the SQLSTATE is the same for
    all; libpq keeps it in its message alone, and there only when the connection is verbose.
    """
    library, pointer = _library(), _pointer(pgconn)
    if library is not None and pointer is not None:
        library.PQsetErrorVerbosity(pointer, _VERBOSE if verbose else _DEFAULT)


def decrypted(pgconn: pq.PGconn) -> bytes | None:
    """Return what TLS has for libpq to read next, and leave it there; empty when that is still to come.

    Libpq reads as much at once as was encrypted together, which is what is looked at. None where it cannot be
    looked at: TLS is not OpenSSL's, or the connection is over, of which libpq tells.
    """
    library, pointer = _tls_library(), _pointer(pgconn)
    if library is None or pointer is None or not (tls := library.PQgetssl(pointer)):
        return None
    found = ctypes.create_string_buffer(_MOST_RECORD)
    library.ERR_clear_error()
    length = library.SSL_peek(tls, found, _MOST_RECORD)
    if length > 0:
        return found.raw[:length]
    is_to_come = library.SSL_get_error(tls, length) == _WANT_READ
    library.ERR_clear_error()
    return b"" if is_to_come else None


class AsidePoll:
    """Lets libpq hash a password in a thread of its own, without the interpreter's lock.

    How many rounds a server asks for is looked at before (see ``login``), but not everywhere, and those that
    are allowed take a while. A login that hashes for hours keeps a processor busy, but no other run, and is
    given up at the deadline like one that says nothing.
    """

    def __init__(self, pgconn: pq.PGconn, *, at: str) -> None:
        """``at`` is the address that the connection leads to."""
        self._pgconn = pgconn
        self._at = at
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
            SourceUnreachable: logins that were given up are still hashing, or there is no thread left.
        """
        if _abandoned[self._at] >= MOST_ABANDONED or _abandoned.total() >= MOST_ABANDONED_IN_ALL:
            raise SourceUnreachable(
                "logins that were given up are still busy hashing the password; no other is begun",
                public=CANNOT_REACH,
            )
        loop = asyncio.get_running_loop()
        polled: asyncio.Future[int] = loop.create_future()
        thread = threading.Thread(target=self._work, args=(loop, polled), name="pgsched-login", daemon=True)
        self._is_busy = True
        try:
            thread.start()
        except RuntimeError as error:
            self._is_busy = False
            raise SourceUnreachable(f"no thread to log in in: {error}", public=CANNOT_REACH) from None
        return PollingStatus(await polled)

    def finish(self) -> None:
        """Close the connection, as soon as libpq has let go of it."""
        with _lock:
            if self._is_busy:
                self._is_left = True
                _abandoned[self._at] += 1
                return
        self._pgconn.finish()

    def _work(self, loop: asyncio.AbstractEventLoop, polled: asyncio.Future[int]) -> None:
        status = _library().PQconnectPoll(self._pointer)
        with _lock:
            self._is_busy = False
            if self._is_left:
                _abandoned[self._at] -= 1
                if not _abandoned[self._at]:
                    del _abandoned[self._at]
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


@cache
def _tls_library() -> Any:
    """Return where the calls of OpenSSL are: a symbol is looked for in what libpq was linked with, too."""
    library = _library()
    try:
        library.PQgetssl.argtypes = [ctypes.c_void_p]
        library.PQgetssl.restype = ctypes.c_void_p
        library.ERR_clear_error.argtypes = []
        library.ERR_clear_error.restype = None
        library.SSL_get_error.argtypes = [ctypes.c_void_p, ctypes.c_int]
        library.SSL_get_error.restype = ctypes.c_int
        library.SSL_peek.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int]
        library.SSL_peek.restype = ctypes.c_int
    except AttributeError:
        return None
    return library
