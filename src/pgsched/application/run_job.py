"""Running one claimed run: open the password, judge the SQL, execute, record. One straight line."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from pgsched.application.ports.execution import QuerySource, SqlGuard
from pgsched.application.ports.queue import Claim, KeptConnections, RunQueue
from pgsched.application.ports.secrets import PasswordVault
from pgsched.application.remembered import Passwords, Verdicts
from pgsched.application.sources import address_of
from pgsched.application.staging import Staging
from pgsched.application.statements import judge, statement_of
from pgsched.domain.errors import (
    DatabaseFault,
    DatabaseUnavailable,
    LeaseLost,
    PgschedError,
    ResultRejected,
)
from pgsched.domain.runs import CHUNK_ABOVE_BYTES, Failure, Run, RunStatus, Success, retry_delay

log = logging.getLogger(__name__)

#: seconds between two tries while the metadata database is away
AGAIN_S = 0.5
#: times that a result is given to a server that gives up on it, out of memory or of time
MOST_STORING_TRIES = 3

_T = TypeVar("_T")


class RunJob:
    """Takes a claim to its outcome."""

    def __init__(
        self,
        queue: RunQueue,
        vault: PasswordVault,
        guard: SqlGuard,
        at_source: QuerySource,
        kept: KeptConnections,
    ) -> None:
        self._queue = queue
        self._passwords = Passwords(vault)
        self._verdicts = Verdicts(guard)
        self._at_source = at_source
        self._kept = kept

    async def __call__(self, claim: Claim) -> Run:
        """Run the claim and record what came of it; a failure is an outcome, not an error.

        Raises:
            LeaseLost: another worker holds the run by now; nothing was recorded.
            DatabaseFault: the schema is another, or a right is missing; nothing was recorded.
        """
        try:
            # Before the SQL runs, the metadata database is asked who it is; that is worth waiting for too.
            success = await _through_outages(lambda: self._execute(claim))
            run = await _stored(lambda: self._queue.succeed(claim.hold, success))
        except (LeaseLost, DatabaseFault):
            raise
        except PgschedError as error:
            run = await self._fail(claim, Failure.of(error))
        except Exception:
            # A fault of our own must end as this run's error and not stop the worker.
            log.exception("run failed inside pgsched", extra={"action": "run.internal_error", **_ids(claim)})
            text = "an internal error; the worker's log says more"
            run = await self._fail(claim, Failure(code="internal_error", message=text, public=text))
        if run.status.is_terminal:
            tell_end(claim, run)
        return run

    async def _execute(self, claim: Claim) -> Success:
        spec, source = claim.job.spec, claim.source
        password = await self._passwords.of(source)
        instead = await judge(
            partial(self._verdicts.of, allow_user_functions=source.allow_user_functions),
            spec,
            params=claim.params,
        )
        statement = statement_of(
            spec,
            source,
            params=claim.params,
            scheduled_at=claim.scheduled_at,
            application_name=f"pgsched:{claim.hold.run_id}/{claim.attempt}",
            instead=instead,
        )
        held: list[bytes] = []
        held_bytes = 0

        async def stage(seq: int, rows: bytes) -> None:
            await _stored(lambda: self._queue.stage(claim.hold, seq, rows))

        async def keep(connections: int, for_s: float) -> int:
            return await self._kept.note(claim.worker_id, source.id, connections, for_s=for_s)

        async with (
            Staging(stage) as staging,
            self._at_source.execute(address_of(source, password), statement, keep=keep) as stream,
        ):
            async for batch in stream:
                held.append(batch.data)
                held_bytes += len(batch.data)
                # Beyond what one document may hold, rows leave memory as chunks.
                if held_bytes > CHUNK_ABOVE_BYTES or staging.chunks:
                    for rows in held:
                        await staging.add(rows)
                    held, held_bytes = [], 0
        return Success(
            rows=stream.rows,
            byte_size=stream.bytes,
            truncated=stream.truncated,
            table_schema=stream.table_schema(),
            data=b",".join(held),
            chunks=staging.chunks,
            param_values=dict(stream.arguments) or None,
        )

    async def _fail(self, claim: Claim, failure: Failure) -> Run:
        delay = None
        if failure.passing:
            spec = claim.job.spec
            delay = retry_delay(
                run_id=claim.hold.run_id,
                attempt=claim.attempt,
                max_attempts=spec.max_attempts,
                backoff_s=spec.retry_backoff_s,
            )
        log.warning(
            "run failed: %s%s",
            failure.code,
            "" if delay is None else f", tried again in {delay:.0f} s",
            extra={"action": "run.failed", "error_code": failure.code, **_ids(claim)},
        )
        run = await _through_outages(lambda: self._queue.fail(claim.hold, failure, retry_in_s=delay))
        if run.status is RunStatus.QUEUED and delay is not None:
            log.info(
                "run queued again: attempt %d in %.0f s",
                claim.attempt + 1,
                delay,
                extra={"action": "run.queued_again", "status": str(run.status), **_ids(claim)},
            )
        return run


async def _through_outages(act: Callable[[], Awaitable[_T]]) -> _T:
    """Act, again and again while the metadata database is away: a run is not thrown away for that.

    It ends with the lease: the worker cancels a run that it cannot renew. A try whose answer was lost may
    have landed; the next one then raises LeaseLost, and nothing is there twice.
    """
    while True:
        try:
            return await act()
        except DatabaseUnavailable:
            await asyncio.sleep(AGAIN_S)


async def _stored(act: Callable[[], Awaitable[_T]]) -> _T:
    """Store a result through outages; one that the database gives up on is tried a few times.

    Raises:
        ResultRejected: it was, each time.
    """
    tries = 0

    async def tried() -> _T:
        nonlocal tries
        try:
            return await act()
        except DatabaseUnavailable as error:
            tries += error.gave_up
            if tries < MOST_STORING_TRIES:
                raise
            raise ResultRejected(f"the result cannot be stored: {error.detail}; select less") from None

    return await _through_outages(tried)


def tell_end(claim: Claim, run: Run) -> None:
    """Log that a claim's run is over."""
    log.info(
        "run ended: %s",
        run.status,
        extra={"action": "run.ended", "status": str(run.status), **_ids(claim)},
    )


def _ids(claim: Claim) -> dict[str, int]:
    return {"run_id": claim.hold.run_id, "query_id": claim.job.id, "attempt": claim.attempt}
