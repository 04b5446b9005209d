"""Whether what is recorded as skipped was so, and as much was caught up with as the policies say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from chaos.findings import Findings
from chaos.load import Query
from chaos.record import Record

ACTIVE = ("queued", "running")
SLACK = timedelta(seconds=1.5)


def skipped(record: Record, queries: Mapping[int, Query], found: Findings) -> None:
    """What is recorded as skipped was so."""
    paused: dict[int, bool] = {}
    job_changes = iter(record.job_changes)
    pending = next(job_changes, None)
    active: dict[int, dict[int, str]] = defaultdict(dict)
    ended: dict[int, list[datetime]] = defaultdict(list)
    together: dict[tuple[int, str], list[datetime]] = defaultdict(list)
    newest: dict[int, datetime] = {}
    for change in record.changes:
        if change.op == "INSERT" and change.trigger == "schedule":
            together[change.query_id, change.xid].append(change.scheduled_at)
            newest[change.query_id] = max(
                change.scheduled_at, newest.get(change.query_id, change.scheduled_at)
            )
    for change in record.changes:
        while pending is not None and pending.at <= change.at:
            paused[pending.query_id] = bool(pending.paused)
            pending = next(job_changes, None)
        if change.trigger != "schedule" or change.op == "DELETE":
            continue
        query = queries.get(change.query_id)
        if change.status == "skipped" and query is not None:
            found.seen[f"skipped: {change.error_code}"] += 1
            others = {run_id: s for run_id, s in active[change.query_id].items() if run_id != change.run_id}
            last_end = ended[change.query_id][-1] if ended[change.query_id] else None
            if change.error_code == "paused":
                true = paused.get(change.query_id, False)
            elif change.error_code == "misfire":
                true = _is_misfire(change, query, together[change.query_id, change.xid])
            else:
                true = _is_true(change, query, list(others.values()), last_end, newest.get(change.query_id))
            if not true:
                what = f"{query.name} {change.scheduled_at} was skipped as {change.error_code}"
                found.add("reason", f"{what} beside {others}")
        if change.old_status == "queued" and change.status != "queued":
            ended[change.query_id].append(change.at)
        if change.status in ACTIVE:
            active[change.query_id][change.run_id] = change.status
        elif active[change.query_id].pop(change.run_id, None):
            ended[change.query_id].append(change.at)


def _is_true(
    change: Any, query: Query, others: list[str], last_end: datetime | None, newest: datetime | None
) -> bool:
    policy = query.policies.get("overlap_policy", "skip")
    # one that began or ended while this was decided counts as it was seen
    just_ended = last_end is not None and change.at - last_end < timedelta(seconds=2)
    match change.error_code:
        case "overlap" if policy == "cancel_previous":
            return newest is not None and newest > change.scheduled_at
        case "overlap" if policy == "queue":
            return "queued" in others or just_ended
        case "overlap" if policy == "queue_all":
            return others.count("queued") >= 99 or just_ended
        case "overlap":
            return bool(others) or just_ended
        case "deadline":
            return change.deadline_at is not None and change.at >= change.deadline_at
    return False


def _is_misfire(change: Any, query: Query, together: list[datetime]) -> bool:
    late = change.at - change.scheduled_at
    if query.policies.get("misfire_policy", "once") == "skip" or late > _window(query):
        return late > timedelta(seconds=60)
    newer = sum(at > change.scheduled_at for at in together)
    return newer >= (100 if query.policies.get("misfire_policy") == "all" else 1)


def _window(query: Query) -> timedelta:
    window: str = query.policies.get("misfire_window", "P1D")
    if window.startswith("PT"):
        return timedelta(hours=int(window[2:-1]))
    return timedelta(days=int(window[1:-1]))


def catch_up(record: Record, queries: Mapping[int, Query], found: Findings) -> None:
    """Of what was found due at once, as many run as the misfire policy says."""
    planned: dict[tuple[int, str], list[Any]] = defaultdict(list)
    for change in record.changes:
        if change.op == "INSERT" and change.trigger == "schedule" and change.query_id in queries:
            planned[change.query_id, change.xid].append(change)
    for (query_id, _), rows in planned.items():
        query = queries[query_id]
        at = rows[0].at
        queued = [row for row in rows if row.status == "queued"]
        paused = any(row.error_code == "paused" for row in rows)
        inside = [row for row in rows if at - row.scheduled_at <= _window(query)]
        if paused:
            right = not queued
        else:
            match query.policies.get("misfire_policy", "once"):
                case "all":
                    # a single instant is judged by the overlap policy instead
                    right = (
                        len(inside) <= 1
                        or len(queued) == min(100, len(inside))
                        or at - inside[0].scheduled_at > _window(query) - SLACK
                    )
                case "skip":
                    right = all(at - row.scheduled_at <= timedelta(seconds=61) for row in queued)
                case _:
                    right = len(queued) <= 1 and all(
                        row.scheduled_at <= rows[-1].scheduled_at for row in queued
                    )
                    right = right and not (
                        queued and queued[0].scheduled_at != max(r.scheduled_at for r in rows)
                    )
        if not right:
            found.add("catch_up", f"{query.name} at {at}: {len(queued)} of {len(rows)} run")
        if len(rows) > 1:
            found.seen["catch-ups"] += 1
