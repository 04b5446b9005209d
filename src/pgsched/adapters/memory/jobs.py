"""The query jobs in memory."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from pgsched.adapters.memory.store import MemoryStore
from pgsched.domain.errors import NameTaken, NotFound
from pgsched.domain.jobs import Job, JobSpec, first_instant


class MemoryJobs:
    """The port ``Jobs`` over a store."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def add(self, spec: JobSpec, *, start_at: datetime | None = None) -> Job:
        """Store a job; its anchor is ``start_at`` or the whole second of now."""
        if spec.data_source_id not in self._store.sources:
            raise NotFound("data source", spec.data_source_id)
        if any(job.spec.name == spec.name for job in self._store.jobs.values()):
            raise NameTaken("query", spec.name)
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

    async def all(self) -> Sequence[Job]:
        """Return every job, by name."""
        return sorted(self._store.jobs.values(), key=lambda job: job.spec.name)
