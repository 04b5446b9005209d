"""Postgres's ISO text of timestamps, written as ISO 8601 with six digits of fraction, in UTC with a zone.

What no ISO date holds (infinity, BC, years past 9999) is written as Postgres does, in UTC too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import cast

import msgspec

from pgsched.adapters.source.checks import Malformed

#: zeros that bring a time of this many bytes (``HH:MM:SS`` to ``HH:MM:SS.ffffff``) to microseconds
_PADDING = {8: b".000000", 10: b"00000", 11: b"0000", 12: b"000", 13: b"00", 14: b"0", 15: b""}
_PLAIN = {length + 11: zeros for length, zeros in _PADDING.items()}
#: the same from the minutes on (``:MM:SS.ffffff``), with the Z of UTC
_FROM_MINUTES = {length - 2: zeros + b"Z" for length, zeros in _PADDING.items()}
_FROM_SECONDS = {length - 5: zeros + b"Z" for length, zeros in _PADDING.items()}
#: the same for a whole text that ends with +00
_IN_UTC = {length + 14: zeros + b"Z" for length, zeros in _PADDING.items()}
#: bytes of what is written
_WRITTEN = len(b"2026-11-24T12:34:56.123456Z")
_HOUR = re.compile(rb"(\d{4})-(\d\d)-(\d\d) (\d\d)([+-]\d\d)")
_WITH_ZONE = re.compile(
    rb"(\d{4})-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)(?:\.(\d{1,6}))?([+-])(\d\d)(?::(\d\d))?(?::(\d\d))?"
)
_ANY_YEAR = re.compile(rb"(\d{4,7})-\d\d-\d\d \d\d:\d\d:\d\d(\.\d{1,6})?[+-]\d\d(?::\d\d)?(?::\d\d)?( BC)?")
#: years after which the calendar repeats, and the first of those that it is looked up in
_CYCLE, _LOOKED_UP = 400, 2000
_LAST_YEAR = 9999
#: what a moment is written like, its digits 0, by the zone that stands behind it
_SHAPES = {zone: b"0000-00-00T00:00:00.000000" + zone for zone in (b"", b"Z")}
_DIGITS = bytes(0x30 if 0x30 <= byte <= 0x39 else byte for byte in range(256))
_moments = msgspec.json.Decoder(list[datetime])
#: most hours remembered with their place in UTC
_MOST_HOURS = 4096


def plain_timestamp(text: bytes) -> bytes | None:
    """Write a timestamp without time zone, None when it has no ISO form."""
    zeros = _PLAIN.get(len(text))
    # a function of the query may have set another DateStyle: 24.11.2026 is as long
    if zeros is None or text[10] != 0x20 or text[4] != 0x2D or text.endswith(b"C"):
        return None
    return text[:10] + b"T" + text[11:] + zeros


def moments_joined(written: Sequence[bytes], zone: bytes) -> bytes | None:
    """Join what is written as moments, with ``zone`` behind each (``Z``, or nothing); None when one is not.

    Raises:
        Malformed: all are, and one is in no calendar.
    """
    joined = b"".join(written)
    if joined.translate(_DIGITS) != _SHAPES[zone] * len(written):
        return None
    try:
        _moments.decode(b'["%b"]' % b'","'.join(written) if written else b"[]")
    except msgspec.DecodeError:
        raise Malformed from None
    return joined


def are_of_our_time(joined: bytes, zone: bytes) -> bool:
    """Whether moments, joined, are all of the years 2000 to 2199: two looks at memory speed."""
    length = len(_SHAPES[zone])
    return not joined[::length].strip(b"2") and not joined[1::length].strip(b"01")


class UtcClock:
    """Moves timestamps with time zone to UTC; remembers hours, since neighbouring rows share them."""

    def __init__(self) -> None:
        self._hours: dict[bytes, bytes] = {}
        self._half_hours: dict[bytes, bytes] = {}

    def write_all(self, texts: Sequence[bytes]) -> list[bytes | None]:
        """Write timestamps with time zone in UTC; each is None when it has no ISO form there.

        Raises:
            ValueError: one is in no calendar, or its offset is a day or more.
        """
        return _all_in_utc(texts) or [self.write(text) for text in texts]

    def write(self, text: bytes) -> bytes | None:
        """Write a timestamp with time zone in UTC, None when it has no ISO form there."""
        hour = text[:13] + text[-3:]
        head = self._hours.get(hour)
        if head is None:
            match = _HOUR.fullmatch(hour)
            if match is None:
                return self._write_by_minute(text)
            head = self._remember(hour, match)
        rest = text[13:-3]
        zeros = _FROM_MINUTES.get(len(rest))
        return head + rest + zeros if head and zeros is not None else _shift(text)

    def _write_by_minute(self, text: bytes) -> bytes | None:
        """Write a timestamp whose offset has minutes (India, Nepal), remembering minutes of the clock."""
        minute = text[:16] + text[-6:]
        head = self._half_hours.get(minute)
        if head is None:
            shifted = _shift(text)
            if shifted is None or len(minute) != 22 or minute[16] not in b"+-":
                return shifted
            if len(self._half_hours) >= _MOST_HOURS:
                self._half_hours.clear()
            head = self._half_hours[minute] = shifted[:16]
        rest = text[16:-6]
        zeros = _FROM_SECONDS.get(len(rest))
        return head + rest + zeros if zeros is not None else _shift(text)

    def _remember(self, hour: bytes, match: re.Match[bytes]) -> bytes:
        year, month, day, hours, offset = (int(part) for part in match.groups())
        try:
            moment = datetime(year, month, day, hours, tzinfo=UTC) - timedelta(hours=offset)
        except OverflowError:
            head = b""
        else:
            head = f"{moment.year:04d}-{moment.month:02d}-{moment.day:02d}T{moment.hour:02d}".encode()
        if len(self._hours) >= _MOST_HOURS:
            self._hours.clear()
        self._hours[hour] = head
        return head


def _all_in_utc(texts: Sequence[bytes]) -> list[bytes | None] | None:
    """Write timestamps that are in UTC already and have ISO forms; None when one is or has not."""
    joined = b",".join(texts)
    if joined.count(b"+00,") != len(texts) - 1 or not joined.endswith(b"+00"):
        return None
    try:
        moments: list[bytes | None] = [text[:10] + b"T" + text[11:-3] + _IN_UTC[len(text)] for text in texts]
    except KeyError:
        return None
    # all are of one length by now: a year of five digits, or another DateStyle, shows in what stands where
    written, dashes = b"".join(cast(list[bytes], moments)), b"-" * len(texts)
    is_iso = written[4::_WRITTEN] == dashes == written[7::_WRITTEN] and b" " not in written
    return moments if is_iso else None


def text_in_utc(text: bytes) -> bytes:
    """Write a timestamp with time zone in UTC as Postgres does, or as ISO 8601 where it has that form there.

    What is none (infinity, another DateStyle) is returned as it is.

    Raises:
        ValueError: it is in no calendar.
    """
    match = _ANY_YEAR.fullmatch(text)
    if match is None:
        return text
    year = 1 - int(match[1]) if match[3] else int(match[1])
    cycles = (year - _LOOKED_UP) // _CYCLE
    moment = _shift(b"%04d" % (year - cycles * _CYCLE) + text[match.end(1) :].removesuffix(b" BC"))
    assert moment is not None  # all its years are within the calendar
    year = int(moment[:4]) + cycles * _CYCLE
    if 1 <= year <= _LAST_YEAR:
        return b"%04d%b" % (year, moment[4:])
    era = b"" if year > 0 else b" BC"
    shown = year if year > 0 else 1 - year
    return b"%04d%b %b%b+00%b" % (shown, moment[4:10], moment[11:19], match[2] or b"", era)


def _shift(text: bytes) -> bytes | None:
    """Move one timestamp to UTC the long way: offsets with minutes and seconds, and what has none."""
    match = _WITH_ZONE.fullmatch(text)
    if match is None:
        return None
    year, month, day, hours, minutes, seconds = (int(part) for part in match.groups()[:6])
    microseconds = int((match[7] or b"").ljust(6, b"0"))
    offset = timedelta(hours=int(match[9]), minutes=int(match[10] or 0), seconds=int(match[11] or 0))
    zone = timezone(-offset if match[8] == b"-" else offset)
    try:
        moment = datetime(year, month, day, hours, minutes, seconds, microseconds, tzinfo=zone).astimezone(
            UTC
        )
    except OverflowError:
        return None
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds").encode() + b"Z"
