"""The audit trail and transactions in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from pgsched.adapters.memory.store import MemoryStore
from pgsched.domain.audit import Actor, AuditEntry, AuditEvent, AuditFilter


class MemoryTransactions:
    """The port ``Transactions`` over a store: an exception puts back what was there."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    @asynccontextmanager
    async def begin(self, *, rights: bool = False) -> AsyncIterator[None]:  # noqa: ARG002 (one loop, no await inside)
        """Join whatever ports of this store do inside the block."""
        before = self._store.snapshot()
        try:
            yield
        except BaseException:
            self._store.restore(before)
            raise


class MemoryAudit:
    """The port ``Audit`` over a store."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def record(self, by: Actor, entry: AuditEntry) -> None:
        """Write down what ``by`` did."""
        event_id = self._store.new_id()
        self._store.events[event_id] = AuditEvent(
            id=event_id,
            at=self._store.clock.read(),
            actor_id=by.id,
            actor=by.name,
            ip=by.ip,
            request_id=by.request_id,
            action=entry.action,
            noun=entry.noun,
            noun_id=entry.noun_id,
            noun_name=entry.noun_name,
            old=entry.old,
            new=entry.new,
        )

    async def page(self, wanted: AuditFilter, *, limit: int, offset: int) -> tuple[Sequence[AuditEvent], int]:
        """Return some events, newest first, and how many there are in all."""
        found = sorted(
            (event for event in self._store.events.values() if _is_wanted(event, wanted)),
            key=lambda event: (event.at, event.id),
            reverse=True,
        )
        return found[offset : offset + limit], len(found)


def _is_wanted(event: AuditEvent, wanted: AuditFilter) -> bool:
    return (
        (wanted.actor is None or event.actor.lower() == wanted.actor.lower())
        and wanted.action in (None, event.action)
        and wanted.noun in (None, event.noun)
        and wanted.noun_id in (None, event.noun_id)
        and (wanted.start is None or event.at >= wanted.start)
        and (wanted.end is None or event.at < wanted.end)
    )
