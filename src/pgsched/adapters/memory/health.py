"""Whether the store can serve: always."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from pgsched.adapters.memory.store import MemoryStore
from pgsched.application.ports.views import Readiness
from pgsched.domain.freshness import Freshness
from pgsched.domain.jobs import Visibility
from pgsched.domain.runs import RunStatus

_SCHEMA_VERSION = 1


class MemoryHealth:
    """The port ``HealthView`` over a store."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def readiness(self) -> Readiness:
        """Look."""
        now = self._store.clock.read()
        return Readiness(
            schema_version=_SCHEMA_VERSION,
            expected_version=_SCHEMA_VERSION,
            workers=len(self._store.present),
            waiting=sum(
                record.run.status is RunStatus.QUEUED and record.ready_at <= now
                for record in self._store.runs.values()
            ),
            stale=tuple(self._stale(now)),
        )

    def _stale(self, now: datetime) -> Iterator[str]:
        for job in sorted(self._store.jobs.values(), key=lambda job: job.id):
            if job.spec.fresh_for is None or not job.spec.enabled:
                continue
            runs = [each for each in self._store.runs.values() if each.run.query_id == job.id]
            ended = [each for each in runs if each.run.status is RunStatus.SUCCESS]
            newest = max(ended, key=lambda each: each.place, default=None)
            since = None if newest is None else newest.run.run_finished_at
            if Freshness(since=since or job.created_at, fresh_for=job.spec.fresh_for, now=now).is_stale:
                yield job.spec.name if job.spec.visibility is Visibility.PUBLIC else str(job.id)
