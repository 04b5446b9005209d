"""The run queue in memory. Nothing here awaits, so each call is one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from pgsched.adapters.memory import planned
from pgsched.adapters.memory.claiming import ready_runs
from pgsched.adapters.memory.documents import checked, document
from pgsched.adapters.memory.store import CANCELLED, MemoryStore, RunRecord
from pgsched.application.ports.queue import Claim, Decide, Planned, Renewal, Upcoming
from pgsched.domain.clocks import SLACK_S
from pgsched.domain.errors import LeaseLost, NotCancellable, NotFound
from pgsched.domain.jobs import Job, OverlapPolicy
from pgsched.domain.planning import Plan, why_unplannable
from pgsched.domain.runs import (
    LEASE_S,
    MAX_BACKOFF_S,
    MAX_LOSSES,
    Failure,
    Hold,
    Run,
    RunStatus,
    SkipReason,
    Success,
    Trigger,
)

_LOST = "the worker was lost while it ran this, twice"
_TOO_LATE = "waited longer than start_deadline_s"
_LEASE = timedelta(seconds=LEASE_S)
_SLACK = timedelta(seconds=SLACK_S)
_LIVE = (RunStatus.QUEUED, RunStatus.RUNNING)
_BACKOFF = timedelta(seconds=MAX_BACKOFF_S)


class MemoryRunQueue:
    """The port ``RunQueue`` over a store."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def plan_due(self, decide: Decide, *, limit: int = 100) -> Planned:
        """Plan up to ``limit`` due jobs."""
        now = self._store.clock.read()
        due = [job for job in self._store.jobs.values() if job.next_run_at and job.next_run_at <= now]
        due.sort(key=lambda job: (job.next_run_at, job.id))
        queued = recorded = 0
        for job in due[:limit]:
            for params in job.spec.set_names:
                plan = self._judge(job, params, decide)
                if isinstance(plan, Exception):
                    planned.pause(self._store, job, now, why_unplannable(plan))
                    break
                waiting = planned.write(self._store, job, params, plan, now)
                queued += waiting
                recorded += len(plan.runs) + sum(gap.instants for gap in plan.gaps) - waiting
        return Planned(jobs=len(due[:limit]), queued=queued, recorded=recorded)

    async def plan_and_claim(self, decide: Decide, worker_id: int, *, jobs: int, runs: int) -> Planned:
        """Plan due jobs and take runs that are ready."""
        planned = await self.plan_due(decide, limit=jobs)
        return replace(planned, claims=await self.claim(worker_id, limit=runs))

    async def upcoming(self, *, within_s: float, limit: int) -> Upcoming:
        """Return the instants ahead."""
        now = self._store.clock.read()
        horizon = now + timedelta(seconds=within_s)
        jobs = {job.next_run_at for job in self._store.jobs.values() if job.next_run_at}
        waiting = {
            record.ready_at
            for record in self._store.runs.values()
            if record.run.status is RunStatus.QUEUED and record.ready_at > now
        }
        ahead = sorted(instant for instant in jobs | waiting if instant <= horizon)
        live = any(record.run.status in _LIVE for record in self._store.runs.values())
        return Upcoming(now=now, instants=tuple(ahead[:limit]), at_rest=not live and not self._store.kept)

    async def claim(self, worker_id: int, *, limit: int) -> Sequence[Claim]:
        """Take up to ``limit`` runs that are ready."""
        now = self._store.clock.read()
        for record in self._store.runs.values():
            late = record.deadline_at is not None and record.deadline_at <= now
            if late and record.run.status is RunStatus.QUEUED:
                planned.skip(record, now, SkipReason.DEADLINE, _TOO_LATE)
        claims = [self._take(record, worker_id) for record in ready_runs(self._store, worker_id, now, limit)]
        return sorted(claims, key=lambda claim: (claim.scheduled_at, claim.hold.run_id))

    async def renew(self, worker_id: int, holds: Sequence[Hold]) -> Renewal:  # noqa: ARG002 (tokens prove more)
        """Extend the leases still held."""
        kept = [record for hold in holds if (record := self._held_by(hold)) is not None]
        for record in kept:
            record.lease_until = self._store.clock.read() + _LEASE
        return Renewal(
            lost=frozenset(hold.run_id for hold in holds) - {record.run.id for record in kept},
            cancel=frozenset(record.run.id for record in kept if record.cancel_requested),
        )

    async def cancel_requests(self, worker_id: int) -> frozenset[int]:
        """Return the runs of this worker that someone asked to cancel."""
        return frozenset(
            record.run.id
            for record in self._store.runs.values()
            if record.worker_id == worker_id and record.cancel_requested
        )

    async def held_by(self, worker_id: int) -> Sequence[Hold]:
        """Return what a worker holds by the record."""
        return [
            Hold(run_id=record.run.id, token=record.token)
            for record in self._store.runs.values()
            if record.worker_id == worker_id and self._is_leased(record)
        ]

    async def stage(self, hold: Hold, seq: int, rows: bytes) -> None:
        """Store a chunk of row objects, unseen until the run succeeds."""
        checked(b"[" + rows + b"]")
        self._held(hold).chunks.setdefault((hold.token, seq), rows)

    async def succeed(self, hold: Hold, success: Success) -> Run:
        """Store result and status."""
        record = self._held(hold)
        staged = [rows for (token, _), rows in sorted(record.chunks.items()) if token == hold.token]
        rows = staged if success.chunks else [success.data]
        stored = checked(document(success.table_schema, rows))
        record.end(
            self._store.clock.read(),
            RunStatus.SUCCESS,
            rows_returned=success.rows,
            truncated=success.truncated,
            param_values=success.param_values,
        )
        record.document, record.byte_size = stored, success.byte_size
        record.chunked = bool(success.chunks)
        job = self._store.jobs[record.run.query_id]
        self._store.jobs[job.id] = replace(job, consecutive_failures=0)
        return record.run

    async def fail(self, hold: Hold, failure: Failure, *, retry_in_s: float | None) -> Run:
        """End the run with an error, or queue it again."""
        record = self._held(hold)
        now = self._store.clock.read()
        told = {"error_code": failure.code, "error_message": failure.message}
        record.public = failure.public
        if retry_in_s is not None:
            if record.cancel_requested:
                return self._cancel(record)
            return self._wait(record, now + timedelta(seconds=retry_in_s), **told)
        self._count_failure(self._store.jobs[record.run.query_id], failure)
        return record.end(now, RunStatus.ERROR, **told)

    async def cancelled(self, hold: Hold) -> Run:
        """Record that a held run was cancelled as asked."""
        return self._cancel(self._held(hold))

    async def hand_back(self, holds: Sequence[Hold]) -> int:
        """Queue held runs again at once, the try not counted."""
        returned = 0
        for hold in holds:
            record = self._held_by(hold)
            if record is not None:
                if record.cancel_requested:
                    self._cancel(record)
                else:
                    self._wait(record, self._in_its_place(record), attempt=record.run.attempt - 1)
                returned += 1
        self._store.hint()
        return returned

    async def reap(self) -> Sequence[Run]:
        """Rescue the runs whose lease has expired or whose worker is gone."""
        now = self._store.clock.read()
        self._promise_anew(now)
        lost = [
            record
            for record in self._store.runs.values()
            if record.lease_until is not None
            and (record.lease_until <= now or record.worker_id in self._store.departed)
        ]
        gone = self._store.departed | {record.worker_id for record in lost}
        for key, (_, until) in list(self._store.kept.items()):
            if not now < until <= now + _LEASE + _SLACK or key[0] in gone:
                del self._store.kept[key]
        return [self._rescue(record) for record in lost]

    async def request(
        self, query_id: int, trigger: Trigger = Trigger.MANUAL, *, params: str | None = None
    ) -> Run:
        """Queue a run now, whatever the schedule."""
        job = self._store.jobs.get(query_id)
        if job is None:
            raise NotFound("query", query_id)
        if params is not None and params not in {one.name for one in job.spec.param_sets}:
            raise NotFound("parameter set", params)
        now = self._store.clock.read()
        run = Run(
            id=self._store.new_id(),
            query_id=query_id,
            scheduled_at=now,
            job_timezone=job.spec.timezone,
            status=RunStatus.QUEUED,
            trigger=trigger,
            params=(params or job.spec.set_names[0]) or None,
        )
        self._store.runs[run.id] = RunRecord(
            run=run,
            source_id=job.spec.data_source_id,
            ready_at=now,
            recorded_at=now,
            exclusive=job.spec.overlap_policy is not OverlapPolicy.ALLOW,
        )
        self._store.hint()
        return run

    async def request_cancel(self, run_id: int) -> Run:
        """Cancel a waiting run at once; ask the worker of a running one to."""
        status = await self.status_of(run_id)
        if status.is_terminal:
            raise NotCancellable(f"run {run_id} is over: {status}")
        record = self._store.runs[run_id]
        self._store.hint()
        if status is RunStatus.QUEUED:
            return self._cancel(record)
        record.cancel_requested = True
        return record.run

    async def status_of(self, run_id: int) -> RunStatus:
        """Return where a run stands."""
        if run_id not in self._store.runs:
            raise NotFound("run", run_id)
        return self._store.runs[run_id].run.status

    def _judge(self, job: Job, params: str, decide: Decide) -> Plan | Exception:
        try:
            return decide(job, self._store.clock.read(), planned.active_runs(self._store, job, params))
        except Exception as error:  # one job must not stop all others
            return error

    def _take(self, record: RunRecord, worker_id: int) -> Claim:
        now = self._store.clock.read()
        job = self._store.jobs[record.run.query_id]
        record.token, record.worker_id = self._store.new_token(), worker_id
        record.lease_until = now + _LEASE
        record.source_id = job.spec.data_source_id
        record.public = None
        run = record.change(
            status=RunStatus.RUNNING,
            run_started_at=now,
            attempt=record.run.attempt + 1,
            error_code=None,
            error_message=None,
        )
        return Claim(
            hold=Hold(run_id=run.id, token=record.token),
            job=job,
            source=self._store.sources[job.spec.data_source_id],
            scheduled_at=run.scheduled_at,
            attempt=run.attempt,
            trigger=run.trigger,
            params=run.params or "",
            worker_id=worker_id,
        )

    def _held_by(self, hold: Hold) -> RunRecord | None:
        record = self._store.runs.get(hold.run_id)
        if record is None or record.token != hold.token or not self._is_leased(record):
            return None
        return record

    def _is_leased(self, record: RunRecord) -> bool:
        return record.lease_until is not None and record.lease_until > self._store.clock.read()

    def _held(self, hold: Hold) -> RunRecord:
        record = self._held_by(hold)
        if record is None:
            raise LeaseLost(f"run {hold.run_id} is no longer held by token {hold.token}")
        return record

    def _wait(self, record: RunRecord, ready_at: datetime, **changes: Any) -> Run:
        """Queue a run again, where its query runs by now."""
        record.source_id = self._store.jobs[record.run.query_id].spec.data_source_id
        return record.wait(ready_at, **changes)

    def _promise_anew(self, now: datetime) -> None:
        """Shorten what was promised before the clock was set back."""
        for record in self._store.runs.values():
            if record.lease_until is not None and record.lease_until > now + _LEASE + _SLACK:
                record.lease_until = now + _LEASE
            again = record.run.attempt > 0 or record.run.trigger is not Trigger.SCHEDULE
            if record.run.status is RunStatus.QUEUED and again and record.ready_at > now + 1.1 * _BACKOFF:
                record.ready_at = now

    def _in_its_place(self, record: RunRecord) -> datetime:
        """Return when a run that waits again is ready: what was asked for while it ran is not before it."""
        return min(record.ready_at, self._store.clock.read())

    def _cancel(self, record: RunRecord) -> Run:
        record.public = CANCELLED
        return record.end(
            self._store.clock.read(), RunStatus.CANCELLED, error_code="cancelled", error_message=CANCELLED
        )

    def _rescue(self, record: RunRecord) -> Run:
        record.losses += 1
        now = self._store.clock.read()
        if record.cancel_requested:
            return self._cancel(record)
        if record.losses < MAX_LOSSES:
            return self._wait(record, self._in_its_place(record))
        record.public = _LOST
        return record.end(now, RunStatus.ERROR, error_code="worker_lost", error_message=_LOST)

    def _count_failure(self, job: Job, failure: Failure) -> None:
        failures = job.consecutive_failures + 1
        changed = replace(job, consecutive_failures=failures)
        most = job.spec.pause_after_failures
        if job.paused_at is None and 0 < most <= failures:
            why = f"{failures} failures in a row, the last: {failure.public}"
            changed = replace(changed, paused_at=self._store.clock.read(), pause_reason=why)
        self._store.jobs[job.id] = changed
