"""One connection to the metadata database: how it is made, what it is pinned to, whether it is alive."""

from __future__ import annotations

import asyncio
import json
import os
import select
import socket
from collections.abc import Callable
from typing import Any, Final, TypeVar

from psycopg import AsyncConnection, Error
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.types.json import set_json_loads

from pgsched.adapters import secluded
from pgsched.adapters.postgres.pipeline import PipelinedConnection

#: seconds within which an idle connection that said something answers, or is taken for dead
ANSWER_S: Final = 2.0
#: milliseconds after which the server gives a statement up
STATEMENT_TIMEOUT_MS: Final = 30_000
#: milliseconds after which the server gives up waiting for a lock
LOCK_TIMEOUT_MS: Final = 10_000
#: milliseconds after which the server ends a transaction whose process is silent: a frozen or cut-off host
#: must not hold back what others would plan and claim
IDLE_TIMEOUT_MS: Final = 5_000

#: what a connection has unless its conninfo says otherwise: a peer that is gone without a word shows in 11 s
_CONNECT: Final[dict[str, Any]] = {
    "connect_timeout": 3,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 11_000,
}
#: what a connection has whatever its conninfo says: psycopg reads text as bytes from a server that is told
#: SQL_ASCII, and not at all in an encoding that Python does not have
_ALWAYS: Final[dict[str, Any]] = {"client_encoding": "UTF8"}
# Not behind a transaction pooler, where the next statement may be of another process. Hash and merge joins
# read whole tables, which are small when a plan is made and grow while it is kept.
_PLANS_ONCE: Final = "pg_backend_pid() = %(plans_once)s"
# A statement and not libpq's ``options``: transaction poolers refuse those. The keepalives are the server's
# side: what a host holds that was cut off (locks, a worker's presence) is free after 11 s. Statements are
# planned once a connection, on a new installation while every table is empty: as scans, which would be kept
# until the next ANALYZE while the tables grow. What scans all the same would look dear enough to be compiled.
# The first four lines are what the reading and writing of values rests on, whatever the role, the database or
# a PG* variable says. PgBouncer carries DateStyle and TimeZone from one backend to the next; not always
# IntervalStyle, but nothing here reads an interval.
_PINS: Final = f"""
select set_config('TimeZone', 'UTC', false), set_config('DateStyle', 'ISO, MDY', false),
       set_config('IntervalStyle', 'postgres', false), set_config('standard_conforming_strings', 'on', false),
       set_config('bytea_output', 'hex', false), set_config('extra_float_digits', '1', false),
       set_config('array_nulls', 'on', false),
       set_config('statement_timeout', '{STATEMENT_TIMEOUT_MS}', false),
       set_config('lock_timeout', '{LOCK_TIMEOUT_MS}', false),
       set_config('idle_in_transaction_session_timeout', '{IDLE_TIMEOUT_MS}', false),
       set_config('tcp_keepalives_idle', '5', false), set_config('tcp_keepalives_interval', '2', false),
       set_config('tcp_keepalives_count', '3', false), set_config('tcp_user_timeout', '11000', false),
       set_config('enable_seqscan', 'off', false), set_config('jit', 'off', false),
       set_config('plan_cache_mode',
           case when {_PLANS_ONCE} then 'force_generic_plan' else 'auto' end, false),
       set_config('enable_hashjoin', case when {_PLANS_ONCE} then 'off' else 'on' end, false),
       set_config('enable_mergejoin', case when {_PLANS_ONCE} then 'off' else 'on' end, false),
       pg_backend_pid()"""

Connection = AsyncConnection[Any]
C = TypeVar("C", bound=Connection)


class Told(PipelinedConnection):
    """A connection whose making tells how it went: the pool keeps that to its log."""

    @classmethod
    async def connect(  # type: ignore[override]  # the pool calls it with what it was given
        cls,
        conninfo: str = "",
        *,
        tell: Callable[[Exception | None], None],
        is_secluded: bool = False,
        **kwargs: Any,
    ) -> Told:
        try:
            if is_secluded:
                connection = await connect_secluded(cls, conninfo, **kwargs)
            else:
                connection = await super().connect(conninfo, **kwargs)
        except Exception as error:
            tell(error)
            raise
        tell(None)
        set_json_loads(_loads, connection)
        return connection


def options(conninfo: str, *, application_name: str) -> dict[str, Any]:
    """Return what a connection is made with beside its conninfo, which has the last word."""
    given = conninfo_to_dict(conninfo)
    unless_given = {key: value for key, value in _CONNECT.items() if key not in given}
    return {**unless_given, **_ALWAYS, "application_name": application_name, "autocommit": True}


async def connect_secluded(
    kind: type[C], conninfo: str, *, connect_timeout: float, autocommit: bool, **parameters: Any
) -> C:
    """Connect with these ``options`` and no PG* variable of this machine."""
    connection = await secluded.connect(kind, make_conninfo(conninfo, **parameters), within_s=connect_timeout)
    await connection.set_autocommit(autocommit)
    return connection


async def pin(connection: Connection, *, plans_once: bool) -> None:
    """Pin what every connection has; prepare nothing where the next statement may meet another backend.

    A pooler gives itself away by telling another process id than the server does.
    """
    values = {"plans_once": connection.info.backend_pid if plans_once else None}
    row = await (await connection.execute(_PINS, values, prepare=False)).fetchone()
    if row is not None and row[-1] != connection.info.backend_pid:
        connection.prepare_threshold = None


async def is_alive(connection: Connection) -> bool:
    """Look whether the server has closed an idle connection, without asking it.

    An idle connection has nothing to be read: what there is comes from its end, or is rare (a notice), and
    only then is the server asked.
    """
    if connection.closed:
        return False
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if not poll.poll(0):
        return True
    try:
        async with asyncio.timeout(ANSWER_S):
            await connection.execute("")
    except (Error, TimeoutError):
        return False
    return True


def shut(connection: Connection) -> None:
    """Shut a connection's socket from this side, so that whoever waits for the server is told at once."""
    if connection.closed:
        return
    try:
        with socket.socket(fileno=os.dup(connection.fileno())) as sock:
            sock.shutdown(socket.SHUT_RDWR)
    except (Error, OSError):
        return  # it has ended meanwhile


def _loads(data: str | bytes) -> Any:
    """Read JSON; most of what a query has is an empty array."""
    return [] if data == b"[]" else json.loads(data)
