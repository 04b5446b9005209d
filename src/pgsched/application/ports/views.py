"""Ports for reading: what dashboards poll. Stored JSON is handed on as bytes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable

from pgsched.domain.audience import Audience, RowFilter
from pgsched.domain.freshness import Freshness
from pgsched.domain.jobs import Visibility
from pgsched.domain.runs import Run, RunStatus


@dataclass(frozen=True, kw_only=True, slots=True)
class QueryCard:
    """What a dashboard may know of a query: no SQL, no source."""

    #: identity, 64 bit
    id: int
    #: unique name
    name: str
    #: what people call it
    title: str
    #: what it shows
    description: str
    #: cron or interval
    schedule_type: str
    #: the expression
    schedule_expr: str
    #: IANA zone
    timezone: str
    #: whether it is planned
    enabled: bool
    #: who reads
    visibility: Visibility
    #: why it is paused, None when it is not
    pause_reason: str | None
    #: UTC; None when nothing is planned
    next_run_at: datetime | None
    #: the newest run that was not skipped, of any status, as its reader sees it; None when there is none
    last_run: Run | None
    #: ISO 8601 duration for which a result is fresh, None for ever
    fresh_for: str | None
    #: when the newest result becomes stale, UTC; None for never
    fresh_until: datetime | None
    #: whether it is stale now; without any result, counted from when the query was made
    is_stale: bool
    #: seconds since the newest success ended, None when there is none
    age_s: float | None
    #: when it was made, UTC
    created_at: datetime
    #: when it last changed, UTC
    updated_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredRun:
    """A run with its result, of its rows those that the reader is shown."""

    #: ``rows_returned`` counts the rows shown
    run: Run
    #: ``{"schema":…,"data":…}`` as UTF-8 JSON; None when the run has none, or it is not here whole
    result: bytes | None
    #: the filters that hold, for what is kept by reader; None for every row
    rows: tuple[RowFilter, ...] | None = None
    #: the Table Schema as UTF-8 JSON of a result that is not here whole: its rows come from ``RunView.rows``
    table_schema: bytes | None = None
    #: how old the query's newest result is; of the latest success alone
    freshness: Freshness | None = None

    @property
    def has_result(self) -> bool:
        """Whether the run has a result."""
        return self.result is not None or self.table_schema is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFilter:
    """Which runs of a query a page is taken from, and where it begins."""

    #: scheduled_at at or after this, UTC
    start: datetime | None = None
    #: scheduled_at before this, UTC
    end: datetime | None = None
    #: of this status only
    status: RunStatus | None = None
    #: with this parameter set only
    params: str | None = None
    #: older than this run, in the order (scheduled_at, id)
    before: int | None = None
    #: newer than this run; the page nearest to it
    after: int | None = None
    #: most runs, 1 to 500
    limit: int = 50


@dataclass(frozen=True, kw_only=True, slots=True)
class RunPage:
    """Runs, newest first in the order (scheduled_at, id)."""

    items: Sequence[StoredRun]
    #: id to pass as ``before`` for older ones; None when there are none
    next_before: int | None
    #: id to pass as ``after`` for newer ones; None when there are none
    prev_after: int | None


@runtime_checkable
class QueryView(Protocol):
    """Queries as a dashboard sees them."""

    async def page(self, audience: Audience, *, limit: int, offset: int) -> tuple[Sequence[QueryCard], int]:
        """Return some visible queries by name, and how many there are in all."""
        ...

    async def card(self, audience: Audience, key: str | int) -> QueryCard:
        """Return one query by name (str) or id (int).

        Raises:
            NotFound: there is none, or the audience may not see it.
        """
        ...


@runtime_checkable
class RunView(Protocol):
    """Runs and their results; every method raises NotFound for what the audience may not see.

    What is seen is decided by ``domain.audience.access_to``; its row filters are applied here, to rows and to
    their count, so that no reader has to.

    A result comes whole where ``whole`` is asked for, it is stored in one document (up to 4 MiB) and every
    row is shown; else its Table Schema comes, and ``rows`` hands out the rows: nobody holds a large result.
    """

    async def latest(
        self,
        audience: Audience,
        query: str | int,
        *,
        status: RunStatus | None = RunStatus.SUCCESS,
        whole: bool = True,
        params: str | None = None,
    ) -> StoredRun:
        """Return the highest run of that status (None: any) in the order (scheduled_at, id).

        ``params`` names a parameter set, None for runs with any.
        """
        ...

    async def page(
        self, audience: Audience, query: str | int, wanted: RunFilter, *, with_result: bool = False
    ) -> RunPage:
        """Return a page of runs, without results unless ``with_result``.

        With results, the first ones come whole until they have 4 MiB together.
        """
        ...

    async def one(self, audience: Audience, run_id: int, *, whole: bool = True) -> StoredRun:
        """Return one run with its result."""
        ...

    async def neighbour(
        self,
        audience: Audience,
        query: str | int,
        run_id: int,
        *,
        newer: bool,
        whole: bool = True,
        params: str | None = None,
    ) -> StoredRun:
        """Return the next newer or older run of the same query, of any status, with its result.

        ``params`` names a parameter set, None for runs with any.
        """
        ...

    def rows(self, stored: StoredRun, *, offset: int = 0, limit: int | None = None) -> AsyncGenerator[bytes]:
        """Hand out the rows shown of a run, in order, as JSON arrays of row objects, each of bounded size.

        ``stored`` is what this view returned for the reader. ``offset`` and ``limit`` count rows shown; what
        is not asked for is not read where the count of a chunk tells.

        Raises:
            NotFound: the run has no result, or was deleted meanwhile.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Readiness:
    """What a look at the metadata database found."""

    #: version of the schema there, 0 for an empty database
    schema_version: int
    #: version this program is made for
    expected_version: int
    #: workers present now
    workers: int
    #: runs that wait and could start
    waiting: int
    #: enabled queries whose ``fresh_for`` is over, by name: those that everybody may know, others by id
    stale: tuple[str, ...] = ()


@runtime_checkable
class HealthView(Protocol):
    """Whether this process can serve."""

    async def readiness(self) -> Readiness:
        """Look.

        Raises:
            DatabaseUnavailable: the metadata database cannot be reached.
        """
        ...
