"""The worker: wakes, plans, claims, runs, renews, rescues, and hands back what it cannot finish.

One loop decides when to look; the queue's database decides what is due and who runs it. Alarms, hints and
finished runs wake the loop early; a jittered poll is the safety net under all of them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Coroutine
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, auto

from pgsched.application.ports.repositories import Attendance, Claim, RunQueue, WorkerInfo, Workers
from pgsched.application.ports.timing import Alarms
from pgsched.application.run_job import RunJob
from pgsched.domain.errors import DatabaseFault, LeaseLost
from pgsched.domain.planning import plan_due
from pgsched.domain.runs import RENEW_EVERY_S, SELF_KILL_S, fraction_of

log = logging.getLogger(__name__)

#: seconds between two looks when nothing wakes the loop; shortened by up to a quarter
POLL_S = 1.0
#: seconds ahead for which alarms are armed
HORIZON_S = 60.0
#: most alarms armed at once
MAX_ALARMS = 200
#: jobs planned in one transaction
PLAN_BATCH = 100
#: seconds between two signs of life in the worker's row
BEAT_EVERY_S = 10.0
#: seconds without a database after which a worker that shall stop waits for no run any more
DRAIN_AWAY_S = 4.0
#: seconds between two tries while the database is away
AWAY_S = 0.5


class _End(Enum):
    """Why a run's task is cancelled from here."""

    REQUESTED = auto()
    LOST = auto()
    DRAINED = auto()


@dataclass(slots=True)
class _Held:
    """A claim that this worker is busy with."""

    claim: Claim
    #: monotonic seconds before which the lease was certainly extended
    trusted_from: float
    task: asyncio.Task[None] | None = None
    end: _End | None = None

    def stop(self, why: _End) -> None:
        if self.end is None and self.task is not None:
            self.end = why
            self.task.cancel()


@dataclass(slots=True)
class _Timer:
    """Says when so many monotonic seconds have passed."""

    every_s: float
    last: float = field(default=-1e9)

    def due(self) -> bool:
        now = time.monotonic()
        if now - self.last < self.every_s:
            return False
        self.last = now
        return True


class Worker:
    """Plans and runs until it is told to stop."""

    def __init__(
        self,
        *,
        queue: RunQueue,
        workers: Workers,
        alarms: Alarms,
        run_job: RunJob,
        info: WorkerInfo,
        drain_s: float = 20.0,
    ) -> None:
        self._queue = queue
        self._workers = workers
        self._alarms = alarms
        self._run_job = run_job
        self._info = info
        self._drain_s = drain_s
        self._held: dict[int, _Held] = {}
        self._wake = asyncio.Event()
        self._reap_timer = _Timer(POLL_S * 0.9)
        self._beat_timer = _Timer(BEAT_EVERY_S)
        self._away = False
        self._overdue: tuple[datetime, ...] = ()

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set, then drain: finish what ends in time, hand back the rest at once."""
        while not stop.is_set():
            try:
                async with self._workers.enlist(self._info) as attendance:
                    self._returned()
                    await self._attend(attendance, stop)
                    return
            except DatabaseFault as error:
                self._gone(error)
                await _sleep_unless(stop, AWAY_S)

    async def _attend(self, attendance: Attendance, stop: asyncio.Event) -> None:
        self._alarms.start(self._ring)
        log.info(
            "worker %d is ready",
            attendance.worker_id,
            extra={"action": "worker.ready", "worker_id": attendance.worker_id},
        )
        beside: list[Coroutine[object, object, None]] = [
            self._listen(attendance),
            self._renew(attendance),
            self._stop_wakes(stop),
        ]
        tasks = [asyncio.create_task(each) for each in beside]
        try:
            while not stop.is_set():
                for task in tasks:
                    if task.done():
                        task.result()
                await self._look(attendance)
                await self._nap(attendance.worker_id)
            await self._drain(attendance)
        finally:
            self._alarms.stop()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _look(self, attendance: Attendance) -> None:
        """Rescue, plan, claim, heed cancel requests, arm alarms; a database that is away ends the look."""
        try:
            if self._reap_timer.due():
                for run in await self._queue.reap():
                    log.warning(
                        "run of a lost worker is %s",
                        run.status,
                        extra={"action": "run.rescued", "run_id": run.id},
                    )
            while (await self._queue.plan_due(plan_due, limit=PLAN_BATCH)).jobs == PLAN_BATCH:
                pass
            await self._claim(attendance.worker_id)
            if self._held:
                for run_id in await self._queue.cancel_requests(attendance.worker_id):
                    if run_id in self._held:
                        self._held[run_id].stop(_End.REQUESTED)
            asked_at = time.monotonic()
            ahead = await self._queue.upcoming(within_s=HORIZON_S, limit=MAX_ALARMS)
            # The answer is half a round trip old when it is here.
            age = timedelta(seconds=(time.monotonic() - asked_at) / 2)
            self._alarms.arm(ahead.now + age, ahead.instants)
            # What came due during this look is looked at again at once; what stays due is somebody else's.
            overdue = tuple(instant for instant in ahead.instants if instant <= ahead.now)
            if set(overdue) - set(self._overdue):
                self._wake.set()
            self._overdue = overdue
            if self._beat_timer.due():
                await attendance.beat()
            self._returned()
        except DatabaseFault as error:
            self._gone(error)

    async def _claim(self, worker_id: int) -> None:
        while free := self._info.concurrency - len(self._held):
            asked_at = time.monotonic()
            claims = await self._queue.claim(worker_id, limit=free)
            for claim in claims:
                held = _Held(claim=claim, trusted_from=asked_at)
                self._held[claim.hold.run_id] = held
                held.task = asyncio.create_task(self._carry(held))
            if not claims:
                return

    async def _carry(self, held: _Held) -> None:
        hold = held.claim.hold
        ids = {"run_id": hold.run_id, "query_id": held.claim.job.id}
        try:
            await self._run_job(held.claim)
        except asyncio.CancelledError:
            if held.end is _End.REQUESTED:
                await self._record_cancelled(held)
        except LeaseLost:
            log.warning(
                "another worker holds the run; this result is discarded",
                extra={"action": "run.lease_lost", **ids},
            )
        except DatabaseFault as error:
            log.warning(
                "the outcome could not be recorded: %s",
                error.detail,
                extra={"action": "run.unrecorded", **ids},
            )
        finally:
            # A drained run stays listed: the drain hands it back.
            if held.end is not _End.DRAINED:
                self._held.pop(hold.run_id, None)
            self._wake.set()

    async def _record_cancelled(self, held: _Held) -> None:
        try:
            await self._queue.cancelled(held.claim.hold)
        except (LeaseLost, DatabaseFault):
            # Whoever rescues the run finds the request and records it.
            log.warning(
                "cancelled, not recorded by this worker",
                extra={"action": "run.unrecorded", "run_id": held.claim.hold.run_id},
            )

    async def _renew(self, attendance: Attendance) -> None:
        """Extend the leases; stop trusting those that could not be extended in time."""
        timer = _Timer(RENEW_EVERY_S)
        timer.due()
        while True:
            await asyncio.sleep(0.5)
            if not self._held:
                continue
            if timer.due() and not await self._renew_once(attendance):
                timer.last = -1e9
            for held in list(self._held.values()):
                if time.monotonic() - held.trusted_from >= SELF_KILL_S:
                    log.warning(
                        "the lease could not be renewed; the run is given up",
                        extra={"action": "run.self_kill", "run_id": held.claim.hold.run_id},
                    )
                    held.stop(_End.LOST)

    async def _renew_once(self, attendance: Attendance) -> bool:
        asked_at = time.monotonic()
        busy = list(self._held.values())
        try:
            async with asyncio.timeout(RENEW_EVERY_S):
                renewal = await self._queue.renew(attendance.worker_id, [held.claim.hold for held in busy])
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

    async def _listen(self, attendance: Attendance) -> None:
        while True:
            try:
                if await attendance.hint(30.0):
                    self._wake.set()
            except DatabaseFault:
                await asyncio.sleep(AWAY_S)

    async def _stop_wakes(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._wake.set()

    async def _nap(self, worker_id: int) -> None:
        """Sleep until something wakes the loop, or until the next poll is due."""
        spread = fraction_of(worker_id, self._info.pid, int(time.monotonic()))
        try:
            async with asyncio.timeout(AWAY_S if self._away else POLL_S * (1 - spread / 4)):
                await self._wake.wait()
        except TimeoutError:
            pass
        self._wake.clear()

    async def _drain(self, attendance: Attendance) -> None:
        """Let runs end for a while, then cancel the rest and hand them back."""
        tasks = [held.task for held in self._held.values() if held.task is not None]
        if not tasks:
            return
        log.info("draining %d runs", len(tasks), extra={"action": "worker.draining", "runs": len(tasks)})
        await self._let_end(tasks, attendance)
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

    async def _let_end(self, tasks: list[asyncio.Task[None]], attendance: Attendance) -> None:
        """Wait for runs to end, not as long while there is no database to record them in."""
        clock = asyncio.get_running_loop().time
        end = clock() + self._drain_s
        there_at = clock()
        pending = set(tasks)
        while pending and clock() < end and clock() - there_at < DRAIN_AWAY_S:
            _, pending = await asyncio.wait(pending, timeout=min(1.0, max(0.0, end - clock())))
            if pending and await self._renew_once(attendance):
                there_at = clock()

    def _ring(self, _instant: datetime) -> None:
        self._wake.set()

    def _gone(self, error: DatabaseFault) -> None:
        if not self._away:
            log.error("waiting: %s", error.detail, extra={"action": "worker.waiting"})
        self._away = True

    def _returned(self) -> None:
        if self._away:
            log.info("the metadata database is back", extra={"action": "worker.back"})
        self._away = False


async def _sleep_unless(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass
