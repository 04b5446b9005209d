"""What dashboards read, in memory."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from datetime import datetime

from pgsched.adapters.memory.documents import rows_shown, schema_of
from pgsched.adapters.memory.store import MemoryStore, RunRecord
from pgsched.application.ports.views import QueryCard, RunFilter, RunPage, StoredRun
from pgsched.domain.audience import Access, Audience, access_to
from pgsched.domain.errors import NotFound
from pgsched.domain.freshness import Freshness
from pgsched.domain.jobs import Job
from pgsched.domain.runs import CHUNK_ABOVE_BYTES, RunStatus

#: rows handed out at once
_ROWS_AT_ONCE = 1000


class _Reader:
    """What both views share: the store, and who may see what."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def _access(self, audience: Audience, job: Job) -> Access:
        return access_to(
            audience,
            query_id=job.id,
            visibility=job.spec.visibility,
            grants=self._store.grants.get(job.id, ()),
        )

    def _visible(self, audience: Audience) -> list[Job]:
        jobs = (job for job in self._store.jobs.values() if self._access(audience, job).visible)
        return sorted(jobs, key=lambda job: job.spec.name)

    def _job(self, audience: Audience, key: str | int) -> Job:
        for job in self._visible(audience):
            if key == (job.id if isinstance(key, int) else job.spec.name):
                return job
        raise NotFound("query", key)

    def _runs(self, job: Job) -> list[RunRecord]:
        """The runs of a query, newest first."""
        records = (record for record in self._store.runs.values() if record.run.query_id == job.id)
        return sorted(records, key=lambda record: record.place, reverse=True)

    def _freshness(self, job: Job, ended: datetime) -> Freshness:
        """How old a result of a query is that ended then."""
        return Freshness(since=ended, fresh_for=job.spec.fresh_for, now=self._store.clock.read())


class MemoryQueryView(_Reader):
    """The port ``QueryView`` over a store."""

    async def page(self, audience: Audience, *, limit: int, offset: int) -> tuple[Sequence[QueryCard], int]:
        """Return some visible queries by name, and how many there are in all."""
        jobs = self._visible(audience)
        return [self._card(job, audience) for job in jobs[offset : offset + limit]], len(jobs)

    async def card(self, audience: Audience, key: str | int) -> QueryCard:
        """Return one query by name or id."""
        return self._card(self._job(audience, key), audience)

    def _card(self, job: Job, audience: Audience) -> QueryCard:
        successes = (each.run for each in self._runs(job) if each.run.status is RunStatus.SUCCESS)
        newest = next(successes, None)
        freshness = self._freshness(job, (newest and newest.run_finished_at) or job.created_at)
        ran = [each for each in self._runs(job) if each.run.status is not RunStatus.SKIPPED]
        return QueryCard(
            id=job.id,
            name=job.spec.name,
            title=job.spec.title,
            description=job.spec.description,
            schedule_type=job.spec.schedule_type,
            schedule_expr=job.spec.schedule_expr,
            timezone=job.spec.timezone,
            enabled=job.spec.enabled,
            visibility=job.spec.visibility,
            pause_reason=job.pause_reason,
            next_run_at=job.next_run_at,
            last_run=_stored(ran[0], audience, self._access(audience, job)).run if ran else None,
            fresh_for=job.spec.fresh_for,
            fresh_until=freshness.fresh_until,
            is_stale=freshness.is_stale,
            age_s=None if newest is None else freshness.age_s,
            created_at=job.created_at,
            updated_at=job.updated_at,
        )


class MemoryRunView(_Reader):
    """The port ``RunView`` over a store."""

    async def latest(
        self,
        audience: Audience,
        query: str | int,
        *,
        status: RunStatus | None = RunStatus.SUCCESS,
        whole: bool = True,
        params: str | None = None,
    ) -> StoredRun:
        """Return the highest run of that status."""
        job = self._job(audience, query)
        for record in self._runs(job):
            if status in (None, record.run.status) and params in (None, record.run.params):
                stored = _stored(record, audience, self._access(audience, job), whole=whole)
                if status is not RunStatus.SUCCESS:
                    return stored
                ended = record.run.run_finished_at or job.created_at
                return replace(stored, freshness=self._freshness(job, ended))
        raise NotFound("run of query" if status is None else f"{status} run of query", query)

    async def page(
        self, audience: Audience, query: str | int, wanted: RunFilter, *, with_result: bool = False
    ) -> RunPage:
        """Return a page of runs, newest first."""
        job = self._job(audience, query)
        fitting = [record for record in self._runs(job) if _fits(record, wanted)]
        found = fitting
        if wanted.before is not None:
            edge = self._record(job, wanted.before).place
            found = [record for record in found if record.place < edge]
        if wanted.after is not None:
            edge = self._record(job, wanted.after).place
            found = [record for record in found if record.place > edge]
        nearest_to_after = wanted.after is not None and wanted.before is None
        found = found[-wanted.limit :] if nearest_to_after else found[: wanted.limit]
        if not found:
            return RunPage(items=(), next_before=None, prev_after=None)
        first, last = found[0], found[-1]
        access = self._access(audience, job)
        items = []
        room = CHUNK_ABOVE_BYTES
        for record in found:
            room -= len(record.document or b"")
            item = _stored(record, audience, access, whole=room >= 0)
            items.append(item if with_result else replace(item, result=None, table_schema=None))
        return RunPage(
            items=items,
            next_before=last.run.id if fitting[-1] is not last else None,
            prev_after=first.run.id if fitting[0] is not first else None,
        )

    async def one(self, audience: Audience, run_id: int, *, whole: bool = True) -> StoredRun:
        """Return one run with its result."""
        record = self._store.runs.get(run_id)
        job = None if record is None else self._store.jobs.get(record.run.query_id)
        if record is None or job is None or not (access := self._access(audience, job)).visible:
            raise NotFound("run", run_id)
        return _stored(record, audience, access, whole=whole)

    async def neighbour(
        self,
        audience: Audience,
        query: str | int,
        run_id: int,
        *,
        newer: bool,
        whole: bool = True,
        params: str | None = None,
    ) -> StoredRun:
        """Return the next newer or older run of the same query."""
        job = self._job(audience, query)
        here = self._record(job, run_id)
        runs = [each for each in self._runs(job) if each is here or params in (None, each.run.params)]
        place = runs.index(here) + (-1 if newer else 1)
        if not 0 <= place < len(runs):
            raise NotFound(f"run {'after' if newer else 'before'} run", run_id)
        return _stored(runs[place], audience, self._access(audience, job), whole=whole)

    async def rows(
        self, stored: StoredRun, *, offset: int = 0, limit: int | None = None
    ) -> AsyncGenerator[bytes]:
        """Hand out the rows shown of a run, a few at a time."""
        record = self._store.runs.get(stored.run.id)
        if record is None or record.document is None:
            raise NotFound("result of run", stored.run.id)
        rows = rows_shown(record.document, stored.rows)[offset : None if limit is None else offset + limit]
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            yield b"[%b]" % b",".join(rows[start : start + _ROWS_AT_ONCE])

    def _record(self, job: Job, run_id: int) -> RunRecord:
        record = self._store.runs.get(run_id)
        if record is None or record.run.query_id != job.id:
            raise NotFound("run", run_id)
        return record


def _fits(record: RunRecord, wanted: RunFilter) -> bool:
    run = record.run
    return (
        (wanted.start is None or run.scheduled_at >= wanted.start)
        and (wanted.end is None or run.scheduled_at < wanted.end)
        and (wanted.status is None or run.status is wanted.status)
        and (wanted.params is None or run.params == wanted.params)
    )


def _stored(record: RunRecord, audience: Audience, access: Access, *, whole: bool = True) -> StoredRun:
    run = record.run if audience.whole_errors else replace(record.run, error_message=record.public)
    document = record.document
    if document is None:
        return StoredRun(run=run, result=None, rows=access.rows)
    if access.rows is not None:
        run = replace(run, rows_returned=len(rows_shown(document, access.rows)))
    if whole and access.rows is None and not record.chunked:
        return StoredRun(run=run, result=document)
    return StoredRun(run=run, result=None, rows=access.rows, table_schema=schema_of(document))
