"""The port ``Watch`` over a store."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from pgsched.adapters.memory.store import MemoryStore
from pgsched.application.ports.watch import Ended, QueryRights, Sighting
from pgsched.domain.jobs import Job
from pgsched.domain.runs import RunStatus


class MemoryWatch:
    """Looks at the store; its epoch moves with the first look after rights changed."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._epoch = 1
        self._known: object = None

    async def look(self, queries: Collection[int], runs: Collection[int]) -> Sighting:
        """Look."""
        rights = [self._rights(job) for job in self._store.jobs.values()]
        now = (rights, dict(self._store.accounts))
        if self._known is not None and now != self._known:
            self._epoch += 1
        self._known = now
        return Sighting(
            epoch=self._epoch,
            latest={query_id: self._latest(query_id) for query_id in queries if query_id in self._store.jobs},
            runs={
                run_id: ended
                for run_id in runs
                if run_id in self._store.runs and (ended := Ended.of(self._store.runs[run_id].run))
            },
        )

    async def rights(self, queries: Collection[int]) -> Mapping[int, QueryRights]:
        """Read who may read some queries."""
        jobs = (self._store.jobs.get(query_id) for query_id in queries)
        return {job.id: self._rights(job) for job in jobs if job is not None}

    async def close(self) -> None:
        """Do nothing."""

    def _rights(self, job: Job) -> QueryRights:
        return QueryRights(
            query_id=job.id,
            name=job.spec.name,
            visibility=job.spec.visibility,
            grants=tuple(self._store.grants.get(job.id, ())),
            fresh_for=job.spec.fresh_for,
        )

    def _latest(self, query_id: int) -> Ended | None:
        successes = [
            record
            for record in self._store.runs.values()
            if record.run.query_id == query_id and record.run.status is RunStatus.SUCCESS
        ]
        return Ended.of(max(successes, key=lambda record: record.place).run) if successes else None
