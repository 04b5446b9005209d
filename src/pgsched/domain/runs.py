"""Runs: the state chart, what a claim is, how a run ends and whether it is tried again.

::

    queued ──claim──▶ running ──▶ success | error | cancelled
      │  ▲               │
      │  └── retry, lost worker, drain
      └──▶ skipped (overlap, misfire, deadline, paused) | cancelled

A terminal status never changes; the schema enforces the same chart (``run_keeps_its_chart``).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pgsched.domain.errors import PgschedError, SourceFault, SourceUnreachable

#: seconds a claim holds without being renewed
LEASE_S = 30.0
#: seconds between renewals
RENEW_EVERY_S = 10.0
#: seconds without a successful renewal after which a worker stops trusting its lease (monotonic)
SELF_KILL_S = 25.0
#: times a run may be lost with its worker before that is its error
MAX_LOSSES = 2
#: seconds, the longest wait before another try
MAX_BACKOFF_S = 900.0
#: most runs of one query at once under ``allow``
MAX_PARALLEL = 4
#: bytes of encoded rows; a larger result is stored in chunks of rows
CHUNK_ABOVE_BYTES = 4 * 1024 * 1024
#: most runs of one query that wait
MAX_WAITING = 100


class RunStatus(StrEnum):
    """Where a run stands."""

    #: planned or asked for, waits for a worker
    QUEUED = "queued"
    #: a worker holds it by a lease
    RUNNING = "running"
    #: ended, its result is stored
    SUCCESS = "success"
    #: ended, says why
    ERROR = "error"
    #: ended because someone or a newer run asked for it
    CANCELLED = "cancelled"
    #: never started, says why
    SKIPPED = "skipped"

    @property
    def is_terminal(self) -> bool:
        """Whether the run is over for good."""
        return not TRANSITIONS[self]


TRANSITIONS: dict[RunStatus, frozenset[RunStatus]] = {
    RunStatus.QUEUED: frozenset({RunStatus.RUNNING, RunStatus.CANCELLED, RunStatus.SKIPPED}),
    RunStatus.RUNNING: frozenset({RunStatus.SUCCESS, RunStatus.ERROR, RunStatus.CANCELLED, RunStatus.QUEUED}),
    RunStatus.SUCCESS: frozenset(),
    RunStatus.ERROR: frozenset(),
    RunStatus.CANCELLED: frozenset(),
    RunStatus.SKIPPED: frozenset(),
}


class Trigger(StrEnum):
    """Who asked for a run."""

    #: the query's schedule
    SCHEDULE = "schedule"
    #: a person, now
    MANUAL = "manual"
    #: a person, for instants of the past
    BACKFILL = "backfill"


class SkipReason(StrEnum):
    """Why an instant did not run; stands in ``error_code``."""

    #: the earlier run was not over
    OVERLAP = "overlap"
    #: it was found too late
    MISFIRE = "misfire"
    #: it waited longer than start_deadline_s
    DEADLINE = "deadline"
    #: the query was paused after failures
    PAUSED = "paused"


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One execution of a query, or the record of why there was none."""

    #: identity, 64 bit
    id: int
    #: the query
    query_id: int
    #: the instant it stands for, or when it was asked for; UTC
    scheduled_at: datetime
    #: the query's zone when it was planned
    job_timezone: str
    #: the claim, connecting included; UTC; None until then
    run_started_at: datetime | None = None
    #: UTC; None until it is over
    run_finished_at: datetime | None = None
    #: milliseconds from start to finish
    duration_ms: int | None = None
    #: see the chart
    status: RunStatus
    #: rows stored
    rows_returned: int | None = None
    #: for editors the whole text, for others the primary message alone
    error_message: str | None = None
    #: stable code
    error_code: str | None = None
    #: tries so far
    attempt: int = 0
    #: who asked
    trigger: Trigger
    #: whether a limit cut the result
    truncated: bool = False
    #: the query's parameter set it ran with; None for a query without sets
    params: str | None = None
    #: what its parameters were at the source, in Postgres's text form; None until it succeeded
    param_values: dict[str, str | None] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Hold:
    """A worker's proof that a run is its own: what every write about it is guarded by."""

    #: the run
    run_id: int
    #: fencing token; only ever grows
    token: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Success:
    """A complete result; ``chunks`` of it were staged before."""

    #: rows stored
    rows: int
    #: bytes of encoded rows stored
    byte_size: int
    #: whether a limit cut it
    truncated: bool
    #: Table Schema as JSON
    table_schema: bytes
    #: row objects joined by commas, without brackets; empty when chunks hold them
    data: bytes
    #: how many chunks were staged; 0 when ``data`` holds the rows
    chunks: int = 0
    #: what the parameters were, in Postgres's text form
    param_values: dict[str, str | None] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """Why an attempt came to nothing."""

    #: stable code
    code: str
    #: the whole text, for editors
    message: str
    #: what every reader of the query may see
    public: str
    #: SQLSTATE, where the source gave one
    sqlstate: str | None = None
    #: whether it can pass by itself
    passing: bool = False

    @classmethod
    def of(cls, error: PgschedError) -> Failure:
        """Describe an error as the end of an attempt."""
        if isinstance(error, SourceFault):
            return cls(
                code=error.code,
                message=error.detail,
                public=error.public,
                sqlstate=error.sqlstate,
                passing=isinstance(error, SourceUnreachable) or is_passing(error.sqlstate),
            )
        return cls(code=error.code, message=error.detail, public=PUBLIC_MESSAGE.get(error.code, error.detail))


#: fixed texts for faults whose detail is nothing for a dashboard
PUBLIC_MESSAGE = {
    "cannot_open": "the source's password cannot be opened",
    "no_private_key": "the source's password cannot be opened",
    "key_fault": "the source's password cannot be opened",
    "internal_error": "an internal error; the worker's log says more",
}


def is_passing(sqlstate: str | None) -> bool:
    """Whether an SQLSTATE names something that can pass by itself (PostgreSQL, appendix A).

    Class 08 is a lost connection, 40 a rolled back transaction; 53300 too many connections, 55P03 a lock
    that was not to be had, 57P01 to 57P03 a server that stops or starts.
    """
    if sqlstate is None:
        return False
    return sqlstate[:2] in {"08", "40"} or sqlstate in {"53300", "55P03", "57P01", "57P02", "57P03"}


def retry_delay(*, run_id: int, attempt: int, max_attempts: int, backoff_s: int) -> float | None:
    """Return the seconds to wait before another try, or None when this one was the last.

    Doubles with each attempt, at most 15 minutes, spread by ±10 % (a hash, so that every worker agrees).
    """
    if attempt >= max_attempts:
        return None
    nominal = min(backoff_s * 2.0 ** (attempt - 1), MAX_BACKOFF_S)
    return min(nominal * (0.9 + 0.2 * fraction_of(run_id, attempt)), MAX_BACKOFF_S)


def fraction_of(*parts: object) -> float:
    """Return a number in [0, 1) that depends on nothing but the parts."""
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64
