"""What a schedule means, for ``pgsched schedule next`` and its twin over HTTP: no database is asked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from typing import Any

from pgsched.domain.errors import FieldFault, InvalidInput
from pgsched.domain.schedules import Schedule, ScheduleType
from pgsched.domain.zones import shown, zone_named

#: most instants in one answer: every minute of six days, a fraction of a second
MOST = 10_000
#: instants in an answer unless told otherwise
DEFAULT = 5

#: what is asked here, by the name that it has in a query
_ASKED_AS = {"schedule_type": "type", "schedule_expr": "expr"}

# What fromisoformat takes, minus its freedom to have any character between date and time.
_ISO = re.compile(r"[0-9W-]{8,10}(?:[Tt ][0-9:.,]+(?:[Zz]|[+-][0-9:.]+)?)?")


def next_instants(
    *, kind: str, expr: str, timezone: str, after: str | None, anchor: str | None, most: int
) -> list[str]:
    """Return the next instants as local ISO 8601 times.

    Raises:
        InvalidInput: and its kin; with the field at fault.
    """
    zone = zone_named(timezone)
    # The one place where this machine's clock is asked: a person wants to know what comes next from here.
    now = datetime.now(UTC)  # noqa: TID251 - a preview without a database; decides nothing
    since = now if after is None else _instant("after", after, timezone)
    start = since if anchor is None else _instant("anchor", anchor, timezone)
    schedule = Schedule.parse(kind, expr, timezone, since if kind == ScheduleType.CRON else start)
    return [instant.astimezone(zone).isoformat() for instant in islice(schedule.instants_after(since), most)]


def answer_to(request: Mapping[str, Any]) -> list[str]:
    """Return what ``{"type","expr","timezone"?,"after"?,"anchor"?,"n"?}`` asks for.

    Raises:
        InvalidInput: and its kin; with the field at fault.
    """
    most = DEFAULT if request.get("n") is None else request["n"]
    if type(most) is not int or not 1 <= most <= MOST:
        raise InvalidInput.of(FieldFault(field="n", message=f"must be a whole number from 1 to {MOST}"))
    try:
        return next_instants(
            kind=_required(request, "type"),
            expr=_required(request, "expr"),
            timezone="UTC" if (zone := _text(request, "timezone")) is None else zone,
            after=_text(request, "after"),
            anchor=_text(request, "anchor"),
            most=most,
        )
    except InvalidInput as error:
        # a query's fields have other names
        raise type(error).of(
            *(replace(fault, field=_ASKED_AS.get(fault.field, fault.field)) for fault in error.faults)
        ) from None


def _instant(field: str, text: str, timezone: str) -> datetime:
    """Read an ISO 8601 time; without an offset it is the zone's wall clock."""
    try:
        if not _ISO.fullmatch(text):
            raise ValueError(text)
        read = datetime.fromisoformat(text.upper())
        return (read.replace(tzinfo=zone_named(timezone)) if read.tzinfo is None else read).astimezone(UTC)
    except (ValueError, OverflowError):
        message = f"{shown(text)} is not an ISO 8601 time such as 2026-03-29T00:00:00Z"
        raise InvalidInput.of(FieldFault(field=field, message=message)) from None


def _required(request: Mapping[str, Any], field: str) -> str:
    value = _text(request, field)
    if value is None:
        raise InvalidInput.of(FieldFault(field=field, message="is missing"))
    return value


def _text(request: Mapping[str, Any], field: str) -> str | None:
    value = request.get(field)
    if value is not None and not isinstance(value, str):
        raise InvalidInput.of(FieldFault(field=field, message="must be text"))
    return value
