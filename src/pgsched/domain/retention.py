"""How long runs are kept, and when a query's newest result is too old."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from pgsched.domain.freshness import Freshness
from pgsched.domain.jobs import Job, JobSpec

#: time beyond its period that a query may take before its newest result counts as stale
GRACE = timedelta(seconds=60)


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What is kept of a query's runs; the newest success always is."""

    #: newest runs kept, None for all
    keep_runs: int | None = None
    #: days that runs are kept after their instant, None for ever
    keep_days: int | None = None

    @property
    def any(self) -> bool:
        """Whether there is a limit at all."""
        return self.keep_runs is not None or self.keep_days is not None


def limits_of(spec: JobSpec, defaults: Limits) -> Limits:
    """Return a query's own limits, each replaced by the general one where the query names none."""
    return Limits(
        keep_runs=defaults.keep_runs if spec.keep_runs is None else spec.keep_runs,
        keep_days=defaults.keep_days if spec.keep_days is None else spec.keep_days,
    )


def is_stale(job: Job, last_success_at: datetime | None, now: datetime) -> bool:
    """Whether a query that is planned has had no success for ``fresh_for``, or two periods and a minute.

    The period is the distance of the next two instants. A query that never succeeded counts from its making.
    A query that is paused is stale once its result is as old.
    """
    if not job.spec.enabled:
        return False
    if job.spec.fresh_for is not None:
        since = last_success_at or job.created_at
        return Freshness(since=since, fresh_for=job.spec.fresh_for, now=now).is_stale
    first = job.schedule.next_after(now)
    if first is None:
        return False
    second = job.schedule.next_after(first)
    if second is None:
        return False
    period = second - first
    return now - (last_success_at or job.created_at) > 2 * period + GRACE
