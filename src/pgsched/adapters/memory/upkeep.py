"""Counting, retention and figures in memory."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from pgsched.adapters.memory.store import MemoryStore, RunRecord
from pgsched.application.ports.upkeep import (
    Distribution,
    Figures,
    QueryFigure,
    RecentFailure,
    RunCount,
    SourceFigure,
    StoredSize,
    WorkerFigure,
)
from pgsched.domain.exposure import MOST_RESULTS, MOST_VALUES, Exposed, exposed_values
from pgsched.domain.jobs import Job, Visibility
from pgsched.domain.retention import Limits, limits_of
from pgsched.domain.runs import RunStatus, Trigger

_BATCH = 200


class MemoryRunTally:
    """The port ``RunTally`` over a store."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def advance(self) -> int:
        """Count what ended since the last call."""
        fresh = _not_counted(self._store)
        for record in fresh:
            self._store.counted.add(record.run.id)
            _add(self._store.counts, record)
        return len(fresh)


class MemoryRetention:
    """The port ``Retention`` over a store."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def limited(self, defaults: Limits) -> Sequence[tuple[int, Limits]]:
        """Return the queries that have a limit, their own or the default."""
        found = [(job.id, limits_of(job.spec, defaults)) for job in self._store.jobs.values()]
        return sorted(((job_id, limits) for job_id, limits in found if limits.any), key=lambda each: each[0])

    async def delete_events(self, keep_days: int) -> int:
        """Delete what of the audit trail is older than this."""
        since = self._store.clock.read() - timedelta(days=keep_days)
        old = [event.id for event in self._store.events.values() if event.at < since]
        for event_id in old:
            del self._store.events[event_id]
        return len(old)

    async def delete_some(self, query_id: int, limits: Limits) -> int:
        """Delete a small batch of a query's runs beyond its limits."""
        now = self._store.clock.read()
        records = [each for each in self._store.runs.values() if each.run.query_id == query_id]
        records.sort(key=lambda each: each.place, reverse=True)
        successes = [each for each in records if each.run.status is RunStatus.SUCCESS]
        too_old = None if limits.keep_days is None else now - timedelta(days=limits.keep_days)
        doomed = [
            each
            for place, each in enumerate(records)
            if each.run.status.is_terminal
            and each.run.id in self._store.counted
            and each not in successes[:1]
            and (
                (limits.keep_runs is not None and place >= limits.keep_runs)
                or (too_old is not None and each.run.scheduled_at < too_old)
            )
        ][-_BATCH:]
        for each in doomed:
            del self._store.runs[each.run.id]
            self._note(query_id, each.run.scheduled_at, 1, each.byte_size)
        self._delete_gaps(query_id, too_old)
        return len(doomed)

    def _delete_gaps(self, query_id: int, too_old: datetime | None) -> None:
        ends = [at for at in (too_old, self._store.deleted.get(query_id, (None,))[0]) if at is not None]
        for key, gap in list(self._store.gaps.items()):
            if key[0] == query_id and ends and gap.to_at <= max(ends):
                del self._store.gaps[key]
                self._note(query_id, gap.to_at, 0, 0)

    def _note(self, query_id: int, at: datetime, runs: int, size: int) -> None:
        to, before, size_before = self._store.deleted.get(query_id, (at, 0, 0))
        self._store.deleted[query_id] = max(to, at), before + runs, size_before + size


class MemoryFigures:
    """The port ``FiguresView`` over a store."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def sizes(self) -> Mapping[int, StoredSize]:
        """Return what is stored of each query that has runs."""
        found = (await self.figures(queries=len(self._store.jobs))).queries
        return {
            each.job.id: StoredSize(runs=each.stored_runs, bytes=each.stored_bytes)
            for each in found
            if each.stored_runs or each.deleted_to
        }

    async def exposed(self) -> Sequence[Exposed]:
        """Return what public queries with ``expose_metrics`` tell of their newest results."""
        told = [
            (job.id, params, newest)
            for job in sorted(self._store.jobs.values(), key=lambda job: job.id)
            if job.spec.expose_metrics and job.spec.visibility is Visibility.PUBLIC
            for params in sorted(job.spec.set_names)
            if (newest := self._newest(job.id, params)) is not None
        ][:MOST_RESULTS]
        found = []
        for query_id, params, record in told:
            document = json.loads(record.document or b"")
            rows = document["data"]
            values, left_out = exposed_values(document["schema"], rows[:MOST_VALUES], rows_of_all=len(rows))
            one = Exposed(query_id=query_id, params=params, values=values, rows_left_out=left_out)
            found.append(one)
        return found

    def _newest(self, query_id: int, params: str) -> RunRecord | None:
        successes = (
            each
            for each in self._store.runs.values()
            if each.run.query_id == query_id
            and (each.run.params or "") == params
            and each.run.status is RunStatus.SUCCESS
        )
        return max(successes, key=lambda each: each.place, default=None)

    async def figures(self, *, queries: int) -> Figures:
        """Look, with details of at most so many queries."""
        now = self._store.clock.read()
        counts = dict(self._store.counts)
        for record in _not_counted(self._store):
            _add(counts, record)
        runs = self._store.runs.values()
        ready = [each for each in runs if each.run.status is RunStatus.QUEUED and each.ready_at <= now]
        running = [each for each in runs if each.run.status is RunStatus.RUNNING]
        due = [job.next_run_at for job in self._store.jobs.values() if job.next_run_at]
        jobs = sorted(self._store.jobs.values(), key=lambda job: job.id)
        return Figures(
            now=now,
            counts=[counts[key] for key in sorted(counts)],
            durations=_distribution([(each.run.duration_ms or 0) / 1000 for each in _ran(runs)]),
            lateness=_distribution([_lateness(each) for each in runs if _is_first_try(each)]),
            queries=[self._query(job, counts) for job in jobs[:queries]],
            query_count=len(jobs),
            sources=[
                SourceFigure(
                    id=source.id,
                    name=source.name,
                    max_concurrency=source.max_concurrency,
                    running=sum(each.source_id == source.id for each in running),
                    waiting=sum(each.source_id == source.id for each in ready),
                )
                for source in sorted(self._store.sources.values(), key=lambda source: source.name)
            ],
            workers=[self._worker(worker_id, now, running) for worker_id in self._store.present],
            waiting=len(ready),
            later=sum(each.run.status is RunStatus.QUEUED and each.ready_at > now for each in runs),
            running=len(running),
            stuck=sum(each.lease_until is not None and each.lease_until < now for each in running),
            longest_wait_s=max(((now - each.ready_at).total_seconds() for each in ready), default=0.0),
            planning_delay_s=max(0.0, (now - min(due)).total_seconds()) if due else 0.0,
            recent_lateness_s=_middle_and_tail([_lateness(each) for each in runs if _is_first_try(each)]),
            failures=[self._failure(each) for each in runs if each.run.status is RunStatus.ERROR][::-1][:10],
        )

    def _query(self, job: Job, counts: dict[tuple[int, RunStatus, str], RunCount]) -> QueryFigure:
        own = [each for each in self._store.runs.values() if each.run.query_id == job.id]
        successes = [each for each in own if each.run.status is RunStatus.SUCCESS]
        newest = max(successes, key=lambda each: each.place, default=None)
        to, runs, size = self._store.deleted.get(job.id, (None, 0, 0))
        ended = [count for count in counts.values() if count.query_id == job.id]
        return QueryFigure(
            job=job,
            last_success_at=None if newest is None else newest.run.run_finished_at,
            stored_runs=sum(count.runs for count in ended) - runs,
            stored_bytes=sum(count.bytes for count in ended) - size,
            deleted_to=to,
        )

    def _worker(self, worker_id: int, now: datetime, running: list[RunRecord]) -> WorkerFigure:
        info = self._store.worker_infos[worker_id]
        return WorkerFigure(
            id=worker_id,
            host=info.host,
            pid=info.pid,
            version=info.version,
            concurrency=info.concurrency,
            running=sum(each.worker_id == worker_id for each in running),
            started_at=now,
            seen_at=now,
            alive=True,
            figures=self._store.worker_figures.get(worker_id, {}),
        )

    def _failure(self, record: RunRecord) -> RecentFailure:
        run = record.run
        assert run.run_finished_at is not None
        return RecentFailure(
            run_id=run.id,
            query=self._store.jobs[run.query_id].spec.name,
            at=run.run_finished_at,
            code=run.error_code or "",
            message=record.public or "",
        )


def _not_counted(store: MemoryStore) -> list[RunRecord]:
    return [
        record
        for record in store.runs.values()
        if record.run.status.is_terminal and record.run.id not in store.counted
    ]


def _add(counts: dict[tuple[int, RunStatus, str], RunCount], record: RunRecord) -> None:
    run = record.run
    key = run.query_id, run.status, run.error_code or ""
    before = counts.get(key) or RunCount(
        query_id=key[0],
        status=key[1],
        reason=key[2],
        runs=0,
        rows=0,
        bytes=0,
        duration_ms=0,
        attempts=0,
        losses=0,
    )
    counts[key] = replace(
        before,
        runs=before.runs + 1,
        rows=before.rows + (run.rows_returned or 0),
        bytes=before.bytes + record.byte_size,
        duration_ms=before.duration_ms + (run.duration_ms or 0),
        attempts=before.attempts + run.attempt,
        losses=before.losses + record.losses,
    )


def _ran(records: Iterable[RunRecord]) -> list[RunRecord]:
    return [each for each in records if each.run.status in (RunStatus.SUCCESS, RunStatus.ERROR)]


def _is_first_try(record: RunRecord) -> bool:
    run = record.run
    started = run.run_started_at is not None and run.status.is_terminal
    return started and run.trigger is Trigger.SCHEDULE and run.attempt == 1 and not record.losses


def _lateness(record: RunRecord) -> float:
    assert record.run.run_started_at is not None
    return max(0.0, (record.run.run_started_at - record.run.scheduled_at).total_seconds())


def _middle_and_tail(seconds: list[float]) -> tuple[float, float] | None:
    if not seconds:
        return None
    ordered = sorted(seconds)
    return ordered[len(ordered) // 2], ordered[len(ordered) * 95 // 100]


def _distribution(seconds: list[float]) -> Distribution:
    return Distribution(bounds=(), counts=(len(seconds),), seconds=sum(seconds))
