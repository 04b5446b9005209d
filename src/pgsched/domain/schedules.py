"""Schedules: when a query is due.

A schedule is one of two kinds. ``cron``: the minutes that match an expression on the wall clock of a zone
(:mod:`pgsched.domain.cron`). ``interval``: ``anchor + k·period`` for k = 0, 1, 2 …, the period a
:class:`pgsched.domain.durations.Duration`; each instant is counted from the anchor, so that nothing drifts,
and the anchor is itself the first. Elapsed periods (``PT…``) are real time; days, weeks, months and years are
steps on the zone's wall clock.

Instants are aware datetimes in UTC, strictly ascending. They end, without an error, at
:data:`pgsched.domain.zones.CALENDAR_END` in December 9999.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from itertools import count, takewhile

from pgsched.domain.cron import parse_cron
from pgsched.domain.durations import Duration
from pgsched.domain.errors import BadSchedule, FieldFault
from pgsched.domain.zones import CALENDAR_END, CALENDAR_START, shown, zone_named

_TEN_YEARS = timedelta(days=3653)
_INSTANT = timedelta(microseconds=1)


class ScheduleType(StrEnum):
    """The kinds of schedule."""

    #: a cron expression: the wall clock decides
    CRON = "cron"
    #: a period from an anchor on
    INTERVAL = "interval"


@dataclass(frozen=True, kw_only=True, slots=True)
class Schedule:
    """When a query is due; built with :meth:`parse` from what people write, directly from what was stored.

    Building it directly checks types only: a stored schedule stays readable when the rules for new ones get
    stricter or its ten years have passed.
    """

    #: the kind
    type: ScheduleType
    #: cron expression, or ISO 8601 duration or whole seconds
    expr: str
    #: IANA name of the zone whose wall clock counts
    timezone: str
    #: the first instant of an interval, a whole second in UTC; for cron the moment it was saved, or None
    anchor: datetime | None

    def __post_init__(self) -> None:
        if self.anchor is not None and self.anchor.tzinfo is None:
            raise ValueError("anchor must be an aware datetime")
        if self.anchor is None and self.type is ScheduleType.INTERVAL:
            raise ValueError("an interval needs an anchor")

    @classmethod
    def parse(cls, type: str, expr: str, timezone: str, anchor: datetime | None) -> Schedule:  # noqa: A002 - the column's name
        """Check what a person wrote and return the schedule.

        ``anchor`` is aware and may be None for cron only; fractions of its second are dropped. A cron
        expression must have an instant in the ten years after the anchor (without one: at any time).

        Raises BadTimezone (fault on ``timezone``) and BadSchedule (``schedule_type``, ``schedule_expr`` or
        ``start_at``).
        """
        if type not in list(ScheduleType):
            raise _bad(
                "schedule_type", f"{shown(type)} is not a kind of schedule; there are cron and interval"
            )
        zone_named(timezone)
        if anchor is not None:
            anchor = _utc(anchor).replace(microsecond=0)
            if type == ScheduleType.INTERVAL and not CALENDAR_START <= anchor < CALENDAR_END:
                raise _bad("start_at", f"{anchor:%Y-%m-%d} is outside the calendar, the years 1 to 9999")
        # a first look at the grammar, so that its faults come before a missing anchor's
        parsed = parse_cron(expr) if type == ScheduleType.CRON else Duration.parse(expr)
        schedule = cls(type=ScheduleType(type), expr=expr, timezone=timezone, anchor=anchor)
        if isinstance(parsed, Duration):
            schedule._refuse_single_instant()
        else:
            schedule._refuse_rare()
        return schedule

    def instants_after(self, after: datetime, *, inclusive: bool = False) -> Iterator[datetime]:
        """Yield the instants strictly after ``after`` (aware), or from it on when ``inclusive``.

        The first costs a jump, not a walk from the anchor; the rest are as many as the calendar holds.
        """
        start = _utc(after)
        if not inclusive:
            start = min(start, CALENDAR_END) + _INSTANT
        if self.type is ScheduleType.CRON:
            return parse_cron(self.expr).instants(zone_named(self.timezone), start)
        return self._interval_from(start)

    def next_after(self, after: datetime) -> datetime | None:
        """Return the first instant strictly after ``after``, None when the calendar ends before it."""
        return next(self.instants_after(after), None)

    def count_between(self, after: datetime, until: datetime) -> int:
        """Count the instants later than ``after`` and not later than ``until``: those that became due.

        For elapsed intervals this is arithmetic, whatever their number; others are counted one by one (a year
        of ``* * * * *`` takes about 0.1 s).
        """
        after, until = _utc(after), _utc(until)
        period = self._elapsed()
        if period is None or self.anchor is None:
            return sum(1 for _ in takewhile(lambda instant: instant <= until, self.instants_after(after)))
        last = (min(until, CALENDAR_END - _INSTANT) - self.anchor) // period
        return max(0, last - max((after - self.anchor) // period, -1))

    def newest_until(self, until: datetime) -> datetime | None:
        """Return the last instant not later than ``until``, None when there is none."""
        until = min(_utc(until), CALENDAR_END - _INSTANT)
        if self.type is ScheduleType.INTERVAL:
            return self._newest_of_interval(until)
        # Look back in growing strides: the first that holds an instant holds few.
        for stride in (3600, 86_400, 32 * 86_400, 366 * 86_400, 4000 * 86_400, 160_000 * 86_400):
            since = max(until, CALENDAR_START + timedelta(seconds=stride)) - timedelta(seconds=stride)
            newest = None
            for instant in self.instants_after(since):
                if instant > until:
                    break
                newest = instant
            if newest is not None:
                return newest
        return None

    def _newest_of_interval(self, until: datetime) -> datetime | None:
        assert self.anchor is not None
        if until < self.anchor:
            return None
        period, zone = Duration.parse(self.expr), zone_named(self.timezone)
        if period.elapsed is not None:
            return period.times((until - self.anchor) // period.elapsed, self.anchor, zone)
        return period.times(self._index(until + _INSTANT) - 1, self.anchor, zone)

    def _index(self, start: datetime) -> int:
        """Return the first k whose instant is not earlier than ``start``, which lies inside the calendar."""
        assert self.anchor is not None
        anchor, period, zone = self.anchor, Duration.parse(self.expr), zone_named(self.timezone)
        if period.elapsed is not None:
            return max(0, -((anchor - start) // period.elapsed))
        # The mean length leads near it: months are at most a few days off it, zones less than a day or two.
        slack = timedelta(days=40 if period.months else 3)
        low = max(0, (start - anchor - slack) // period.mean)
        high = max(0, (start - anchor + slack) // period.mean) + 1
        return low + bisect_left(range(low, high), start, key=lambda k: period.times(k, anchor, zone))

    def _elapsed(self) -> timedelta | None:
        return Duration.parse(self.expr).elapsed if self.type is ScheduleType.INTERVAL else None

    def _interval_from(self, start: datetime) -> Iterator[datetime]:
        assert self.anchor is not None
        anchor, period, zone = self.anchor, Duration.parse(self.expr), zone_named(self.timezone)
        first = self._index(min(start, CALENDAR_END))
        steps: Iterator[datetime]
        if period.elapsed is None:
            steps = (period.times(k, anchor, zone) for k in count(first))
        else:
            steps = _stride(period.times(first, anchor, zone), period.elapsed)
        for step in takewhile(lambda at: at < CALENDAR_END, steps):
            # where a gap swallows a whole step of the calendar, two counts of periods are one instant
            if step >= start:
                yield step
                start = step + _INSTANT

    def _refuse_single_instant(self) -> None:
        """Refuse a period that leads from the anchor out of the calendar."""
        assert self.anchor is not None
        if self.next_after(self.anchor) is None:
            fault = f"{shown(self.expr)} from {self.anchor:%Y-%m-%d} on leads past the year 9999"
            raise _bad("schedule_expr", f"{fault}; choose a shorter interval")

    def _refuse_rare(self) -> None:
        """Refuse an expression without an instant in the ten years after the anchor."""
        cron, zone = parse_cron(self.expr), zone_named(self.timezone)
        # The calendar repeats after 400 years, weekdays included.
        if next(cron.dates(date(2000, 1, 1), date(2399, 12, 31)), None) is None:
            raise _bad("schedule_expr", f"{shown(self.expr)} never fires: none of its months has such a day")
        if self.anchor is None:
            return
        # near the end of the calendar the ten years before the end count
        since = min(self.anchor, CALENDAR_END - _TEN_YEARS)
        if next(cron.instants(zone, since, since + _TEN_YEARS), None) is None:
            fault = f"{shown(self.expr)} has no instant in the ten years from {since:%Y-%m-%d} on"
            raise _bad("schedule_expr", f"{fault}; check its days and months")


def _stride(at: datetime, by: timedelta) -> Iterator[datetime]:
    while at < CALENDAR_END:
        yield at
        at = CALENDAR_END if CALENDAR_END - at <= by else at + by


def _utc(instant: datetime) -> datetime:
    if instant.tzinfo is None:
        raise ValueError("an aware datetime is needed")
    try:
        return instant.astimezone(UTC)
    except OverflowError:  # the first or last hours that datetime can write; no schedule has instants there
        return CALENDAR_START if instant.year == 1 else CALENDAR_END


def _bad(field: str, message: str) -> BadSchedule:
    return BadSchedule(f"{field}: {message}", [FieldFault(field=field, message=message)])
