"""The workers that are there, in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from pgsched.adapters.memory.store import MemoryStore
from pgsched.application.ports.queue import WorkerInfo


class MemoryWorkers:
    """The port ``Workers`` over a store."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    @asynccontextmanager
    async def enlist(self, info: WorkerInfo) -> AsyncIterator[MemoryAttendance]:
        """Announce a worker; leaving the block is its end."""
        attendance = MemoryAttendance(self._store, self._store.new_id())
        self._store.worker_infos[attendance.worker_id] = info
        try:
            yield attendance
        finally:
            attendance.die()

    async def alive(self) -> int:
        """Return how many workers are present now."""
        return len(self._store.present)


class MemoryAttendance:
    """The port ``Attendance``; ``die`` is what kill -9 does to a real one."""

    def __init__(self, store: MemoryStore, worker_id: int) -> None:
        self._store = store
        self._hinted = store.present[worker_id] = asyncio.Event()
        store.attended[worker_id] = (store.clock.read(), None)
        self.worker_id = worker_id

    async def hint(self, timeout_s: float) -> bool:
        """Wait for a hint that jobs or runs changed; False when none came in time."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._hinted.wait()
        except TimeoutError:
            return False
        self._hinted.clear()
        return True

    async def beat(self, figures: Mapping[str, float] | None = None) -> None:
        """Keep the figures; presence itself is the sign of life."""
        self._store.worker_figures[self.worker_id] = dict(figures or {})

    def die(self) -> None:
        """End without a word; others notice at once."""
        if self._store.present.pop(self.worker_id, None) is not None:
            since, _ = self._store.attended[self.worker_id]
            self._store.attended[self.worker_id] = (since, self._store.clock.read())
        self._store.departed.add(self.worker_id)
