"""How old a query's newest result is, and whether that is too old.

Counted from the end of the run that made it; a query that never succeeded counts from its making.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from pgsched.domain.durations import Duration

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
