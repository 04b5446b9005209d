"""Cron expressions with Debian's meaning: five fields, names, ranges, steps, lists, ``L``, ``#``, macros.

What is accepted and when it fires follows crontab(5) and cron(8) of Debian, with the extensions that cronsim
(whose answers the tests compare with) made usual: ``L`` and ``LW`` as days of the month, ``5L`` (the last
Friday) and ``5#2`` (the second Friday) as days of the week, ``5/10`` from 5 on. Where this differs from
cronsim, and why, stands in ``docs/decisions/0003-own-cron-in-the-domain.md``.

Changes of the offset (DST): when neither the minute nor the hour field begins with ``*`` the job is meant
for a time of day: a time that the clock skips runs at the first minute after the gap (once, however many were
skipped), a time that it shows twice runs the first time. Other jobs are meant for real time: they run
whenever the clock shows a matching minute, both times in a fold, not at all in a gap.
"""

from __future__ import annotations

from bisect import bisect_left
from calendar import monthrange
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from pgsched.domain.errors import BadSchedule, FieldFault
from pgsched.domain.zones import (
    CALENDAR_END,
    CALENDAR_START,
    DAY,
    first_change,
    instant_of_wall,
    offset_at,
    shown,
)

#: longest expression taken, in characters; every minute written out is 170
MAX_LENGTH = 1000

_INSTANT = timedelta(microseconds=1)
_MACROS = {
    "@YEARLY": "0 0 1 1 *",
    "@ANNUALLY": "0 0 1 1 *",
    "@MONTHLY": "0 0 1 * *",
    "@WEEKLY": "0 0 * * 0",
    "@DAILY": "0 0 * * *",
    "@MIDNIGHT": "0 0 * * *",
    "@HOURLY": "0 * * * *",
}
#: stand-ins inside a parsed day-of-month field, below every real day
_LAST_DAY, _LAST_WORKDAY = -2, -1


@dataclass(frozen=True, kw_only=True, slots=True)
class CronExpression:
    """A parsed expression; make one with :func:`parse_cron`."""

    #: the matching times of a day, as distances from midnight, ascending
    moments: tuple[timedelta, ...]
    #: the matching months, 1 to 12
    months: frozenset[int]
    #: the matching days of a month, by what ``calendar.monthrange`` says of it: (weekday of the 1st, length)
    days: Mapping[tuple[int, int], tuple[int, ...]]
    #: True when the job is meant for a time of day, False when it follows real time
    fixed_time: bool

    def dates(self, first: date, last: date) -> Iterator[date]:
        """Yield the matching dates from ``first`` to ``last``, both included, a month at a stride."""
        year, month, day = first.year, first.month, first.day
        while (year, month) <= (last.year, last.month):
            if month in self.months:
                for candidate in self.days[monthrange(year, month)]:
                    if candidate >= day:
                        found = date(year, month, candidate)
                        if found > last:
                            return
                        yield found
            day = 1
            year, month = (year, month + 1) if month < 12 else (year + 1, 1)

    def instants(self, zone: ZoneInfo, start: datetime, end: datetime = CALENDAR_END) -> Iterator[datetime]:
        """Yield the instants (aware, UTC, ascending) from ``start`` (inclusive) to ``end`` (exclusive)."""
        start = max(start.astimezone(UTC), CALENDAR_START)
        end = min(end, CALENDAR_END)
        if start >= end:
            return iter(())
        return self._of_day(zone, start, end) if self.fixed_time else self._of_real_time(zone, start, end)

    def _of_day(self, zone: ZoneInfo, bound: datetime, end: datetime) -> Iterator[datetime]:
        """Walk the wall clock's days; each moment of a matching day becomes one instant."""
        # A day's times can be moved into the next day by a gap (Apia skipped a whole one): start a day early.
        first = (bound.astimezone(zone) - DAY).date()
        for day in self.dates(first, end.date() + DAY):
            midnight = datetime.combine(day, time(), zone)
            offset = midnight.utcoffset() or timedelta()
            if offset == (midnight + DAY).utcoffset():
                base = datetime.combine(day, time(), UTC) - offset
                instants = iter([base + m for m in self.moments[bisect_left(self.moments, bound - base) :]])
            else:
                instants = (_minute_of_wall(midnight.replace(tzinfo=None) + m, zone) for m in self.moments)
            for instant in instants:
                if instant >= end:
                    return
                if instant >= bound:
                    yield instant
                    bound = instant + _INSTANT

    def _of_real_time(self, zone: ZoneInfo, start: datetime, end: datetime) -> Iterator[datetime]:
        """Walk stretches of real time, each at most a day long and with one offset all through."""
        while start < end:
            offset = offset_at(start, zone)
            wall_start = (start + offset).replace(tzinfo=None)
            # A fold at midnight leads back into the day before, so that one is looked at too.
            ahead = next(self.dates((wall_start - DAY).date(), end.date() + DAY), None)
            if ahead is None:
                return
            # No zone is a whole day off UTC: nothing of that date comes earlier than this.
            jump = datetime.combine(ahead, time(), UTC) - DAY
            if jump > start:
                start = jump
                continue
            stop = start + DAY
            if offset_at(stop, zone) != offset:
                stop = first_change(start, stop, zone)
            stop = min(stop, end)
            wall_stop = (stop + offset).replace(tzinfo=None)
            for day in self.dates(wall_start.date(), wall_stop.date()):
                midnight = datetime.combine(day, time())
                low = bisect_left(self.moments, wall_start - midnight)
                high = bisect_left(self.moments, wall_stop - midnight)
                base = datetime.combine(day, time(), UTC) - offset
                for moment in self.moments[low:high]:
                    yield base + moment
            start = stop


def _minute_of_wall(wall: datetime, zone: ZoneInfo) -> datetime:
    """Return the instant of a wall time, after a gap the first whole minute of the clock."""
    instant = instant_of_wall(wall, zone)
    # Clocks set by the sun (before 1900 or so) changed by odd seconds; cron only acts on whole minutes.
    seconds = instant.astimezone(zone).second
    return instant + timedelta(seconds=60 - seconds) if seconds else instant


@lru_cache(maxsize=1024)
def parse_cron(text: str) -> CronExpression:
    """Parse five fields or a macro (letter case does not count).

    Raises BadSchedule, its fault on ``schedule_expr``, for anything else, and for days that no month has.
    """
    if not text.strip():
        raise _bad("is empty; a cron expression has five fields, such as '0 6 * * MON-FRI'")
    if len(text) > MAX_LENGTH:
        raise _bad(f"has {len(text)} characters; {MAX_LENGTH} is the most")
    if not text.isascii():
        odd = next(character for character in text if not character.isascii())
        raise _bad(f"{shown(text)} has the character {odd!r}; only ASCII has a meaning in cron")
    words = text.upper().split()
    if words[0].startswith("@"):
        words = _macro(words, text)
    if len(words) != 5:
        more = "; fields of seconds are not known to cron" if len(words) == 6 else ""
        fields = f"{len(words)} field{'' if len(words) == 1 else 's'}"
        wanted = "cron has five: minute, hour, day of month, month, day of week"
        raise _bad(f"{shown(text)} has {fields}; {wanted}{more}")
    minutes = _MINUTE.parse(words[0])
    hours = _HOUR.parse(words[1])
    month_days = _MONTH_DAY.parse(words[2])
    months = _MONTH.parse(words[3])
    week_days = _WEEK_DAY.parse(words[4])
    # cron(8) of Debian: a day field that begins with a star restricts nothing by itself, */2 too
    agree = all if words[2].startswith("*") or words[4].startswith("*") else any
    days = {
        (first, length): tuple(
            day
            for day in range(1, length + 1)
            if agree(
                (_is_month_day(day, first, length, month_days), _is_week_day(day, first, length, week_days))
            )
        )
        for first in range(7)
        for length in (28, 29, 30, 31)
    }
    return CronExpression(
        moments=tuple(timedelta(hours=h, minutes=m) for h in sorted(hours) for m in sorted(minutes)),
        months=frozenset(months),
        days=days,
        fixed_time=not words[0].startswith("*") and not words[1].startswith("*"),
    )


def _macro(words: list[str], text: str) -> list[str]:
    if words == ["@REBOOT"]:
        raise _bad("'@reboot' names no time: a schedule here does not hang on the start of a machine")
    if len(words) != 1 or words[0] not in _MACROS:
        known = ", ".join(name.lower() for name in _MACROS)
        raise _bad(f"{shown(text)} is not a macro of cron; there are {known}")
    return _MACROS[words[0]].split()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Field:
    """The grammar of one field; words come in upper case."""

    #: how messages call it
    name: str
    #: the lowest and the highest number, both included
    low: int
    high: int
    #: names that stand for numbers, the first for ``low``
    names: tuple[str, ...] = ()

    def parse(self, word: str) -> set[int]:
        """Return what the field matches: numbers, and the codes of ``L``, ``LW``, ``5L`` and ``5#2``.

        Raises BadSchedule.
        """
        return {value for term in word.split(",") for value in self._term(term)}

    def _term(self, term: str) -> set[int]:
        if self is _WEEK_DAY and ("L" in term or "#" in term):
            return {self._nth_weekday(term)}
        head, slash, step = term.partition("/")
        values = self._range(head)
        if not slash:
            return values
        if not _is_digits(step) or int(step) == 0:
            raise self._bad(term, f"the step {shown(step)} is not a number from 1 up")
        if values <= {_LAST_DAY, _LAST_WORKDAY}:
            return values
        # One number with a step is "from there on". So is 5-5/2, as cronsim has it.
        values = set(range(min(values), self.high + 1)) if len(values) == 1 else values
        return set(sorted(values)[:: int(step)])

    def _range(self, word: str) -> set[int]:
        if word == "*":
            return set(range(self.low, self.high + 1))
        if self is _MONTH_DAY and word in ("L", "LW"):
            return {_LAST_DAY if word == "L" else _LAST_WORKDAY}
        start, dash, stop = word.partition("-")
        if not dash:
            return {self._number(word)}
        first, last = self._number(start), self._number(stop)
        if last < first:
            raise self._bad(word, "the range runs backwards")
        return set(range(first, last + 1))

    def _nth_weekday(self, term: str) -> int:
        """Read ``5L`` or ``5#2``; as codes the n-th weekday d is 10·n + d, the last one is 60 + d."""
        if "L" in term:
            if not _is_digits(term[:-1]):
                raise self._bad(term, "the last Friday of a month is written 5L")
            return 60 + self._number(term[:-1]) % 7
        day, _, nth = term.partition("#")
        if not _is_digits(nth) or int(nth) not in range(1, 6):
            raise self._bad(term, "the second Friday of a month is written 5#2, from #1 to #5")
        return 10 * int(nth) + self._number(day) % 7

    def _number(self, word: str) -> int:
        if word in self.names:
            return self.names.index(word) + self.low
        if _is_digits(word) and self.low <= int(word) <= self.high:
            return int(word)
        names = f" or a name from {self.names[0]} to {self.names[-1]}" if self.names else ""
        raise self._bad(word, f"it takes numbers from {self.low} to {self.high}{names}")

    def _bad(self, part: str, message: str) -> BadSchedule:
        return _bad(f"the {self.name} field has {shown(part)}: {message}")


_MINUTE = _Field(name="minute", low=0, high=59)
_HOUR = _Field(name="hour", low=0, high=23)
_MONTH_DAY = _Field(name="day-of-month", low=1, high=31)
_MONTH_NAMES = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_MONTH = _Field(name="month", low=1, high=12, names=_MONTH_NAMES)
_DAY_NAMES = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_WEEK_DAY = _Field(name="day-of-week", low=0, high=7, names=_DAY_NAMES)


def _is_digits(word: str) -> bool:
    # the expression is ASCII by now, so isdigit() means 0 to 9
    return word.isdigit()


def _is_month_day(day: int, first: int, length: int, wanted: set[int]) -> bool:
    if day in wanted or (_LAST_DAY in wanted and day == length):
        return True
    last_weekday = (first + length - 1) % 7
    return _LAST_WORKDAY in wanted and day == length - max(0, last_weekday - 4)


def _is_week_day(day: int, first: int, length: int, wanted: set[int]) -> bool:
    weekday = (first + day) % 7  # ``first`` counts from Monday as 0, cron from Sunday as 0
    plain = weekday in wanted or (weekday == 0 and 7 in wanted)
    return plain or 10 * ((day + 6) // 7) + weekday in wanted or (60 + weekday in wanted and day + 7 > length)


def _bad(message: str) -> BadSchedule:
    return BadSchedule(f"schedule_expr: {message}", [FieldFault(field="schedule_expr", message=message)])
