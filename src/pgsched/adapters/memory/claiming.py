"""Choosing which waiting runs may start now."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from pgsched.adapters.memory.store import MemoryStore, RunRecord
from pgsched.domain.runs import MAX_PARALLEL, RunStatus


def ready_runs(store: MemoryStore, worker_id: int, now: datetime, limit: int) -> list[RunRecord]:
    """Return at most ``limit`` runs that a worker may start: sources in turns, in each the oldest first."""
    in_line = [record for record in store.runs.values() if _waits(record, now)]
    in_line.sort(key=_place_in_line)
    free = places_left(store, worker_id, now)
    #: runs of a query's set that are before the next one: running, or waiting with an older place
    before: dict[tuple[int, str | None], int] = {}
    for record in store.runs.values():
        if record.run.status is RunStatus.RUNNING:
            before[_line(record)] = before.get(_line(record), 0) + 1
    chosen: list[RunRecord] = []
    for record in in_line:
        ahead = before.get(_line(record), 0)
        before[_line(record)] = ahead + 1
        if ahead < (1 if record.exclusive else MAX_PARALLEL) and free[record.source_id] > 0:
            free[record.source_id] -= 1
            chosen.append(record)
    return sorted(chosen, key=_turns(store, worker_id))[:limit]


def places_left(store: MemoryStore, worker_id: int, now: datetime) -> dict[int, int]:
    """Return how many more runs a worker may start, by source: what others keep open counts, too."""
    left = {source.id: source.max_concurrency for source in store.sources.values()}
    for record in store.runs.values():
        if record.run.status is RunStatus.RUNNING:
            left[record.source_id] -= 1
    for (keeper, source_id), (connections, until) in store.kept.items():
        if keeper != worker_id and until > now and source_id in left:
            left[source_id] -= max(0, connections - running(store, keeper, source_id))
    return left


def running(store: MemoryStore, worker_id: int, source_id: int) -> int:
    """Return how many runs a worker has at a source."""
    return sum(
        record.run.status is RunStatus.RUNNING
        and (record.worker_id, record.source_id) == (worker_id, source_id)
        for record in store.runs.values()
    )


def _turns(store: MemoryStore, worker_id: int) -> Callable[[RunRecord], int]:
    """Return what counts a source's runs, those that the worker runs already included."""
    taken = {source_id: running(store, worker_id, source_id) for source_id in store.sources}

    def turn(record: RunRecord) -> int:
        taken[record.source_id] += 1
        return taken[record.source_id]

    return turn


def _line(record: RunRecord) -> tuple[int, str | None]:
    return record.run.query_id, record.run.params


def _waits(record: RunRecord, now: datetime) -> bool:
    return record.run.status is RunStatus.QUEUED and record.ready_at <= now


def _place_in_line(record: RunRecord) -> tuple[datetime, int]:
    return record.ready_at, record.run.id
