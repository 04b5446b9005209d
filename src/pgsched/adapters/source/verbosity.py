"""Has libpq tell the SQLSTATE of a login that failed, which psycopg has no call for.

A server has its words for a failed login in its own language (lc_messages); the SQLSTATE is the same for all.
libpq keeps it in its message alone, and there only when the connection is verbose (manual,
PQsetErrorVerbosity). So that one function is called directly, in the libpq that psycopg has loaded. Where it
is not to be found, the words have to do.
"""

from __future__ import annotations

import ctypes
import re
from functools import cache
from pathlib import Path
from typing import Any

from psycopg.pq import abc as pq

_DEFAULT, _VERBOSE = 1, 2
_LIBRARY = re.compile(r"\s(/\S*/libpq[-.][^/\s]*)$", re.MULTILINE)
#: ``FATAL:  28P01: words``, whatever the word for FATAL is
_STATE = re.compile(r":  ([0-9A-Z]{5}): ")
_LOCATION = re.compile(r"\n?LOCATION:  [^\n]*\n?")


def set_verbose(pgconn: pq.PGconn, *, verbose: bool) -> None:
    """Make a connection tell SQLSTATEs in its messages, or as usual."""
    function = _function()
    pointer = getattr(pgconn, "pgconn_ptr", None)
    if function is not None and pointer:
        function(pointer, _VERBOSE if verbose else _DEFAULT)


def without_state(said: str) -> tuple[str, str | None]:
    """Return a message as it usually is, and the SQLSTATE that was told in it, None for none."""
    found = _STATE.search(said)
    if found is None:
        return said, None
    return _LOCATION.sub("", _STATE.sub(":  ", said, count=1)), found[1]


@cache
def _function() -> Any:
    try:
        loaded = set(_LIBRARY.findall(Path("/proc/self/maps").read_text()))
        # of two nobody knows which one the connection is of
        if len(loaded) != 1:
            return None
        function = ctypes.CDLL(loaded.pop()).PQsetErrorVerbosity
    except (OSError, AttributeError):
        return None
    function.argtypes = [ctypes.c_void_p, ctypes.c_int]
    function.restype = ctypes.c_int
    return function
