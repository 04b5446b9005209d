"""Whether the store can serve: always."""

from __future__ import annotations

from pgsched.adapters.memory.store import MemoryStore
from pgsched.application.ports.views import Readiness
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
        )
