"""How old a query's newest result is, and whether that is too old.

Counted from the end of the run that made it; a query that never succeeded counts from its making. A dashboard
is told what ``fresh_for`` promises (``Freshness``). Whoever operates pgsched is also told of a query that
promises nothing and is overdue by its own schedule (``is_stale``).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from pgsched.domain.durations import Duration
from pgsched.domain.jobs import Job

#: time beyond two periods that a query without fresh_for may take before it counts as stale
GRACE = timedelta(seconds=60)
_UTC = ZoneInfo("UTC")


@dataclass(frozen=True, kw_only=True, slots=True)
class Freshness:
    """The age of a newest result at one moment."""

    #: when the newest success ended, or the query was made where there is none; UTC
    since: datetime
    #: ISO 8601 duration, None for a query whose results never grow stale
    fresh_for: str | None
    #: the database's now when it was looked at, UTC
    now: datetime

    @property
    def age_s(self) -> float:
        """Seconds since then, never negative."""
        return max(0.0, (self.now - self.since).total_seconds())

    @property
    def fresh_until(self) -> datetime | None:
        """The moment after which it is stale (UTC, by the calendar of UTC), None for never."""
        if self.fresh_for is None:
            return None
        return Duration.parse(self.fresh_for, field="fresh_for").times(1, self.since.astimezone(UTC), _UTC)

    @property
    def is_stale(self) -> bool:
        """Whether that moment is over."""
        until = self.fresh_until
        return until is not None and self.now > until


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
