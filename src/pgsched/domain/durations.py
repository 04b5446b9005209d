"""Periods between runs: ISO 8601 durations, strictly, or whole seconds as digits.

``P[n]Y[n]M[n]W[n]DT[n]H[n]M[n]S`` with whole numbers, in this order, at least one part, and at least one
after a ``T``. Weeks may stand beside other parts (ISO 8601-2:2019 allows it). Not taken: signs, fractions
(the shortest period is a second, so they would buy nothing but doubt), lower case, blanks and line ends,
digits of other scripts.

A period has a calendar part (years, months, weeks, days: steps on the wall clock) and an elapsed part (hours,
minutes, seconds: real time). ``P1D`` is the same time of day tomorrow, ``PT24H`` is 24 hours later.
"""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from pgsched.domain.errors import BadSchedule, FieldFault
from pgsched.domain.zones import CALENDAR_END, CALENDAR_START, instant_of_wall, shown

#: longest text taken, in characters
MAX_LENGTH = 100
#: longest period, in seconds: what the calendar of ``datetime`` spans
MAX_SECONDS = 9998 * 366 * 86400

_PARTS = re.compile(
    r"P(?:(?P<years>[0-9]+)Y)?(?:(?P<months>[0-9]+)M)?(?:(?P<weeks>[0-9]+)W)?(?:(?P<days>[0-9]+)D)?"
    r"(?P<time>T(?:(?P<hours>[0-9]+)H)?(?:(?P<minutes>[0-9]+)M)?(?:(?P<seconds>[0-9]+)S)?)?"
)
_DIGITS = re.compile(r"[0-9]+")
_WANTED = "write an ISO 8601 duration such as PT6H, PT30M, P1D or P1DT12H, or whole seconds such as 21600"


@dataclass(frozen=True, kw_only=True, slots=True)
class Duration:
    """A stretch of time, such as from one instant of an interval schedule to the next."""

    #: calendar months (a year is twelve)
    months: int = 0
    #: calendar days (a week is seven)
    days: int = 0
    #: elapsed time, in seconds
    seconds: int = 0

    @property
    def mean(self) -> timedelta:
        """The length on average: a month is a twelfth of the Gregorian year of 365.2425 days."""
        return timedelta(days=self.days, seconds=self.months * 2_629_746 + self.seconds)

    @classmethod
    def parse(cls, text: str, *, field: str = "schedule_expr") -> Duration:
        """Read an ISO 8601 duration, or whole seconds as digits; at least one second.

        Raises BadSchedule, its fault on ``field``.
        """
        try:
            return _parse(text)
        except ValueError as fault:
            raise BadSchedule.of(FieldFault(field=field, message=str(fault))) from None

    @property
    def elapsed(self) -> timedelta | None:
        """The length in real time, None when it has a calendar part and so no fixed length."""
        return None if self.months or self.days else timedelta(seconds=self.seconds)

    def times(self, count: int, anchor: datetime, zone: ZoneInfo) -> datetime:
        """Return the instant (UTC) ``count`` times this after ``anchor``, at most CALENDAR_END.

        The months are counted from the anchor's own day, which a short month clamps to its last day (31
        January + 1 month is 28 or 29 February, + 2 months is 31 March); then the days; what that wall clock
        shows becomes an instant (the first instant after a gap, the first of a fold); then the elapsed part.
        ``anchor + 0`` is the anchor itself, in a fold too.
        """
        elapsed = self.seconds * count
        days = self.days * count
        local = anchor.astimezone(zone).replace(tzinfo=None)
        year, month = divmod(local.year * 12 + local.month - 1 + self.months * count, 12)
        span = CALENDAR_END - anchor
        if year > CALENDAR_END.year or days > span.days or elapsed > span.total_seconds():
            return CALENDAR_END
        if not (self.months or self.days) or count == 0:
            return anchor.astimezone(UTC) + timedelta(seconds=elapsed)
        wall = local.replace(year=year, month=month + 1, day=min(local.day, monthrange(year, month + 1)[1]))
        if CALENDAR_END.replace(tzinfo=None) - wall <= timedelta(days=days + 1, seconds=elapsed):
            return CALENDAR_END
        return instant_of_wall(wall + timedelta(days=days), zone) + timedelta(seconds=elapsed)

    def before(self, instant: datetime) -> datetime:
        """Return the instant (UTC) this long before ``instant``, by the calendar of UTC.

        CALENDAR_START when it lies before that.
        """
        instant = instant.astimezone(UTC)
        year, month = divmod(instant.year * 12 + instant.month - 1 - self.months, 12)
        if year < CALENDAR_START.year:
            return CALENDAR_START
        day = min(instant.day, monthrange(year, month + 1)[1])
        try:
            back = instant.replace(year=year, month=month + 1, day=day)
            return max(back - timedelta(days=self.days, seconds=self.seconds), CALENDAR_START)
        except OverflowError:
            return CALENDAR_START


@lru_cache(maxsize=1024)
def _parse(text: str) -> Duration:
    """Parse, or raise ValueError with what is wrong and what would be right."""
    if not text:
        raise ValueError(f"is empty; {_WANTED}")
    if len(text) > MAX_LENGTH:
        raise ValueError(f"has {len(text)} characters; {MAX_LENGTH} is the most")
    duration = Duration(seconds=int(text)) if _DIGITS.fullmatch(text) else _parse_iso(text)
    if duration == Duration():
        raise ValueError(f"{shown(text)} is no time at all; the shortest is one second, PT1S")
    if (duration.months * 31 + duration.days) * 86400 + duration.seconds > MAX_SECONDS:
        raise ValueError(f"{shown(text)} is longer than the calendar, which ends with the year 9999")
    return duration


def _parse_iso(text: str) -> Duration:
    match = _PARTS.fullmatch(text)
    if match is None:
        raise ValueError(f"{shown(text)} is not an ISO 8601 duration; {_hint(text)}")
    number = {name: int(digits) for name, digits in match.groupdict().items() if digits and name != "time"}
    if not number:
        raise ValueError(f"{shown(text)} names no time; {_WANTED}")
    if match["time"] == "T":
        raise ValueError(f"{shown(text)} has nothing after its T; write {text[:-1]}, or say how many hours")
    return Duration(
        months=number.get("years", 0) * 12 + number.get("months", 0),
        days=number.get("weeks", 0) * 7 + number.get("days", 0),
        seconds=number.get("hours", 0) * 3600 + number.get("minutes", 0) * 60 + number.get("seconds", 0),
    )


def _hint(text: str) -> str:
    """Return what the writer most likely meant."""
    tidy = text.strip().upper()
    if tidy != text and tidy.isascii() and (_PARTS.fullmatch(tidy) or _DIGITS.fullmatch(tidy)):
        return f"write {tidy}, in capitals and without blanks"
    if "-" in text or "+" in text:
        return "it has no sign, time only goes forward"
    if "." in text or "," in text:
        return "it has whole numbers only, the shortest is PT1S"
    if tidy.startswith("P") and "T" not in tidy and ("H" in tidy or "S" in tidy):
        return "hours, minutes and seconds stand after a T, as in PT6H"
    return _WANTED
