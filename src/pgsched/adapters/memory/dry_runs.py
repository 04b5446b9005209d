"""Dry runs under way, in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from pgsched.adapters.memory.store import MemoryStore
from pgsched.domain.dry_runs import ensure_place


class MemoryDryRunPlaces:
    """The port ``DryRunPlaces`` over a store."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    @asynccontextmanager
    async def hold(self, user: str, source_id: int, *, for_s: float) -> AsyncIterator[None]:
        """Count a dry run for the time of the block."""
        now, held = self._store.clock.read(), self._store.dry_runs
        there = [place for place in held if place[2] > now]
        ensure_place(
            of_user=sum(place[0] == user for place in there),
            of_source=sum(place[1] == source_id for place in there),
        )
        place = (user, source_id, now + timedelta(seconds=for_s))
        self._store.dry_runs = [*there, place]
        try:
            yield
        finally:
            if place in self._store.dry_runs:
                self._store.dry_runs.remove(place)
