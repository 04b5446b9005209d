"""The data sources in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import datetime

from pgsched.adapters.memory.store import MemoryStore
from pgsched.application.ports.repositories import Resealed
from pgsched.domain.errors import InUse, NameTaken, NotFound, Stale
from pgsched.domain.sources import DataSource, NewSource

_DECIDED = tuple(field.name for field in fields(NewSource))


class MemorySources:
    """The port ``Sources`` over a store."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def add(self, source: NewSource) -> DataSource:
        """Store a source."""
        self._ensure_free(source.name, None)
        now = self._store.clock.read()
        return self._put(self._store.new_id(), source, now, now)

    async def get(self, key: str | int) -> DataSource:
        """Return the source of this name or id."""
        for source in self._store.sources.values():
            if key == (source.id if isinstance(key, int) else source.name):
                return source
        raise NotFound("data source", key)

    async def replace(self, source_id: int, source: NewSource) -> DataSource:
        """Put everything a person decides about a source anew."""
        before = await self.get(source_id)
        self._ensure_free(source.name, source_id)
        return self._put(source_id, source, before.created_at, self._store.clock.read())

    async def change(self, before: DataSource, after: NewSource) -> DataSource:
        """Put everything a person decides about a source anew, if it is still as it was read."""
        found = await self.get(before.id)
        if (found.updated_at, found.password) != (before.updated_at, before.password):
            raise Stale("data source")
        self._ensure_free(after.name, before.id)
        self._store.hint()
        return self._put(before.id, after, before.created_at, self._store.moment_after(before.updated_at))

    async def remove(self, source_id: int) -> None:
        """Delete a source."""
        source = await self.get(source_id)
        if any(job.spec.data_source_id == source_id for job in self._store.jobs.values()):
            raise InUse(f"queries run at the data source {source.name}")
        del self._store.sources[source_id]

    async def all(self) -> Sequence[DataSource]:
        """Return every source, by name."""
        return sorted(self._store.sources.values(), key=lambda source: source.name)

    async def reseal(self, changes: Sequence[Resealed]) -> frozenset[int]:
        """Put new envelopes in the place of old ones, each only where the old one still stands."""
        changed = set()
        for change in changes:
            source = self._store.sources.get(change.source_id)
            if source is not None and source.password == change.old:
                self._store.sources[source.id] = replace(source, password=change.new)
                changed.add(source.id)
        return frozenset(changed)

    def _ensure_free(self, name: str, holder: int | None) -> None:
        for source in self._store.sources.values():
            if source.name == name and source.id != holder:
                raise NameTaken("data source", name)

    def _put(self, source_id: int, new: NewSource, created_at: datetime, updated_at: datetime) -> DataSource:
        decided = {name: getattr(new, name) for name in _DECIDED}
        source = DataSource(id=source_id, created_at=created_at, updated_at=updated_at, **decided)
        self._store.sources[source_id] = source
        return source
