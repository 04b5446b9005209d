"""The ledger: every instant that a query's schedules named, and what became of it, from the record.

Pure: the query's past (which schedule was in force when, whether it was enabled or paused) and its rows in,
one entry for each instant and parameter set out. Nothing is guessed: where the record is silent, it says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from heapq import merge
from itertools import islice, takewhile

from pgsched.domain.errors import PgschedError
from pgsched.domain.planning import Gap
from pgsched.domain.runs import Run, RunStatus, SkipReason
from pgsched.domain.schedules import Schedule

#: a run that started no later than this after its instant (and its jitter) counts as in time
IN_TIME = timedelta(seconds=1)
#: error codes that mean that there was no source to ask
_SOURCE_DOWN = frozenset({"source_unreachable", "source_refused"})


class Fate(StrEnum):
    """What became of an instant."""

    #: ran in time and succeeded
    RAN = "ran"
    #: ran and succeeded, later than a second after its instant
    LATE = "late"
    #: a worker holds it
    RUNNING = "running"
    #: planned, waits for a worker
    WAITING = "waiting"
    #: ran and failed
    FAILED = "failed"
    #: its source could not be reached, or refused the login
    SOURCE_DOWN = "source_down"
    #: someone, or a newer run, asked for its end
    CANCELLED = "cancelled"
    #: not run, because the earlier run was not over
    SKIPPED = "skipped"
    #: not run, because it was found or got its turn too late
    MISSED = "missed"
    #: not run, because the query was paused
    PAUSED = "paused"
    #: not planned, because the query was disabled
    DISABLED = "disabled"
    #: due, and no worker has planned it yet
    DUE = "due"
    #: still to come
    NOT_DUE = "not_due"
    #: its record was deleted by keep_runs or keep_days
    DELETED = "deleted"
    #: the query, or this schedule, was not there yet
    BEFORE = "before"
    #: there should be a record and there is none
    UNRECORDED = "unrecorded"


@dataclass(frozen=True, kw_only=True, slots=True)
class Phase:
    """A stretch of a query's past in which its schedule, and whether it was planned, did not change."""

    #: its beginning, UTC; it lasts until the next one's
    since: datetime
    #: what named the instants
    schedule: Schedule
    #: whether they were planned
    enabled: bool
    #: parameter sets that each instant was run with; one without a name for a query without sets
    sets: tuple[str, ...] = ("",)
    #: why they were recorded and not run, None when not paused
    pause_reason: str | None = None
    #: the first instant that was to be planned when it began, UTC; earlier than ``since`` for a backlog
    first_at: datetime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Past:
    """What explaining needs of a query beside its rows."""

    #: the query
    query_id: int
    #: its name
    name: str
    #: the database's now, UTC
    now: datetime
    #: oldest first; empty only where the record was lost
    phases: tuple[Phase, ...]
    #: next instant to be planned, UTC; None when there is none
    next_run_at: datetime | None
    #: seconds over which starts are spread
    jitter_s: int = 0
    #: runs of instants up to this one may have been deleted, UTC; None when none were
    deleted_to: datetime | None = None
    #: since when it is known which workers were there, UTC
    workers_since: datetime
    #: when workers were there, UTC: from, to
    attended: tuple[tuple[datetime, datetime], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Recorded:
    """A row that stands for one instant."""

    #: the run, its message as the reader may see it
    run: Run
    #: when the row was written, UTC
    at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordedGap:
    """A row that stands for many instants."""

    #: which
    gap: Gap
    #: when the row was written, UTC
    at: datetime
    #: whose instants, empty for a query without sets
    params: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One instant, of one parameter set, and what became of it."""

    #: the instant, UTC
    at: datetime
    #: the parameter set, None for a query without sets
    params: str | None = None
    #: what became of it
    outcome: Fate
    #: the same for a person, with the reason
    detail: str
    #: the run that stands for it, None when none does
    run_id: int | None = None
    #: that run's status
    status: RunStatus | None = None
    #: seconds from the instant to the start of the (last) attempt, None when it did not start
    late_s: float | None = None
    #: stable code of what went wrong
    error_code: str | None = None


def expected(past: Past, start: datetime, end: datetime) -> Iterator[tuple[datetime, Phase]]:
    """Yield the instants from ``start`` (inclusive) to ``end`` (exclusive) with the phase that named each."""
    seen: datetime | None = None
    for at, phase in merge(*_per_phase(past, start, end), key=lambda pair: pair[0]):
        if at != seen:
            yield at, phase
        seen = at


def newest_expected(past: Past, until: datetime, params: str | None = None) -> datetime | None:
    """Return the last instant not later than ``until`` that any schedule named, None when there is none.

    With ``params`` the last one that had this parameter set.
    """
    newest = None
    for phase, begin, end in _stretches(past):
        if params is not None and params not in phase.sets:
            continue
        try:
            at = phase.schedule.newest_until(until if end is None else min(until, end))
        except PgschedError:
            continue
        if at is not None and at >= begin and (newest is None or at > newest):
            newest = at
    return newest


def explain(
    past: Past,
    rows: tuple[Recorded, ...],
    gaps: tuple[RecordedGap, ...],
    *,
    start: datetime,
    end: datetime,
    limit: int,
    params: str | None = None,
) -> tuple[list[Entry], datetime | None]:
    """Say of instants what became of them, and where the next ones begin, None at the end.

    At most ``limit`` entries, one for each instant and parameter set (or for ``params`` alone); the sets of
    one instant are never parted, so an instant with more sets than that comes by itself.

    ``rows`` are the scheduled runs in the range (of ``params`` alone when given), oldest first, at least
    ``limit + MOST_SETS + 1`` of them if there are; ``gaps`` those that reach into it. An instant that has a
    row and that no known schedule named is told too.
    """
    recorded: dict[datetime, dict[str, Recorded]] = {}
    for row in rows:
        recorded.setdefault(row.run.scheduled_at, {})[row.run.params or ""] = row
    named = dict(islice(expected(past, start, end), limit + 1))
    # which instants come after these is not known yet
    horizon = max(named) if len(named) > limit else None
    entries: list[Entry] = []
    for at in sorted(named.keys() | recorded.keys()):
        if at == horizon:
            return entries, at
        phase, its_rows = named.get(at), recorded.get(at, {})
        its_gaps = {each.params: each for each in gaps if each.gap.from_at <= at <= each.gap.to_at}
        sets = dict.fromkeys((*(phase.sets if phase is not None else ()), *its_rows, *its_gaps))
        told = [
            replace(
                _entry(past, at, phase, its_rows.get(name), its_gaps.get(name)),
                params=name or None,
            )
            for name in sets
            if params is None or name == params
        ]
        if entries and len(entries) + len(told) > limit:
            return entries, at
        entries += told
    return entries, None


def _per_phase(past: Past, start: datetime, end: datetime) -> list[Iterator[tuple[datetime, Phase]]]:
    return [
        _named(phase, max(start, begin), end if until is None else min(until, end))
        for phase, begin, until in _stretches(past)
    ]


def _named(phase: Phase, begin: datetime, end: datetime) -> Iterator[tuple[datetime, Phase]]:
    try:
        instants = phase.schedule.instants_after(begin, inclusive=True)
        yield from ((at, phase) for at in takewhile(lambda at: at < end, instants))
    except PgschedError:
        # A schedule that cannot be read any more (its zone is gone) names nothing; its pause says why.
        return


def _stretches(past: Past) -> Iterator[tuple[Phase, datetime, datetime | None]]:
    """Yield each phase with the first and the last moment at which it could name an instant."""
    before: Phase | None = None
    for number, phase in enumerate(past.phases):
        until = past.phases[number + 1].since if number + 1 < len(past.phases) else None
        begin = phase.since
        # A schedule that is new reaches back to its first instant; one that was merely paused does not.
        is_new = before is None or before.schedule != phase.schedule
        if is_new and phase.first_at is not None:
            begin = min(begin, phase.first_at)
        # One that starts later names nothing before; a cron expression alone does not say so.
        if phase.schedule.anchor is not None:
            begin = max(begin, phase.schedule.anchor)
        yield phase, begin, until
        before = phase


def _entry(
    past: Past, at: datetime, phase: Phase | None, row: Recorded | None, gap: RecordedGap | None
) -> Entry:
    if row is not None:
        return _of_row(past, at, row)
    if gap is not None:
        outcome, detail = _not_run(past, at, phase, gap.gap.reason, gap.at)
        detail += f" (one of {gap.gap.instants} instants recorded together)"
        return Entry(at=at, outcome=outcome, detail=detail, error_code=gap.gap.reason.value)
    outcome, detail = _unrecorded(past, at, phase)
    return Entry(at=at, outcome=outcome, detail=detail)


def _of_row(past: Past, at: datetime, row: Recorded) -> Entry:
    run = row.run
    late = None if run.run_started_at is None else (run.run_started_at - at).total_seconds()
    match run.status:
        case RunStatus.SUCCESS:
            outcome, detail = _ran(past, at, row, late or 0.0)
        case RunStatus.ERROR if run.error_code in _SOURCE_DOWN:
            outcome, detail = Fate.SOURCE_DOWN, f"at try {run.attempt}: {run.error_message}"
        case RunStatus.ERROR:
            outcome, detail = Fate.FAILED, f"at try {run.attempt}: {run.error_message}"
        case RunStatus.CANCELLED:
            outcome, detail = Fate.CANCELLED, run.error_message or "cancelled"
        case RunStatus.RUNNING:
            outcome, detail = Fate.RUNNING, f"a worker runs it, try {run.attempt}"
        case RunStatus.QUEUED:
            outcome, detail = Fate.WAITING, _waits(past, row)
        case RunStatus.SKIPPED:
            reason = SkipReason(run.error_code or SkipReason.MISFIRE)
            outcome, detail = _not_run(past, at, None, reason, row.at, run.error_message)
    return Entry(
        at=at,
        outcome=outcome,
        detail=detail,
        run_id=run.id,
        status=run.status,
        late_s=late,
        error_code=run.error_code,
    )


def _ran(past: Past, at: datetime, row: Recorded, late: float) -> tuple[Fate, str]:
    if late <= IN_TIME.total_seconds() + past.jitter_s:
        return Fate.RAN, "ran in time"
    told = [f"ran {late:.1f} s late"]
    if row.run.attempt > 1:
        told.append(f"at try {row.run.attempt}")
    if row.at - at > IN_TIME:
        told.append(_found(past, at, row.at))
    return Fate.LATE, ", ".join(told)


def _waits(past: Past, row: Recorded) -> str:
    if row.run.attempt:
        return f"waits for its next try after {row.run.error_code or 'its worker was lost'}"
    if not _attended(past, past.now):
        return "waits for a worker; none is there"
    return "waits for its turn: for the query's earlier run, or for a place at the source"


def _not_run(
    past: Past,
    at: datetime,
    phase: Phase | None,
    reason: SkipReason,
    found_at: datetime,
    told: str | None = None,
) -> tuple[Fate, str]:
    match reason:
        case SkipReason.OVERLAP:
            return Fate.SKIPPED, told or "the query's earlier run was not over"
        case SkipReason.DEADLINE:
            return Fate.MISSED, told or "waited longer than start_deadline_s"
        case SkipReason.PAUSED:
            why = phase.pause_reason if phase is not None and phase.pause_reason else _pause_at(past, at)
            return Fate.PAUSED, f"the query was paused: {why}" if why else "the query was paused"
        case SkipReason.MISFIRE:
            return Fate.MISSED, f"{_found(past, at, found_at)}; the misfire policy recorded it without a run"


def _found(past: Past, at: datetime, found_at: datetime) -> str:
    told = f"found {(found_at - at).total_seconds():.1f} s after it was due"
    if at >= past.workers_since and not _attended(past, at):
        told += ", no worker was there when it was"
    return told


def _attended(past: Past, at: datetime) -> bool:
    return any(since <= at <= until for since, until in past.attended)


def _pause_at(past: Past, at: datetime) -> str | None:
    """Return why the query was paused when, or soon after, an instant was due."""
    reasons = [phase.pause_reason for phase in past.phases if phase.since <= at and phase.pause_reason]
    return reasons[-1] if reasons else None


def _unrecorded(past: Past, at: datetime, phase: Phase | None) -> tuple[Fate, str]:
    if phase is None:
        return Fate.BEFORE, "no schedule of this query named that time"
    if not phase.enabled:
        return Fate.DISABLED, "the query was disabled"
    if at > past.now:
        return Fate.NOT_DUE, "still to come"
    if past.deleted_to is not None and at <= past.deleted_to:
        return Fate.DELETED, "its record was deleted as keep_runs and keep_days say"
    if past.next_run_at is not None and at >= past.next_run_at:
        who = "a worker is there and will plan it" if _attended(past, past.now) else "no worker is there"
        return Fate.DUE, f"due since {(past.now - at).total_seconds():.1f} s and not planned yet: {who}"
    if phase.pause_reason is not None:
        return Fate.PAUSED, f"the query was paused: {phase.pause_reason}"
    return (
        Fate.UNRECORDED,
        "there is no record of it: the database may be a restored backup, or rows were deleted by hand",
    )
