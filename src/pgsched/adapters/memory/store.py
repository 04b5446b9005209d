"""The one place that holds what the memory adapters share, as the database does for the real ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from pgsched.adapters.memory.clock import ManualClock
from pgsched.application.ports.queue import WorkerInfo
from pgsched.application.ports.upkeep import RunCount
from pgsched.domain.accounts import Account
from pgsched.domain.audience import Grant
from pgsched.domain.audit import AuditEvent
from pgsched.domain.jobs import Job
from pgsched.domain.ledger import Phase
from pgsched.domain.planning import Gap
from pgsched.domain.runs import TRANSITIONS, Run, RunStatus
from pgsched.domain.sessions import Session
from pgsched.domain.sources import DataSource
from pgsched.domain.tokens import ApiToken

#: the message of a run that was cancelled as asked
CANCELLED = "cancelled on request"


@dataclass(kw_only=True, slots=True)
class RunRecord:
    """A run and what its readers do not see: the queue's side of a query_run row."""

    #: as readers see it, its message whole
    run: Run
    #: the source in whose line it waits
    source_id: int
    #: not to be started before, UTC
    ready_at: datetime
    #: skipped when still waiting then, UTC; None for never
    deadline_at: datetime | None = None
    #: false under overlap_policy allow
    exclusive: bool = True
    #: what every reader may see of the message
    public: str | None = None
    #: fencing token of the last claim
    token: int = 0
    #: end of the lease, UTC; None when not held
    lease_until: datetime | None = None
    #: who holds it, None when not held
    worker_id: int | None = None
    #: how often it was lost with its worker
    losses: int = 0
    #: whether someone asked to cancel it
    cancel_requested: bool = False
    #: staged row objects by (token, seq)
    chunks: dict[tuple[int, int], bytes] = field(default_factory=dict)
    #: the stored result, None until it succeeded
    document: bytes | None = None
    #: bytes of its rows as they were encoded
    byte_size: int = 0
    #: whether it was staged in chunks
    chunked: bool = False
    #: when it was planned or asked for, UTC
    recorded_at: datetime

    @property
    def place(self) -> tuple[datetime, int]:
        """Where the run stands in the order that readers page in."""
        return self.run.scheduled_at, self.run.id

    def change(self, **changes: Any) -> Run:
        """Replace fields of the run, heeding the state chart.

        Raises:
            RuntimeError: the chart has no such transition; a fault of the caller.
        """
        before, after = self.run.status, changes.get("status", self.run.status)
        if before.is_terminal or (after is not before and after not in TRANSITIONS[before]):
            raise RuntimeError(f"run {self.run.id} cannot go from {before} to {after}")
        self.run = replace(self.run, **changes)
        return self.run

    def release(self) -> None:
        """End the hold."""
        self.lease_until = self.worker_id = None
        self.cancel_requested = False

    def end(self, now: datetime, status: RunStatus, **changes: Any) -> Run:
        """End the run for good; what it staged and does not need is dropped."""
        started = self.run.run_started_at
        duration = None if started is None else round((now - started) / timedelta(milliseconds=1))
        self.release()
        self.chunks.clear()
        return self.change(status=status, run_finished_at=now, duration_ms=duration, **changes)

    def wait(self, ready_at: datetime, **changes: Any) -> Run:
        """Queue the run again."""
        self.release()
        self.chunks.clear()
        self.ready_at = ready_at
        return self.change(status=RunStatus.QUEUED, run_started_at=None, **changes)


#: what ``MemoryStore.snapshot`` holds
_PEOPLES = frozenset(
    {
        "sources",
        "jobs",
        "phases",
        "accounts",
        "password_hashes",
        "sessions",
        "tokens",
        "token_ids",
        "login_failures",
        "grants",
        "events",
    }
)


class Jobs(dict[int, Job]):
    """The jobs; a change begins a new phase, as the database's trigger sees to it."""

    def __init__(self, store: MemoryStore, jobs: Mapping[int, Job] | None = None) -> None:
        super().__init__(jobs or {})
        self._store = store

    def __setitem__(self, job_id: int, job: Job) -> None:
        """Store a job, and what changed about when it is due."""
        spec = job.spec
        phase = Phase(
            since=self._store.clock.read(),
            schedule=job.schedule,
            enabled=spec.enabled,
            sets=spec.set_names,
            pause_reason=job.pause_reason,
            first_at=job.next_run_at,
        )
        known = self._store.phases.setdefault(job_id, [])
        if not known or replace(phase, since=known[-1].since, first_at=known[-1].first_at) != known[-1]:
            known.append(phase)
        super().__setitem__(job_id, job)

    def __delitem__(self, job_id: int) -> None:
        """Forget a job with its past."""
        self._store.phases.pop(job_id, None)
        super().__delitem__(job_id)

    def __deepcopy__(self, memo: dict[int, Any]) -> Jobs:
        """Copy the jobs, not the store they are in."""
        return Jobs(self._store, self)


class MemoryStore:
    """Everything that is kept; stands where the real adapters take a ``Database``."""

    def __init__(self, clock: ManualClock | None = None) -> None:
        self.clock = clock or ManualClock()
        self.sources: dict[int, DataSource] = {}
        self.jobs: dict[int, Job] = Jobs(self)
        #: by query, oldest first
        self.phases: dict[int, list[Phase]] = {}
        self.accounts: dict[int, Account] = {}
        #: by account
        self.password_hashes: dict[int, str] = {}
        #: by the sid's hash
        self.sessions: dict[str, Session] = {}
        self.tokens: dict[int, ApiToken] = {}
        #: by the token's hash
        self.token_ids: dict[str, int] = {}
        #: (address tried, network, when)
        self.login_failures: list[tuple[str, str | None, datetime]] = []
        self.events: dict[int, AuditEvent] = {}
        self.runs: dict[int, RunRecord] = {}
        #: by query
        self.grants: dict[int, list[Grant]] = {}
        #: by query, first instant and parameter set
        self.gaps: dict[tuple[int, datetime, str], Gap] = {}
        #: connections that may be open, and until when (UTC), by worker and source
        self.kept: dict[tuple[int, int], tuple[int, datetime]] = {}
        #: dry runs under way: user, source, until when at most
        self.dry_runs: list[tuple[str, int, datetime]] = []
        #: when each gap was written, UTC
        self.gap_times: dict[tuple[int, datetime, str], datetime] = {}
        #: when each worker came and left, UTC; None while it is there
        self.attended: dict[int, tuple[datetime, datetime | None]] = {}
        #: workers that are there, and what wakes each
        self.present: dict[int, asyncio.Event] = {}
        #: what each worker said of itself when it came, and with its last sign of life
        self.worker_infos: dict[int, WorkerInfo] = {}
        self.worker_figures: dict[int, dict[str, float]] = {}
        #: by query: until where runs were deleted, how many, how many bytes of results
        self.deleted: dict[int, tuple[datetime, int, int]] = {}
        #: runs that are counted, and what of runs that are over by query, status and reason
        self.counted: set[int] = set()
        self.counts: dict[tuple[int, RunStatus, str], RunCount] = {}
        #: workers that were there
        self.departed: set[int] = set()
        self._ids = count(1)
        self._tokens = count(1)

    def new_id(self) -> int:
        """Return an identity that nothing else has, not even of another kind: mix-ups show."""
        return next(self._ids)

    def new_token(self) -> int:
        """Return a fencing token higher than all before."""
        return next(self._tokens)

    def snapshot(self) -> dict[str, Any]:
        """Return what people's changes touch, as it is now; runs are the queue's own affair."""
        return {name: deepcopy(value) for name, value in vars(self).items() if name in _PEOPLES}

    def restore(self, before: dict[str, Any]) -> None:
        """Put back what a snapshot held."""
        for name, value in before.items():
            setattr(self, name, value)

    def remove_tokens(self, gone: Iterable[int]) -> None:
        """Delete tokens and their grants."""
        ids = set(gone)
        self.tokens = {key: token for key, token in self.tokens.items() if key not in ids}
        self.token_ids = {hash_: key for hash_, key in self.token_ids.items() if key not in ids}
        self.remove_grants(lambda grant: grant.token_id in ids)

    def remove_grants(self, is_gone: Callable[[Grant], bool]) -> None:
        """Delete the grants that a condition is true of."""
        for query_id, grants in self.grants.items():
            self.grants[query_id] = [grant for grant in grants if not is_gone(grant)]

    def moment_after(self, before: datetime) -> datetime:
        """Return now, or the next moment after ``before`` where time stands: every change has its own."""
        return max(self.clock.read(), before + timedelta(microseconds=1))

    def hint(self) -> None:
        """Wake every worker that is there."""
        for event in self.present.values():
            event.set()
