"""Writing what planning decided into the store: rows, gaps and the next instants."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from pgsched.adapters.memory.store import MemoryStore, RunRecord
from pgsched.domain.jobs import Job, OverlapPolicy
from pgsched.domain.planning import ActiveRuns, Plan, PlannedRun
from pgsched.domain.runs import Run, RunStatus, SkipReason, Trigger

_SUPERSEDED = "a newer run took its place"
_ACTIVE = frozenset({RunStatus.QUEUED, RunStatus.RUNNING})


def active_runs(store: MemoryStore, job: Job, params: str) -> ActiveRuns:
    """Count the scheduled runs of a job with one parameter set that are not over."""
    statuses = [record.run.status for record in _active(store, job, params)]
    return ActiveRuns(queued=statuses.count(RunStatus.QUEUED), running=statuses.count(RunStatus.RUNNING))


def write(store: MemoryStore, job: Job, params: str, plan: Plan, now: datetime) -> int:
    """Carry out the plan for one set; an instant that has a row keeps it. Returns how many runs now wait."""
    if plan.cancel_previous:
        for record in _active(store, job, params):
            if record.run.status is RunStatus.QUEUED:
                skip(record, now, SkipReason.OVERLAP, _SUPERSEDED)
            else:
                record.cancel_requested = True
    taken = {
        record.run.scheduled_at
        for record in store.runs.values()
        if record.run.query_id == job.id
        and record.run.params == (params or None)
        and record.run.trigger is Trigger.SCHEDULE
    }
    fresh = [planned for planned in plan.runs if planned.instant not in taken]
    for planned in fresh:
        _insert(store, job, params, planned, now)
    for gap in plan.gaps:
        store.gaps.setdefault((job.id, gap.from_at, params), gap)
        store.gap_times.setdefault((job.id, gap.from_at, params), now)
    store.jobs[job.id] = replace(job, next_run_at=plan.next_run_at)
    return sum(planned.skipped is None for planned in fresh)


def pause(store: MemoryStore, job: Job, now: datetime, reason: str) -> None:
    """Stop planning a job that cannot be planned, and say why."""
    store.jobs[job.id] = replace(job, paused_at=now, pause_reason=reason, next_run_at=None)


def skip(record: RunRecord, now: datetime, reason: SkipReason, why: str) -> None:
    """Record that a waiting run will not run."""
    record.public = why
    record.end(now, RunStatus.SKIPPED, error_code=reason.value, error_message=why)


def _active(store: MemoryStore, job: Job, params: str) -> list[RunRecord]:
    return [
        record
        for record in store.runs.values()
        if record.run.query_id == job.id
        and record.run.params == (params or None)
        and record.run.trigger is Trigger.SCHEDULE
        and record.run.status in _ACTIVE
    ]


def _insert(store: MemoryStore, job: Job, params: str, planned: PlannedRun, now: datetime) -> None:
    run = Run(
        id=store.new_id(),
        query_id=job.id,
        scheduled_at=planned.instant,
        job_timezone=job.spec.timezone,
        status=RunStatus.QUEUED,
        trigger=Trigger.SCHEDULE,
        params=params or None,
    )
    record = store.runs[run.id] = RunRecord(
        run=run,
        source_id=job.spec.data_source_id,
        ready_at=planned.ready_at,
        deadline_at=planned.deadline_at,
        recorded_at=now,
        exclusive=job.spec.overlap_policy is not OverlapPolicy.ALLOW,
    )
    if planned.skipped is not None:
        skip(record, now, planned.skipped, f"skipped: {planned.skipped}")
