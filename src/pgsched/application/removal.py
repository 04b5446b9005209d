"""Deleting queries and sources with all that hangs on them, without holding anybody up."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from pgsched.application.jobs import trail_of as trail_of_job
from pgsched.application.ports.audit import Audit, Transactions
from pgsched.application.ports.repositories import Jobs, Sources
from pgsched.application.sources import trail_of as trail_of_source
from pgsched.application.versions import KnownVersion
from pgsched.domain.audit import Actor, removed
from pgsched.domain.errors import HasRuns, InUse, NotFound, Stale

#: seconds given to workers to end what they were asked to cancel
PATIENCE_S = 5.0
#: runs deleted at once
BATCH = 500
#: seconds between two looks
_LOOK_EVERY_S = 0.1


class RemoveJob:
    """Deletes a query; with force its runs too, after what runs was cancelled at the source."""

    def __init__(
        self, jobs: Jobs, transactions: Transactions, audit: Audit, *, patience_s: float = PATIENCE_S
    ) -> None:
        self._jobs = jobs
        self._transactions = transactions
        self._audit = audit
        self._patience_s = patience_s

    async def __call__(
        self, key: str | int, by: Actor, *, force: bool = False, only_if: KnownVersion | None = None
    ) -> None:
        """Delete the query of this name or id.

        With ``force`` it is disabled first and its runs go in batches: what is interrupted half-way leaves a
        disabled query with fewer runs, and can be asked for again. A worker that does not end its run in time
        finds that it lost it.

        Raises:
            NotFound: there is no such query.
            Stale: its version is not one that ``only_if`` knows.
            HasRuns: it has runs; ask with ``force``.
        """
        job = await self._jobs.get(key)
        if only_if is not None and not only_if(job.updated_at):
            raise Stale("query")
        if force:
            await self._wind_down(job.id)
            while await self._jobs.forget_runs(job.id, limit=BATCH):
                pass
        try:
            async with self._transactions.begin(rights=True):
                await self._jobs.remove(job.id, with_runs=force)
                await self._audit.record(by, removed("query", job.id, job.spec.name, trail_of_job(job)))
        except HasRuns as error:
            raise HasRuns(f"{error.detail}; to delete them too, ask with force") from None

    async def _wind_down(self, job_id: int) -> None:
        """Let workers end what they were asked to cancel, and give up on those that do not."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience_s):
                while await self._jobs.wind_down(job_id):  # noqa: ASYNC110 (the workers are elsewhere)
                    await asyncio.sleep(_LOOK_EVERY_S)


class RemoveSource:
    """Deletes a source; with force the queries that run there, and their runs."""

    def __init__(
        self, sources: Sources, jobs: Jobs, remove_job: RemoveJob, transactions: Transactions, audit: Audit
    ) -> None:
        self._sources = sources
        self._jobs = jobs
        self._remove_job = remove_job
        self._transactions = transactions
        self._audit = audit

    async def __call__(
        self, key: str | int, by: Actor, *, force: bool = False, only_if: KnownVersion | None = None
    ) -> None:
        """Delete the source of this name or id.

        Raises:
            NotFound: there is no such source.
            Stale: its version is not one that ``only_if`` knows.
            InUse: queries run there; ask with ``force``.
        """
        source = await self._sources.get(key)
        if only_if is not None and not only_if(source.updated_at):
            raise Stale("data source")
        there = [job for job in await self._jobs.all() if job.spec.data_source_id == source.id]
        if there and not force:
            named = ", ".join(job.spec.name for job in there[:3]) + (" …" if len(there) > 3 else "")
            count = "1 query runs" if len(there) == 1 else f"{len(there)} queries run"
            raise InUse(
                f"{count} at the data source {source.name} ({named}); to delete them too, with their runs, "
                "ask with force"
            )
        for job in there:
            try:
                await self._remove_job(job.id, by, force=True)
            except NotFound:
                continue
        async with self._transactions.begin():
            await self._sources.remove(source.id)
            await self._audit.record(by, removed("source", source.id, source.name, trail_of_source(source)))
