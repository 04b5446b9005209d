"""What workers keep open at sources, in memory."""

from __future__ import annotations

from datetime import timedelta

from pgsched.adapters.memory.claiming import places_left, running
from pgsched.adapters.memory.store import MemoryStore


class MemoryKeptConnections:
    """The port ``KeptConnections`` over a store."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def note(self, worker_id: int, source_id: int, connections: int, *, for_s: float) -> int:
        """Note as many connections of a worker as others leave places for."""
        now = self._store.clock.read()
        left = places_left(self._store, worker_id, now).get(source_id, 0)
        # whoever makes no claims is not granted the last place, which it would keep from every run
        left -= worker_id < 0
        granted = max(0, min(connections, left + running(self._store, worker_id, source_id)))
        if granted:
            self._store.kept[worker_id, source_id] = (granted, now + timedelta(seconds=for_s))
        else:
            self._store.kept.pop((worker_id, source_id), None)
        return granted
