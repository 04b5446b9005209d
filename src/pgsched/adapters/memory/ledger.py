"""A query's past in memory."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from pgsched.adapters.memory.store import MemoryStore
from pgsched.domain.errors import NotFound
from pgsched.domain.ledger import Past, Recorded, RecordedGap
from pgsched.domain.runs import Trigger

_KNOWN = timedelta(days=30)


class MemoryLedger:
    """The port ``LedgerView`` over a store."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def past(self, query: str | int) -> Past:
        """Return the phases of a query, and what else explaining needs."""
        now = self._store.clock.read()
        for job in self._store.jobs.values():
            if query == (job.id if isinstance(query, int) else job.spec.name):
                return Past(
                    query_id=job.id,
                    name=job.spec.name,
                    now=now,
                    phases=tuple(self._store.phases[job.id]),
                    next_run_at=job.next_run_at,
                    jitter_s=job.spec.jitter_s,
                    deleted_to=self._store.deleted.get(job.id, (None,))[0],
                    workers_since=now - _KNOWN,
                    attended=tuple((since, until or now) for since, until in self._store.attended.values()),
                )
        raise NotFound("query", query)

    async def rows(
        self, query_id: int, start: datetime, end: datetime, *, limit: int, params: str | None = None
    ) -> tuple[Sequence[Recorded], Sequence[RecordedGap]]:
        """Return the scheduled runs of a range, and the gaps there."""
        runs = [
            Recorded(run=record.run, at=record.recorded_at)
            for record in sorted(self._store.runs.values(), key=lambda record: record.place)
            if record.run.query_id == query_id
            and record.run.trigger is Trigger.SCHEDULE
            and start <= record.run.scheduled_at < end
            and params in (None, record.run.params or "")
        ]
        gaps = [
            RecordedGap(gap=gap, at=self._store.gap_times[key], params=key[2])
            for key, gap in sorted(self._store.gaps.items())
            if key[0] == query_id and gap.from_at < end and gap.to_at >= start and params in (None, key[2])
        ]
        return runs[:limit], gaps
