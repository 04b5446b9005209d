"""Ports to the runs' queue and to the workers that serve it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable

from pgsched.domain.jobs import Job
from pgsched.domain.planning import ActiveRuns, Plan
from pgsched.domain.runs import Failure, Hold, Run, RunStatus, Success, Trigger
from pgsched.domain.sources import DataSource

#: decides what becomes of a due job: job, now (UTC, the database's), its active scheduled runs
Decide = Callable[[Job, datetime, ActiveRuns], Plan]


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """A run that a worker holds, with all that running it takes."""

    #: proof that the run is held
    hold: Hold
    #: the query and its policies, as they are now
    job: Job
    #: where it runs
    source: DataSource
    #: the instant it stands for, UTC
    scheduled_at: datetime
    #: this try, from 1
    attempt: int
    #: who asked
    trigger: Trigger
    #: the query's parameter set; empty for a query without sets
    params: str = ""
    #: who took it
    worker_id: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Planned:
    """What one planning transaction did."""

    #: jobs whose instants were planned
    jobs: int
    #: runs that now wait
    queued: int
    #: instants decided without a run, those that were recorded before included
    recorded: int
    #: runs that were taken beside it, those of the longest due first
    claims: Sequence[Claim] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Renewal:
    """What a worker learns when it renews its leases."""

    #: runs that it does not hold any more
    lost: frozenset[int] = frozenset()
    #: runs that someone asked to cancel
    cancel: frozenset[int] = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class Upcoming:
    """The instants ahead, for arming alarms."""

    #: the database's now, UTC
    now: datetime
    #: the next instants at which a job or a waiting run comes due, UTC, ascending, distinct
    instants: tuple[datetime, ...]
    #: whether no run waits or is held anywhere and no connection is kept: nobody has one to take or to rescue
    at_rest: bool


@runtime_checkable
class RunQueue(Protocol):
    """The life of runs: planned, claimed, renewed, ended, rescued. Only its clock decides what is due."""

    async def plan_due(self, decide: Decide, *, limit: int = 100) -> Planned:
        """Plan up to ``limit`` due jobs in one transaction.

        Jobs that another process is planning are passed over. An instant that has a row keeps it. Planning
        twice changes nothing.
        """
        ...

    async def plan_and_claim(self, decide: Decide, worker_id: int, *, jobs: int, runs: int) -> Planned:
        """Plan up to ``jobs`` due jobs and take up to ``runs`` runs that are ready by then.

        As ``plan_due`` and ``claim`` one after the other, with one commit where that is possible.
        """
        ...

    async def upcoming(self, *, within_s: float, limit: int) -> Upcoming:
        """Return at most ``limit`` instants that come due within so many seconds."""
        ...

    async def claim(self, worker_id: int, *, limit: int) -> Sequence[Claim]:
        """Take up to ``limit`` runs that are ready: attempt + 1, a lease, a new token.

        Sources take turns, beginning with those of which this worker runs least; in each the oldest first.

        A query never has two runs at once unless its policy is ``allow``, a source never more than its
        ``max_concurrency``, over all workers, what others keep open there (``KeptConnections``) included.
        Runs past their deadline are skipped on the way.
        """
        ...

    async def renew(self, worker_id: int, holds: Sequence[Hold]) -> Renewal:
        """Extend the leases still held and tell which are lost and which are to be cancelled."""
        ...

    async def cancel_requests(self, worker_id: int) -> frozenset[int]:
        """Return the runs of this worker that someone asked to cancel."""
        ...

    async def held_by(self, worker_id: int) -> Sequence[Hold]:
        """Return what a worker holds by the record, by leases that have not ended."""
        ...

    async def stage(self, hold: Hold, seq: int, rows: bytes) -> None:
        """Store a chunk of row objects (joined by commas, no brackets), unseen until the run succeeds.

        Raises:
            LeaseLost: the run is no longer held by this token.
        """
        ...

    async def succeed(self, hold: Hold, success: Success) -> Run:
        """Store result and status in one transaction, guarded by token and unexpired lease.

        Raises:
            LeaseLost: the run is no longer held by this token; nothing was changed.
            ResultRejected: the database cannot hold the result; nothing was changed.
        """
        ...

    async def fail(self, hold: Hold, failure: Failure, *, retry_in_s: float | None) -> Run:
        """End the run with an error, or queue it again when ``retry_in_s`` says when.

        A run that someone asked to cancel is not tried again but cancelled.
        A final error counts towards ``pause_after_failures``.

        Raises:
            LeaseLost: the run is no longer held by this token; nothing was changed.
        """
        ...

    async def cancelled(self, hold: Hold) -> Run:
        """Record that a held run was cancelled as asked.

        Raises:
            LeaseLost: the run is no longer held by this token; nothing was changed.
        """
        ...

    async def hand_back(self, holds: Sequence[Hold]) -> int:
        """Queue held runs again at once, the try not counted; returns how many were still held.

        Those that someone asked to cancel are cancelled instead.
        """
        ...

    async def reap(self) -> Sequence[Run]:
        """Rescue the runs whose lease has expired or whose worker's connection is gone.

        One conditional UPDATE: back to queued, or an error ``worker_lost`` when lost twice; a run that was
        asked to cancel is cancelled. What lost workers kept open at sources counts no more.
        """
        ...

    async def request(
        self, query_id: int, trigger: Trigger = Trigger.MANUAL, *, params: str | None = None
    ) -> Run:
        """Queue a run now, whatever the schedule; disabled queries too. Workers are told by a hint.

        ``params`` names a parameter set of the query; without it the first is taken.

        Raises:
            NotFound: there is no such query, or no such set.
        """
        ...

    async def request_cancel(self, run_id: int) -> Run:
        """Cancel a waiting run at once; ask the worker of a running one to.

        Raises:
            NotFound: there is no such run.
            NotCancellable: it is over.
        """
        ...

    async def status_of(self, run_id: int) -> RunStatus:
        """Return where a run stands.

        Raises:
            NotFound: there is no such run.
        """
        ...


@runtime_checkable
class KeptConnections(Protocol):
    """What each worker has open at a source, so that claims of the others leave it its place."""

    async def note(self, worker_id: int, source_id: int, connections: int, *, for_s: float) -> int:
        """Ask for places for a worker's connections to a source for so long, idle ones included.

        Returns how many were granted: no more than the runs and notes of others leave of the source's
        ``max_concurrency``. To be asked before the run ends whose connection is kept, so that the source
        never has more than those over all workers; the former note no longer counts. 0 takes it back. At a
        source that is gone there are none. Who makes no claims has a number below 0 and leaves the last place
        to runs.

        Raises:
            DatabaseFault: it could not be noted; nothing more may be kept then.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkerInfo:
    """What a worker says of itself."""

    #: host name
    host: str
    #: process id there
    pid: int
    #: pgsched's version
    version: str
    #: runs at once
    concurrency: int


@runtime_checkable
class Attendance(Protocol):
    """A worker's presence while it is enlisted."""

    #: identity of this presence; a restarted worker gets another
    worker_id: int

    async def hint(self, timeout_s: float) -> bool:
        """Wait for a hint that jobs or runs changed; False when none came in time.

        A lost hint costs time, never a run: whoever waits looks for itself after the timeout. A broken
        connection is made anew here, and its session lock with it.

        Raises:
            DatabaseUnavailable: the database cannot be reached now; try again.
        """
        ...

    async def beat(self, figures: Mapping[str, float] | None = None) -> None:
        """Write that the worker is alive, and figures of its process by name."""
        ...


@runtime_checkable
class Workers(Protocol):
    """The workers that are there."""

    def enlist(self, info: WorkerInfo) -> AbstractAsyncContextManager[Attendance]:
        """Announce a worker and hold the session lock by which others notice its end.

        Leaving takes the lock off and marks the worker as stopped.

        Raises:
            DatabaseUnavailable: the database cannot be reached now.
        """
        ...

    async def alive(self) -> int:
        """Return how many workers are present now."""
        ...
