"""The checker's own idea of when a query is due: small, slow and independent of pgsched's schedules."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from chaos.load import Query


def expected(query: Query, anchor: datetime, created: datetime, until: datetime) -> list[datetime]:
    """Every instant up to and including ``until``, ascending, UTC."""
    if not query.cron:
        step = timedelta(seconds=query.every_s)
        return [anchor + n * step for n in range(int((until - anchor) / step) + 1)] if until >= anchor else []
    since = anchor if query.behind_s else created
    return [at for at in _cron(query, since, until) if at > since]


def _cron(query: Query, since: datetime, until: datetime) -> list[datetime]:
    """``M H * * *`` with numbers or stars, as Debian's cron runs it."""
    minute, hour = query.cron.split()[:2]
    if minute == hour == "*":
        first = since.replace(second=0, microsecond=0)
        return [first + timedelta(minutes=n) for n in range(int((until - first) / timedelta(minutes=1)) + 1)]
    zone = ZoneInfo(query.timezone)
    day, last = since.astimezone(zone).date(), until.astimezone(zone).date()
    found = []
    while day <= last:
        at = _fixed(day, int(hour), int(minute), zone)
        if since <= at <= until:
            found.append(at)
        day += timedelta(days=1)
    return found


def _fixed(day: date, hour: int, minute: int, zone: ZoneInfo) -> datetime:
    """The one time of a day at which a fixed-time job runs: once in the fold, after the gap in the gap."""
    wall = datetime.combine(day, time(hour, minute), zone)
    while wall.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != wall.replace(tzinfo=None):
        wall += timedelta(minutes=1)
    return wall.astimezone(UTC)
