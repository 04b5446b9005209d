"""What workers keep open at sources, in memory."""

from __future__ import annotations

from datetime import timedelta

from pgsched.adapters.memory.store import MemoryStore


class MemoryKeptConnections:
    """The port ``KeptConnections`` over a store."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def note(self, worker_id: int, source_id: int, connections: int, *, for_s: float) -> None:
        """Say how many connections a worker may have open at a source for so long."""
        if source_id not in self._store.sources:
            return
        until = self._store.clock.read() + timedelta(seconds=for_s)
        self._store.kept[worker_id, source_id] = (connections, until)
        if not connections:
            del self._store.kept[worker_id, source_id]
