"""The runs that a worker holds: carried to their outcomes, leases renewed, given up in time, handed back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import Enum, auto

from pgsched.application.elapsed import elapsed_s
from pgsched.application.ports.queue import Claim, RunQueue
from pgsched.application.run_job import RunJob, tell_end
from pgsched.domain.errors import DatabaseFault, LeaseLost
from pgsched.domain.runs import RENEW_EVERY_S, SELF_KILL_S

log = logging.getLogger(__name__)

#: seconds between two looks at the leases
LOOK_EVERY_S = 0.5
#: seconds without a database after which a worker that shall stop waits for no run any more
DRAIN_AWAY_S = 4.0


class _End(Enum):
    """Why a run's task is cancelled from here."""

    REQUESTED = auto()
    LOST = auto()
    DRAINED = auto()


@dataclass(slots=True)
class _Held:
    """A claim that this worker is busy with."""

    claim: Claim
    #: seconds (of ``elapsed_s``) before which the lease was certainly extended
    trusted_from: float
    task: asyncio.Task[None] | None = None
    end: _End | None = None

    def stop(self, why: _End) -> None:
        if self.end is None and self.task is not None:
            self.end = why
            self.task.cancel()


class HeldRuns:
    """What one worker is busy with; ``freed`` is set whenever a run has ended."""

    def __init__(
        self,
        queue: RunQueue,
        run_job: RunJob,
        freed: asyncio.Event,
        *,
        elapsed: Callable[[], float] = elapsed_s,
    ) -> None:
        self._elapsed = elapsed
        self._queue = queue
        self._run_job = run_job
        self._freed = freed
        self._held: dict[int, _Held] = {}
        #: set while there is something to look after
        self._is_busy = asyncio.Event()

    def __len__(self) -> int:
        """How many runs are held."""
        return len(self._held)

    def carry(self, claim: Claim, *, asked_at: float) -> None:
        """Begin to run a claim that was asked for at ``asked_at`` (seconds of ``elapsed_s``)."""
        held = _Held(claim=claim, trusted_from=asked_at)
        self._held[claim.hold.run_id] = held
        held.task = asyncio.create_task(self._carry(held))
        self._is_busy.set()

    def cancel(self, run_ids: Collection[int]) -> None:
        """End the runs that someone asked to cancel; what is not held is passed over."""
        for run_id in run_ids:
            if run_id in self._held:
                self._held[run_id].stop(_End.REQUESTED)

    async def keep(self, worker_id: int) -> None:
        """Extend the leases, for ever; a try that came to nothing is made again at the next look."""
        renewed_at = self._elapsed()
        while True:
            await self._next_look()
            asked_at = self._elapsed()
            if self._held and asked_at - renewed_at >= RENEW_EVERY_S and await self._renew(worker_id):
                renewed_at = asked_at

    async def distrust(self) -> None:
        """Give up, for ever, the runs whose leases could not be extended in time.

        A task of its own: a renewal that hangs on a server cut off can outlast the lease it should extend.
        """
        while True:
            await self._next_look()
            for held in list(self._held.values()):
                if held.end is None and self._elapsed() - held.trusted_from >= SELF_KILL_S:
                    log.warning(
                        "the lease could not be renewed; the run is given up",
                        extra={"action": "run.self_kill", **_ids(held)},
                    )
                    held.stop(_End.LOST)

    async def settle(self, worker_id: int) -> int:
        """Hand back what this worker holds by the record and does not carry; returns how many that were.

        The answer to a claim can be lost while the claim stands, and a run that was given up stays its
        worker's until the lease ends. Not to be called while a claim is under way.
        """
        recorded = await self._queue.held_by(worker_id)
        carried = {held.claim.hold for held in self._held.values()}
        left = [hold for hold in recorded if hold not in carried]
        return await self._queue.hand_back(left) if left else 0

    async def drain(self, worker_id: int, *, within_s: float) -> None:
        """Let runs end for so many seconds, then cancel the rest and hand them back."""
        tasks = [held.task for held in self._held.values() if held.task is not None]
        if not tasks:
            return
        log.info("draining %d runs", len(tasks), extra={"action": "worker.draining", "runs": len(tasks)})
        await self._let_end(tasks, worker_id, within_s)
        rest = list(self._held.values())
        for held in rest:
            held.stop(_End.DRAINED)
        await asyncio.gather(*(held.task for held in rest if held.task), return_exceptions=True)
        left = [held.claim.hold for held in rest if held.end is _End.DRAINED]
        if left:
            try:
                count = await self._queue.hand_back(left)
            except DatabaseFault as error:
                log.warning(
                    "%d runs not handed back: %s; their leases will expire",
                    len(left),
                    error.detail,
                    extra={"action": "worker.not_handed_back"},
                )
            else:
                log.info("handed back %d runs", count, extra={"action": "worker.handed_back", "runs": count})
        self._held.clear()

    async def _next_look(self) -> None:
        """Wait for the time of the next look at the leases; while nothing is held there is none."""
        if not self._held:
            self._is_busy.clear()
            await self._is_busy.wait()
        await asyncio.sleep(LOOK_EVERY_S)

    async def _carry(self, held: _Held) -> None:
        try:
            await self._run_job(held.claim)
        except asyncio.CancelledError:
            if held.end is _End.REQUESTED:
                await self._record_cancelled(held)
        except LeaseLost:
            log.warning(
                "another worker holds the run; this result is discarded",
                extra={"action": "run.lease_lost", **_ids(held)},
            )
        except DatabaseFault as error:
            log.warning(
                "the outcome could not be recorded: %s",
                error.detail,
                extra={"action": "run.unrecorded", **_ids(held)},
            )
        except Exception:
            # Nobody awaits this task; without a line here the fault would show only as a lost lease.
            log.exception(
                "the outcome could not be recorded", extra={"action": "run.unrecorded", **_ids(held)}
            )
        finally:
            # A drained run stays listed: the drain hands it back.
            if held.end is not _End.DRAINED:
                self._held.pop(held.claim.hold.run_id, None)
            self._freed.set()

    async def _record_cancelled(self, held: _Held) -> None:
        try:
            tell_end(held.claim, await self._queue.cancelled(held.claim.hold))
        except (LeaseLost, DatabaseFault):
            # Whoever rescues the run finds the request and records it.
            log.warning(
                "cancelled, not recorded by this worker", extra={"action": "run.unrecorded", **_ids(held)}
            )

    async def _renew(self, worker_id: int) -> bool:
        """Extend the leases once; False when the database could not be asked."""
        asked_at = self._elapsed()
        busy = list(self._held.values())
        try:
            async with asyncio.timeout(RENEW_EVERY_S):
                renewal = await self._queue.renew(worker_id, [held.claim.hold for held in busy])
        except (DatabaseFault, TimeoutError):
            return False
        for held in busy:
            run_id = held.claim.hold.run_id
            if run_id in renewal.lost:
                held.stop(_End.LOST)
            elif run_id in renewal.cancel:
                held.stop(_End.REQUESTED)
            else:
                held.trusted_from = asked_at
        return True

    async def _let_end(self, tasks: list[asyncio.Task[None]], worker_id: int, within_s: float) -> None:
        """Wait for runs to end, not as long while there is no database to record them in."""
        clock = asyncio.get_running_loop().time
        end = clock() + within_s
        there_at = clock()
        pending = set(tasks)
        while pending and clock() < end and clock() - there_at < DRAIN_AWAY_S:
            _, pending = await asyncio.wait(pending, timeout=min(1.0, max(0.0, end - clock())))
            if pending and await self._renew(worker_id):
                there_at = clock()


def _ids(held: _Held) -> dict[str, int]:
    return {"run_id": held.claim.hold.run_id, "query_id": held.claim.job.id}
