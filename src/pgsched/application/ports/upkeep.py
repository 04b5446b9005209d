"""Ports to what keeps an installation healthy for years: counting, deleting what is old, figures to watch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, runtime_checkable

from pgsched.domain.exposure import Exposed
from pgsched.domain.jobs import Job
from pgsched.domain.retention import Limits
from pgsched.domain.runs import RunStatus


@runtime_checkable
class RunTally(Protocol):
    """Counts runs that are over, each once, so that nobody has to count all of them again."""

    async def advance(self) -> int:
        """Count what ended since the last call; returns how many runs that were, 0 when all is counted.

        Any process may call it; two at once count nothing twice. One call does a bounded amount of work.
        """
        ...


@runtime_checkable
class Retention(Protocol):
    """Deletes runs that are kept no longer."""

    async def limited(self, defaults: Limits) -> Sequence[tuple[int, Limits]]:
        """Return the queries (by id) that have a limit, their own or the default, with it."""
        ...

    async def delete_some(self, query_id: int, limits: Limits) -> int:
        """Delete a small batch of a query's runs beyond its limits, results included; returns how many.

        Never the newest success, a run that is not over, or one that is not counted yet; blocks nobody. Gaps
        go with the runs around them. Until where the history is not whole any more is recorded.
        """
        ...

    async def delete_events(self, keep_days: int) -> int:
        """Delete a small batch of the audit trail, oldest of what is older than this; returns how many."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class RunCount:
    """Runs of one query that are over, by what became of them."""

    #: the query
    query_id: int
    #: how they ended
    status: RunStatus
    #: their error_code, empty for none
    reason: str
    #: how many
    runs: int
    #: rows returned, all together
    rows: int
    #: bytes stored, all together
    bytes: int
    #: milliseconds from start to finish, all together
    duration_ms: int
    #: tries, all together
    attempts: int
    #: times they were lost with their worker
    losses: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Distribution:
    """How many observations lie up to each bound."""

    #: upper bounds, seconds, ascending; one more count than bounds: the last is for what is above all of them
    bounds: tuple[float, ...]
    #: observations in each interval, not cumulated
    counts: tuple[int, ...]
    #: all observations together, seconds
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class QueryFigure:
    """How a query is doing."""

    #: the query with its policies and next instant
    job: Job
    #: when its newest success ended, UTC; None when there is none
    last_success_at: datetime | None
    #: runs stored
    stored_runs: int
    #: bytes of their results
    stored_bytes: int
    #: until where retention may have deleted runs, UTC; None when it has not
    deleted_to: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceFigure:
    """How busy a source is."""

    #: identity
    id: int
    #: unique name
    name: str
    #: runs at once it takes
    max_concurrency: int
    #: runs that run there
    running: int
    #: runs that wait for it and could start
    waiting: int


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerFigure:
    """A worker that is there, or was a short time ago."""

    #: identity of this presence
    id: int
    #: host name
    host: str
    #: process id there
    pid: int
    #: pgsched's version
    version: str
    #: runs at once
    concurrency: int
    #: runs it holds
    running: int
    #: when it came, UTC
    started_at: datetime
    #: its last sign of life, UTC
    seen_at: datetime
    #: whether it is there now
    alive: bool
    #: what it tells of its process, by name
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class RecentFailure:
    """A run that ended in an error lately."""

    #: the run
    run_id: int
    #: the query's name
    query: str
    #: when it ended, UTC
    at: datetime
    #: stable code
    code: str
    #: what every reader may see
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """One look at everything."""

    #: the database's now, UTC
    now: datetime
    #: runs that are over
    counts: Sequence[RunCount]
    #: how long runs took
    durations: Distribution
    #: how late scheduled runs began, first tries
    lateness: Distribution
    #: the queries with the lowest ids, at most as many as asked for
    queries: Sequence[QueryFigure]
    #: how many queries there are
    query_count: int
    #: every source
    sources: Sequence[SourceFigure]
    #: workers that are there, and those of the last hour that ended without a word
    workers: Sequence[WorkerFigure]
    #: runs that wait and could start
    waiting: int
    #: runs that wait for their time
    later: int
    #: runs that run
    running: int
    #: runs that run although their lease is over
    stuck: int
    #: seconds the longest waiting run has waited since it could start; 0 when none waits
    longest_wait_s: float
    #: seconds the most overdue query waits to be planned; 0 when none is
    planning_delay_s: float
    #: seconds after its instant at which a run began: median and 95 % of the newest; None for none
    recent_lateness_s: tuple[float, float] | None
    #: newest first
    failures: Sequence[RecentFailure]


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredSize:
    """What is stored of a query's runs."""

    #: runs that are over and kept
    runs: int
    #: bytes of their results, before compression
    bytes: int


@runtime_checkable
class FiguresView(Protocol):
    """Figures for metrics, status and doctor."""

    async def sizes(self) -> Mapping[int, StoredSize]:
        """Return what is stored of each query that has runs, by its id; costs no scan of all runs."""
        ...

    async def figures(self, *, queries: int) -> Figures:
        """Look, with details of at most so many queries; costs no scan of all runs.

        Raises:
            DatabaseUnavailable: the metadata database cannot be reached.
        """
        ...

    async def exposed(self) -> Sequence[Exposed]:
        """Return what public queries with ``expose_metrics`` tell of their newest results, by query and set.

        At most ``MOST_RESULTS``, those of the lowest ids. A result that was told before is not read again.

        Raises:
            DatabaseUnavailable: the metadata database cannot be reached.
        """
        ...
