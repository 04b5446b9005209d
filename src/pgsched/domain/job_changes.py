"""Changing a query: what somebody wrote about it, and what the change means for its plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from pgsched.domain.drafts import Draft, drafted
from pgsched.domain.errors import PgschedError
from pgsched.domain.jobs import Job, JobSpec, first_instant
from pgsched.domain.schedules import Schedule, ScheduleType

#: right values for what a query must have
_STAND_INS: Final[Mapping[str, object]] = {
    "name": "x",
    "title": "x",
    "sql_text": "",
    "data_source_id": 1,
    "schedule_type": ScheduleType.INTERVAL,
    "schedule_expr": "PT1H",
}


def drafted_job(given: Mapping[str, object], before: JobSpec | None = None) -> Draft[JobSpec]:
    """Judge what was written about a query, field by field.

    Schedule, zone, SQL and source are judged elsewhere: that takes more than the field.
    """
    known = None if before is None else {field.name: getattr(before, field.name) for field in fields(before)}
    return drafted(JobSpec, given, stand_ins=_STAND_INS, before=known)


def changes_plan(job: Job, spec: JobSpec, *, start_at: datetime | None = None) -> bool:
    """Whether what is planned next depends on the change: another schedule, enabled or disabled."""
    return job.spec.enabled != spec.enabled or _is_rescheduled(job, spec, start_at)


def revised(
    job: Job, spec: JobSpec, now: datetime, *, start_at: datetime | None = None, resume: bool = False
) -> Job:
    """Return the job as it is after a change at ``now``.

    Another schedule (type, expression, zone, ``start_at``) has a new anchor: the whole second of now, or the
    next one where the old schedule's instant stands in that second. Enabling again keeps the anchor and goes
    on with the next instant from now. ``resume`` says that somebody enabled the query, which ends a pause and
    forgets the failures before it.
    """
    anchor, next_run_at = job.anchor_at, job.next_run_at
    resumed = resume and spec.enabled and (job.paused_at is not None or not job.spec.enabled)
    if _is_rescheduled(job, spec, start_at):
        anchor = _whole_second(start_at or now)
        # what the old schedule named in this very second has its outcome, and is not named again
        taken = anchor if anchor <= now and _is_planned(job, anchor) else None
        if taken is not None and start_at is None:
            anchor += timedelta(seconds=1)
        next_run_at = first_instant(spec, anchor, now)
        if next_run_at is not None and next_run_at == taken:
            next_run_at = _schedule(spec, anchor).next_after(taken)
    elif not spec.enabled:
        next_run_at = None
    elif not job.spec.enabled or (resumed and next_run_at is None):
        instants = _schedule(spec, anchor).instants_after(max(now, anchor), inclusive=True)
        next_run_at = next(instants, None)
    changed = replace(job, spec=spec, anchor_at=anchor, next_run_at=next_run_at, updated_at=now)
    if resumed:
        changed = replace(changed, paused_at=None, pause_reason=None, consecutive_failures=0)
    return changed


def _is_rescheduled(job: Job, spec: JobSpec, start_at: datetime | None) -> bool:
    if start_at is not None and _whole_second(start_at) != job.anchor_at:
        return True
    return any(
        getattr(job.spec, name) != getattr(spec, name)
        for name in ("schedule_type", "schedule_expr", "timezone")
    )


def _schedule(spec: JobSpec, anchor: datetime) -> Schedule:
    return Schedule(type=spec.schedule_type, expr=spec.schedule_expr, timezone=spec.timezone, anchor=anchor)


def _is_planned(job: Job, instant: datetime) -> bool:
    """Whether a job's schedule named an instant that is behind it."""
    next_run_at = instant if job.next_run_at is None else job.next_run_at
    if not job.spec.enabled or not job.anchor_at <= instant < next_run_at:
        return False
    try:
        return next(job.schedule.instants_after(instant, inclusive=True), None) == instant
    except PgschedError:
        # a zone that is gone names nothing; that is why it is changed
        return False


def _whole_second(instant: datetime) -> datetime:
    return instant.astimezone(UTC).replace(microsecond=0)
