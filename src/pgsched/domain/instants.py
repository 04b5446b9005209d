"""Instants as people and programs write them in JSON and in URLs: RFC 3339, with an offset, or not at all."""

from __future__ import annotations

import re
from datetime import UTC, datetime

# RFC 3339 §5.6. A blank stands for the + that an unescaped query string turns into one.
_RFC_3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ]((?:[01]\d|2[0-3]):\d\d:\d\d(?:\.\d{1,9})?)([Zz]|[+ -]\d\d:\d\d)", re.ASCII
)
#: says what a time must be
FORM = "an RFC 3339 time with Z or an offset, as 2026-03-29T00:00:00Z"


def instant_of(text: str) -> datetime | None:
    """Read an RFC 3339 time, in UTC; None when it is none: what has no offset is not guessed at."""
    match = _RFC_3339.fullmatch(text)
    if match is None:
        return None
    day, time, offset = match.groups()
    try:
        return datetime.fromisoformat(f"{day}T{time}{offset.replace(' ', '+').upper()}").astimezone(UTC)
    except (ValueError, OverflowError):  # the 31st of June, year 0, an offset of 25 hours
        return None
