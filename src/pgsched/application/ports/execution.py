"""Ports to what happens at a source: judging a statement, running it, looking the source over."""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, runtime_checkable

from pgsched.domain.results import OnLimit
from pgsched.domain.sql_guard import Verdict

#: asks for places at a source, for that many connections from here and so many seconds; returns how many
#: of them there are
Keep: TypeAlias = Callable[[int, float], Awaitable[int]]


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceAddress:
    """Everything needed to connect to a source, its password opened."""

    #: one host name or IP address
    host: str
    #: TCP port
    port: int
    #: database name
    dbname: str
    #: role name
    username: str
    #: the password in clear, None when there is none; never shown
    password: str | None = field(repr=False)
    #: libpq's sslmode
    sslmode: str = "prefer"
    #: PEM of the root certificate, None for the system's
    sslrootcert: str | None = None
    #: which source this is, 0 when it is none yet; connections are counted by it
    source_id: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Argument:
    """What a ``$n`` of a statement is bound to, at the source; NULL when neither value is there."""

    #: the parameter's name
    name: str
    #: its type as Postgres prints it
    type: str
    #: OID of the type
    oid: int
    #: a literal of the type
    text: str | None = None
    #: an expression the source evaluates first, that the guard allowed; ``$1`` in it is ``scheduled_at``
    sql: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Statement:
    """What to run and within which bounds."""

    #: one statement that the guard allowed
    sql: str
    #: what ``$1``, ``$2`` … in it are
    arguments: tuple[Argument, ...] = ()
    #: the instant the run stands for, ISO 8601, for expressions
    scheduled_at: str | None = None
    #: the session's TimeZone, so that current_date means what the schedule means
    timezone: str
    #: milliseconds, at the source and for the client's own deadline
    timeout_ms: int
    #: most rows stored
    max_rows: int
    #: most bytes of encoded rows stored
    max_bytes: int
    #: what happens at either limit
    on_limit: OnLimit
    #: the session's application_name, ``pgsched:<run>/<attempt>``
    application_name: str
    #: whether pgsched's own metadata database may be the source
    allow_metadata: bool = False
    #: what it may cost in units of the source's planner, which is asked before it runs; None for any
    max_cost: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RowBatch:
    """Some rows of a result, encoded."""

    #: how many rows
    rows: int
    #: UTF-8 JSON objects joined by commas, without brackets: ``{"a":1},{"a":2}``
    data: bytes


class ResultStream(Protocol):
    """A result as it arrives, in bounded batches; its totals are final once iteration has ended."""

    #: rows handed out so far
    rows: int
    #: bytes of encoded rows handed out so far
    bytes: int
    #: whether a limit cut the result
    truncated: bool

    @property
    def arguments(self) -> Mapping[str, str | None]:
        """What the arguments were, by name, in Postgres's text form; the run's own instant left out."""
        ...

    def __aiter__(self) -> AsyncIterator[RowBatch]:
        """Hand out the batches in order, once."""
        ...

    def table_schema(self) -> builtins.bytes:
        """Return the Table Schema as UTF-8 JSON; to be asked after iteration has ended."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceReport:
    """What a look at a source found."""

    #: whether a query could run there now
    ok: bool
    #: milliseconds for a round trip, None when not connected
    latency_ms: float | None = None
    #: the server's version, e.g. ``15.18``
    server_version: str | None = None
    #: plain sentences about what an admin should change
    warnings: tuple[str, ...] = ()
    #: stable code of what failed, None when ok
    error_code: str | None = None
    #: what failed, for a person; never a secret
    error_detail: str | None = None


@runtime_checkable
class QuerySource(Protocol):
    """Runs statements at sources, fenced."""

    def execute(
        self,
        address: SourceAddress,
        statement: Statement,
        *,
        keep: Keep | None = None,
        keep_s: float | None = None,
    ) -> AbstractAsyncContextManager[ResultStream]:
        """Run one statement read-only and hand out its rows.

        Cancelling the task cancels the statement at the source and closes the connection. After a clean end
        the connection is kept for the next run at the same address, for at most ``keep_s`` seconds or for a
        minute, as long as ``keep`` grants its place; without ``keep`` it is closed.

        Raises:
            SourceUnreachable: no connection, or it broke.
            SourceRefused: the source turned the role or password down.
            SourceUntrusted: the server does not prove what the source's sslmode asks of it.
            ProtocolBroken: what answered is no Postgres, or does not keep to the protocol.
            QueryFailed: an SQL error; ``sqlstate`` and position say which and where.
            QueryTimeout: the timeout passed, by the source's clock or ours.
            CostExceeded: the source's planner expects more than ``max_cost``; nothing was run.
            LimitExceeded: more rows or bytes than allowed, with ``on_limit = error``; or, whatever it is, a
                value too large to be held.
            IsMetadata: the source is pgsched's own database and the statement does not allow that.
        """
        ...

    async def inspect(self, address: SourceAddress, *, allow_metadata: bool = False) -> SourceReport:
        """Connect, look the role and server over, and report; a failure is in the report, not raised.

        pgsched's own metadata database is a failure unless ``allow_metadata``.
        """
        ...

    def kept(self) -> int:
        """Return how many idle connections are kept for the next run."""
        ...

    async def retire(self) -> None:
        """Keep no connection from now on and close those that wait for a run; runs under way go on."""
        ...

    async def close(self) -> None:
        """Close the connections that were kept."""
        ...


@runtime_checkable
class SqlGuard(Protocol):
    """Judges statements with Postgres's own grammar, offline."""

    def check(self, sql: str, *, allow_user_functions: bool = True, places: int = 0) -> Verdict:
        """Judge one statement; never raises on any text. Position counts characters from 1.

        The places ``$1`` to ``$places`` are bound when it runs; any other is refused. A verdict that says
        ``without_comments`` is about ``domain.sql_comments.without_comments`` of the text: that one is sent.
        """
        ...


class DryRunPlaces(Protocol):
    """How many dry runs are under way, by user and by source, over all processes."""

    def hold(self, user: str, source_id: int, *, for_s: float) -> AbstractAsyncContextManager[None]:
        """Count a dry run for the time of the block.

        Called before the source is asked. A place whose process is lost is free after ``for_s`` seconds. Of
        those that ask at once, in whatever process, no more get a place than there are.

        Raises:
            TooManyRequests: the user, or the source, has as many as may be (``domain.dry_runs``).
        """
        ...
