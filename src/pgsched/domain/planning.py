"""Planning: which due instants run, which are recorded and why, and what comes next.

Pure: the job, its active runs and ``now`` in, a ``Plan`` out. Planning the same state twice gives the same
plan; the database's unique index makes carrying it out twice harmless.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import groupby

from pgsched.domain.durations import Duration
from pgsched.domain.errors import PgschedError
from pgsched.domain.jobs import Job, MisfirePolicy, OverlapPolicy
from pgsched.domain.runs import MAX_WAITING, RunStatus, SkipReason, fraction_of
from pgsched.domain.schedules import Schedule

#: how late an instant may be found and still count as in time
GRACE = timedelta(seconds=60)
#: more instants than this with one fate become one gap
GAP_THRESHOLD = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class ActiveRuns:
    """The scheduled runs of one query that are not over."""

    #: waiting
    queued: int = 0
    #: held by a worker
    running: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedRun:
    """One due instant that becomes a row of its own."""

    #: the instant, UTC
    instant: datetime
    #: None when it shall run
    skipped: SkipReason | None = None
    #: not to be started before, UTC
    ready_at: datetime
    #: skipped when still waiting then, UTC; None for never
    deadline_at: datetime | None = None

    @property
    def status(self) -> RunStatus:
        """The status the row begins with."""
        return RunStatus.QUEUED if self.skipped is None else RunStatus.SKIPPED


@dataclass(frozen=True, kw_only=True, slots=True)
class Gap:
    """More instants than deserve rows, with one fate."""

    #: first instant, UTC
    from_at: datetime
    #: last instant, UTC
    to_at: datetime
    #: how many
    instants: int
    #: why they did not run
    reason: SkipReason


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What to record and what comes next."""

    #: rows, oldest first
    runs: tuple[PlannedRun, ...] = ()
    #: gaps, oldest first
    gaps: tuple[Gap, ...] = ()
    #: whether earlier runs of this query are to be cancelled first
    cancel_previous: bool = False
    #: the first instant not yet due, UTC; None when the schedule has ended
    next_run_at: datetime | None = None


@dataclass(slots=True)
class _Missed:
    """A run of consecutive instants with one fate: all of them up to a threshold, then ends and count."""

    reason: SkipReason
    count: int = 0
    first: datetime | None = None
    last: datetime | None = None
    few: list[datetime] = field(default_factory=list)

    def add(self, instant: datetime) -> None:
        self.first = self.first or instant
        self.last = instant
        self.count += 1
        if self.count <= GAP_THRESHOLD:
            self.few.append(instant)

    def extend(self, first: datetime, last: datetime, count: int) -> None:
        self.first, self.last, self.count = self.first or first, last, self.count + count


def plan_due(job: Job, now: datetime, active: ActiveRuns) -> Plan:
    """Decide the fate of every instant from ``job.next_run_at`` up to and including ``now``."""
    if job.next_run_at is None or job.next_run_at > now:
        return Plan(next_run_at=job.next_run_at)
    schedule = job.schedule
    following = schedule.next_after(now)
    if job.paused_at is not None:
        return _record(
            _missed(schedule, job.next_run_at, now, SkipReason.PAUSED), (), job, schedule, following
        )
    window_start = Duration.parse(job.spec.misfire_window).before(now)
    outside = _missed(
        schedule,
        job.next_run_at,
        min(now, window_start),
        SkipReason.MISFIRE,
        exclusive_end=window_start <= now,
    )
    inside = schedule.instants_after(max(job.next_run_at, window_start), inclusive=True)
    due = _until(inside, now)
    match job.spec.misfire_policy:
        case MisfirePolicy.ONCE:
            late, chosen = _keep_newest(outside, due, 1)
            catching_up = False
        case MisfirePolicy.ALL:
            late, chosen = _keep_newest(outside, due, MAX_WAITING)
            catching_up = len(chosen) > 1
        case MisfirePolicy.SKIP:
            late, chosen = _drop_late(outside, due, now)
            catching_up = False
    if catching_up:
        return _record(late, [(instant, None) for instant in chosen], job, schedule, following)
    fates, cancel = _overlaps(job.spec.overlap_policy, chosen, active)
    return _record(late, fates, job, schedule, following, cancel_previous=cancel)


def why_unplannable(error: Exception) -> str:
    """Say why a job is paused whose planning raised: what its schedule lacks, or that the fault is ours."""
    if isinstance(error, PgschedError):
        return f"cannot be planned: {error.detail}"
    return f"cannot be planned: internal error ({type(error).__name__}); the worker's log says more"


def _until(instants: Iterator[datetime], now: datetime) -> Iterator[datetime]:
    for instant in instants:
        if instant > now:
            return
        yield instant


def _missed(
    schedule: Schedule, start: datetime, end: datetime, reason: SkipReason, *, exclusive_end: bool = False
) -> _Missed:
    """Collect the instants from ``start`` up to ``end``, without walking through a long backlog."""
    missed = _Missed(reason)
    last: datetime | None = None
    for instant in schedule.instants_after(start, inclusive=True):
        if instant > end or (exclusive_end and instant == end):
            return missed
        if missed.count >= GAP_THRESHOLD:
            break
        missed.add(last := instant)
    if last is None:
        return missed
    stop = end - timedelta(microseconds=1) if exclusive_end else end
    count = schedule.count_between(last, stop)
    if count:
        newest = schedule.newest_until(stop)
        assert newest is not None
        missed.extend(last, newest, count)
    return missed


def _keep_newest(missed: _Missed, due: Iterable[datetime], keep: int) -> tuple[_Missed, list[datetime]]:
    newest: deque[datetime] = deque()
    for instant in due:
        newest.append(instant)
        if len(newest) > keep:
            missed.add(newest.popleft())
    return missed, list(newest)


def _drop_late(missed: _Missed, due: Iterable[datetime], now: datetime) -> tuple[_Missed, list[datetime]]:
    in_time = []
    for instant in due:
        if now - instant > GRACE:
            missed.add(instant)
        else:
            in_time.append(instant)
    return missed, in_time


def _overlaps(
    policy: OverlapPolicy, instants: list[datetime], active: ActiveRuns
) -> tuple[list[tuple[datetime, SkipReason | None]], bool]:
    """Judge instants one after the other against the runs that are not over."""
    if policy is OverlapPolicy.CANCEL_PREVIOUS:
        older: list[tuple[datetime, SkipReason | None]] = [(i, SkipReason.OVERLAP) for i in instants[:-1]]
        return [*older, *((i, None) for i in instants[-1:])], bool(instants) and active != ActiveRuns()
    waiting = active.queued
    fates: list[tuple[datetime, SkipReason | None]] = []
    for instant in instants:
        match policy:
            case OverlapPolicy.SKIP:
                free = waiting + active.running == 0
            case OverlapPolicy.QUEUE:
                free = waiting == 0
            case _:
                free = waiting < MAX_WAITING
        fates.append((instant, None if free else SkipReason.OVERLAP))
        waiting += free
    return fates, False


def _record(
    missed: _Missed,
    fates: Iterable[tuple[datetime, SkipReason | None]],
    job: Job,
    schedule: Schedule,
    following: datetime | None,
    *,
    cancel_previous: bool = False,
) -> Plan:
    gaps: list[Gap] = []
    runs: list[PlannedRun] = []
    if missed.count > GAP_THRESHOLD:
        assert missed.first is not None
        assert missed.last is not None
        gaps.append(Gap(from_at=missed.first, to_at=missed.last, instants=missed.count, reason=missed.reason))
    else:
        runs.extend(_skipped(instant, missed.reason) for instant in missed.few)
    for reason, group in groupby(fates, key=lambda fate: fate[1]):
        instants = [instant for instant, _ in group]
        if reason is None:
            runs.extend(_queued(job, schedule, instant) for instant in instants)
        elif len(instants) > GAP_THRESHOLD:
            gaps.append(Gap(from_at=instants[0], to_at=instants[-1], instants=len(instants), reason=reason))
        else:
            runs.extend(_skipped(instant, reason) for instant in instants)
    return Plan(runs=tuple(runs), gaps=tuple(gaps), cancel_previous=cancel_previous, next_run_at=following)


def _skipped(instant: datetime, reason: SkipReason) -> PlannedRun:
    return PlannedRun(instant=instant, skipped=reason, ready_at=instant)


def _queued(job: Job, schedule: Schedule, instant: datetime) -> PlannedRun:
    spec = job.spec
    ready_at = instant
    if spec.jitter_s:
        delay = timedelta(seconds=spec.jitter_s * fraction_of(job.id, instant.isoformat()))
        after = schedule.next_after(instant)
        ready_at = instant + delay if after is None else min(instant + delay, after)
    deadline = spec.start_deadline_s
    return PlannedRun(
        instant=instant,
        ready_at=ready_at,
        deadline_at=None if deadline is None else instant + timedelta(seconds=deadline),
    )
