"""The query jobs in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from pgsched.adapters.memory.store import CANCELLED, MemoryStore, RunRecord
from pgsched.domain.errors import HasRuns, NameTaken, NotFound, Stale
from pgsched.domain.job_changes import changes_plan, revised
from pgsched.domain.jobs import Job, JobSpec, first_instant
from pgsched.domain.runs import RunStatus


class MemoryJobs:
    """The port ``Jobs`` over a store."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def add(self, spec: JobSpec, *, start_at: datetime | None = None) -> Job:
        """Store a job; its anchor is ``start_at`` or the whole second of now."""
        if spec.data_source_id not in self._store.sources:
            raise NotFound("data source", spec.data_source_id)
        self._ensure_free(spec.name, None)
        now = self._store.clock.read()
        anchor = (start_at or now).astimezone(UTC).replace(microsecond=0)
        job = Job(
            id=self._store.new_id(),
            spec=spec,
            anchor_at=anchor,
            next_run_at=first_instant(spec, anchor, now),
            created_at=now,
            updated_at=now,
        )
        self._store.jobs[job.id] = job
        self._store.hint()
        return job

    async def get(self, key: str | int) -> Job:
        """Return the job of this name or id."""
        for job in self._store.jobs.values():
            if key == (job.id if isinstance(key, int) else job.spec.name):
                return job
        raise NotFound("query", key)

    async def change(
        self, before: Job, spec: JobSpec, *, start_at: datetime | None = None, resume: bool = False
    ) -> Job:
        """Put everything a person decides about a job anew, if nobody changed it since it was read."""
        job = await self.get(before.id)
        now = self._store.clock.read()
        is_due = job.next_run_at is not None and job.next_run_at <= now
        planned_anew = resume or changes_plan(job, spec, start_at=start_at)
        if job.updated_at != before.updated_at or (is_due and planned_anew):
            raise Stale("query")
        if spec.data_source_id not in self._store.sources:
            raise NotFound("data source", spec.data_source_id)
        self._ensure_free(spec.name, job.id)
        changed = revised(job, spec, now, start_at=start_at, resume=resume)
        changed = replace(changed, updated_at=self._store.moment_after(job.updated_at))
        self._store.jobs[job.id] = changed
        for record in self._runs(job.id, RunStatus.QUEUED):
            record.source_id = spec.data_source_id
        self._store.hint()
        return changed

    async def wind_down(self, job_id: int) -> int:
        """Disable a job, cancel what waits, ask what runs to be cancelled."""
        job = await self.get(job_id)
        self._store.jobs[job_id] = replace(
            job,
            spec=replace(job.spec, enabled=False),
            next_run_at=None,
            updated_at=self._store.moment_after(job.updated_at),
        )
        for record in self._runs(job_id, RunStatus.QUEUED):
            record.public = CANCELLED
            record.end(
                self._store.clock.read(),
                RunStatus.CANCELLED,
                error_code="cancelled",
                error_message=CANCELLED,
            )
        running = self._runs(job_id, RunStatus.RUNNING)
        for record in running:
            record.cancel_requested = True
        self._store.hint()
        return len(running)

    async def forget_runs(self, job_id: int, *, limit: int) -> int:
        """Delete some runs of a job with their results, oldest first."""
        ids = sorted(record.run.id for record in self._runs(job_id))[:limit]
        for run_id in ids:
            del self._store.runs[run_id]
        return len(ids)

    async def remove(self, job_id: int, *, with_runs: bool = False) -> None:
        """Delete a job, with what runs and gaps it still has if ``with_runs``."""
        job = await self.get(job_id)
        if self._runs(job_id) and not with_runs:
            raise HasRuns(f"the query {job.spec.name} has runs")
        await self.forget_runs(job_id, limit=len(self._store.runs))
        for key in [key for key in self._store.gaps if key[0] == job_id]:
            del self._store.gaps[key]
        self._store.grants.pop(job_id, None)
        del self._store.jobs[job_id]

    async def page(
        self, *, text: str = "", enabled: bool | None = None, limit: int, offset: int
    ) -> tuple[Sequence[Job], int]:
        """Return some jobs by name, and how many there are in all."""
        part = text.lower()
        found = [
            job
            for job in await self.all()
            if enabled in (None, job.spec.enabled)
            and any(part in each.lower() for each in (job.spec.name, job.spec.title, job.spec.description))
        ]
        return found[offset : offset + limit], len(found)

    async def all(self) -> Sequence[Job]:
        """Return every job, by name."""
        return sorted(self._store.jobs.values(), key=lambda job: job.spec.name)

    def _ensure_free(self, name: str, holder: int | None) -> None:
        for job in self._store.jobs.values():
            if job.spec.name == name and job.id != holder:
                raise NameTaken("query", name)

    def _runs(self, job_id: int, status: RunStatus | None = None) -> list[RunRecord]:
        return [
            record
            for record in self._store.runs.values()
            if record.run.query_id == job_id and status in (None, record.run.status)
        ]
