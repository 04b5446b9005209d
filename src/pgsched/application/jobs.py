"""Query jobs: adding one, changing one, running one by hand."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from pgsched.application.job_judge import JobJudge
from pgsched.application.ports.audit import Audit, Transactions
from pgsched.application.ports.queue import RunQueue
from pgsched.application.ports.repositories import Jobs
from pgsched.application.ports.timing import Clock
from pgsched.application.versions import KnownVersion, compare_and_set
from pgsched.domain.audit import Actor, added, changed, done
from pgsched.domain.jobs import Job, JobSpec
from pgsched.domain.planning import plan_due
from pgsched.domain.runs import Run

#: jobs planned in one transaction before a change of plan
_PLAN_BATCH = 100


class AddJob:
    """Judges what somebody wrote about a query and stores it."""

    def __init__(
        self, jobs: Jobs, judge: JobJudge, clock: Clock, transactions: Transactions, audit: Audit
    ) -> None:
        self._jobs = jobs
        self._judge = judge
        self._clock = clock
        self._transactions = transactions
        self._audit = audit

    async def __call__(self, given: Mapping[str, object], by: Actor) -> Job:
        """Store the job that these fields describe.

        Raises:
            InvalidInput: with every fault; the subclass where all are of one kind (see ``JobJudge``).
            NameTaken: another query has the name.
        """
        judged = await self._judge(given, await self._clock.now())
        async with self._transactions.begin(rights=True):
            job = await self._jobs.add(judged.spec, start_at=judged.start_at)
            await self._audit.record(by, added("query", job.id, job.spec.name, trail_of(job)))
        return job


class ChangeJob:
    """Judges a change of a query and stores it; what is due by the former plan is planned before."""

    def __init__(
        self,
        jobs: Jobs,
        queue: RunQueue,
        judge: JobJudge,
        clock: Clock,
        transactions: Transactions,
        audit: Audit,
    ) -> None:
        self._jobs = jobs
        self._queue = queue
        self._judge = judge
        self._clock = clock
        self._transactions = transactions
        self._audit = audit

    async def __call__(
        self,
        key: str | int,
        given: Mapping[str, object],
        by: Actor,
        *,
        only_if: KnownVersion | None = None,
    ) -> Job:
        """Change the fields that are given; without ``only_if`` the last write of a field wins.

        Raises:
            NotFound: there is no such query.
            Stale: its version is not one that ``only_if`` knows.
            InvalidInput: with every fault; the subclass where all are of one kind (see ``JobJudge``).
            NameTaken: another query has the name.
        """
        found = await self._jobs.get(key)
        return await compare_and_set(
            "query",
            lambda: self._jobs.get(found.id),
            lambda before: self._changed(before, given, by),
            only_if,
        )

    async def _changed(self, before: Job, given: Mapping[str, object], by: Actor) -> Job:
        now = await self._clock.now()
        judged = await self._judge(given, now, before)
        resume = given.get("enabled") is True
        if not _is_other(before, judged.spec, judged.start_at, resume=resume):
            return before
        if before.next_run_at is not None and before.next_run_at <= now:
            # Each instant that was due while the former plan held has its outcome by that plan.
            while (await self._queue.plan_due(plan_due, limit=_PLAN_BATCH)).jobs == _PLAN_BATCH:
                pass
        async with self._transactions.begin(rights=True):
            after = await self._jobs.change(before, judged.spec, start_at=judged.start_at, resume=resume)
            entry = changed("query.update", after.id, after.spec.name, trail_of(before), trail_of(after))
            await self._audit.record(by, entry)
        return after


class RequestRun:
    """Queues a run of a query now, whatever its schedule says."""

    def __init__(self, jobs: Jobs, queue: RunQueue, transactions: Transactions, audit: Audit) -> None:
        self._jobs = jobs
        self._queue = queue
        self._transactions = transactions
        self._audit = audit

    async def __call__(self, key: str | int, by: Actor, *, params: str | None = None) -> Run:
        """Queue the run, of a disabled query too, with the parameter set that is named or the first.

        Raises:
            NotFound: there is no such query.
            InvalidInput: it has no such set.
        """
        job = await self._jobs.get(key)
        if params is not None:
            job.spec.set_called(params)
        async with self._transactions.begin():
            run = await self._queue.request(job.id, params=params)
            told: dict[str, object] = {"query_id": job.id}
            if run.params is not None:
                told["params"] = run.params
            await self._audit.record(by, done("run.request", run.id, job.spec.name, told))
        return run


class CancelRun:
    """Cancels a run: a waiting one at once, a running one by its worker."""

    def __init__(self, queue: RunQueue, transactions: Transactions, audit: Audit) -> None:
        self._queue = queue
        self._transactions = transactions
        self._audit = audit

    async def __call__(self, run_id: int, by: Actor) -> Run:
        """Return the run as it is once it was asked for.

        Raises:
            NotFound: there is no such run.
            NotCancellable: it is over.
        """
        async with self._transactions.begin():
            run = await self._queue.request_cancel(run_id)
            await self._audit.record(by, done("run.cancel", run.id, None, {"query_id": run.query_id}))
        return run


def trail_of(job: Job) -> dict[str, object]:
    """Return what the audit trail keeps of a job."""
    return {**job.spec.described(), "start_at": job.anchor_at, "paused_at": job.paused_at}


def _is_other(before: Job, spec: JobSpec, start_at: datetime | None, *, resume: bool) -> bool:
    """Whether the change changes anything."""
    if before.spec != spec or (resume and before.paused_at is not None):
        return True
    return start_at is not None and start_at.replace(microsecond=0) != before.anchor_at
