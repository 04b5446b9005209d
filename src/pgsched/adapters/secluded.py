"""Connecting without what lies around on this machine: the ``PG*`` variables that libpq reads.

libpq takes each parameter that is not given from a variable, and some variables (``PGSERVICE``, ``PGTZ``,
``PGDATESTYLE``, ``PGGEQO``) stand for no parameter that could be given instead (manual, "Environment
Variables"). So they are out of sight while libpq runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator
from typing import Any, TypeVar

from psycopg import AsyncConnection, OperationalError
from psycopg.errors import ConnectionTimeout
from psycopg.pq import ConnStatus, PGconn, PollingStatus
from psycopg.pq import abc as pq

from pgsched.adapters.sockets import ready

C = TypeVar("C", bound=AsyncConnection[Any])


@contextlib.contextmanager
def no_libpq_variables() -> Iterator[None]:
    """Hide this process's PG* variables; only ever around calls that do not wait."""
    hidden = {name: os.environ.pop(name) for name in tuple(os.environ) if _is_libpq(name)}
    try:
        yield
    finally:
        os.environ.update(hidden)


def _is_libpq(name: str) -> bool:
    return name.startswith("PG") and not name.startswith(("PG_", "PGSCHED"))


async def connect(kind: type[C], conninfo: str, *, within_s: float) -> C:
    """Open a connection with what its conninfo says and no variable.

    psycopg's own way would read them while it waits. The conninfo names one server by its IP address.

    Raises:
        psycopg.OperationalError: no connection, with libpq's reason; ConnectionTimeout for none in time.
    """
    with no_libpq_variables():
        pgconn = PGconn.connect_start(conninfo.encode())
    try:
        async with asyncio.timeout(within_s):
            await _poll(pgconn)
    except BaseException as error:
        pgconn.finish()
        if isinstance(error, TimeoutError):
            raise ConnectionTimeout("connection timeout expired") from None
        raise
    pgconn.nonblocking = 1
    return kind(pgconn)


async def _poll(pgconn: pq.PGconn) -> None:
    status = PollingStatus.WRITING
    while status != PollingStatus.OK:
        if pgconn.status == ConnStatus.BAD or status == PollingStatus.FAILED:
            raise OperationalError(f"connection failed: {pgconn.get_error_message('utf-8')}")
        with no_libpq_variables():
            status = PollingStatus(pgconn.connect_poll())
        if status in (PollingStatus.READING, PollingStatus.WRITING):
            is_writing = status == PollingStatus.WRITING
            await ready(pgconn.socket, reading=not is_writing, writing=is_writing)
