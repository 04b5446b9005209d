"""Time zones: the names that count, and from a wall clock to an instant across changes of the offset.

The standard library's ``zoneinfo`` holds the rules; it has no call that names the next change of offset.
Where one is needed it is found by halving a day. That is exact because two changes never lie within a day
of each other: the closest pair in the IANA database (2026) is Freetown's of 1939, almost four days apart.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, available_timezones

from pgsched.domain.errors import BadTimezone, FieldFault

#: schedules know instants from here (inclusive) ...
CALENDAR_START = datetime(1, 1, 5, tzinfo=UTC)
#: ... to here (exclusive): inside what ``datetime`` holds by the days that zones and strides need
CALENDAR_END = datetime(9999, 12, 29, tzinfo=UTC)

DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)
#: files of the zone folder that name no place: they are whatever this machine was set to
_NOT_PLACES = frozenset({"localtime", "posixrules"})


def shown(text: str, most: int = 60) -> str:
    """Quote foreign text for a message: one line, printable, at most ``most`` characters of it."""
    return repr(text) if len(text) <= most else f"{text[:most]!r}…"


@lru_cache(maxsize=1)
def zone_names() -> frozenset[str]:
    """Return the names of the IANA database, spelt as it spells them (about 15 ms, once)."""
    return frozenset(available_timezones()) - _NOT_PLACES


def zone_named(name: str, *, field: str = "timezone") -> ZoneInfo:
    """Return the zone of exactly this name.

    Names are compared with the database's own list, not tried as file names: letter case counts on every
    file system, and no path gets near a file.

    Raises BadTimezone, its fault on ``field``.
    """
    if name in zone_names():
        return ZoneInfo(name)
    message = f"{shown(name)} is not in the IANA time zone database"
    folded = name.casefold() if len(name) <= 60 else ""
    close = next((known for known in sorted(zone_names()) if known.casefold() == folded), None)
    hint = f"did you mean {close}?" if close else "names look like Europe/Berlin or UTC"
    raise BadTimezone.of(FieldFault(field=field, message=f"{message}; {hint}"))


def offset_at(instant: datetime, zone: ZoneInfo) -> timedelta:
    """Return how far the zone's wall clock is ahead of UTC at an aware instant."""
    return instant.astimezone(zone).utcoffset() or timedelta()


def first_change(low: datetime, high: datetime, zone: ZoneInfo) -> datetime:
    """Return the first whole second in (low, high] with another offset than at ``low``.

    The offsets at the two ends must differ, and the ends lie at most a day or so apart.
    """
    before = offset_at(low, zone)
    # offsets change on whole seconds
    low, high = low.replace(microsecond=0), high.replace(microsecond=0)
    while high - low > _SECOND:
        middle = low + (high - low) // _SECOND // 2 * _SECOND
        if offset_at(middle, zone) == before:
            low = middle
        else:
            high = middle
    return high


def instant_of_wall(wall: datetime, zone: ZoneInfo) -> datetime:
    """Return the instant (UTC) at which the zone's clock first shows ``wall`` (naive).

    What the clock shows twice (a fold) is the first of the two; what it skips (a gap) is the first instant
    after the gap. So the result never goes back while ``wall`` goes forward. PEP 495 has the terms.
    """
    instant = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
    if instant.astimezone(zone).replace(tzinfo=None) == wall:
        return instant
    # In a gap fold=0 reads the wall with the offset before it (an instant after the change) and fold=1
    # with the offset after it (an instant before the change).
    return first_change(wall.replace(tzinfo=zone, fold=1).astimezone(UTC), instant, zone)
