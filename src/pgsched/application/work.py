"""The worker: wakes, rescues, plans, claims, and drains when it shall stop.

One loop decides when to look; the queue's database decides what is due and who runs it. Alarms, hints and
finished runs wake the loop early; a jittered poll is the safety net under all of them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from random import random

from pgsched.application.elapsed import elapsed_s
from pgsched.application.held_runs import HeldRuns
from pgsched.application.housekeeping import Housekeeping
from pgsched.application.ports.queue import Attendance, RunQueue, Upcoming, WorkerInfo, Workers
from pgsched.application.ports.timing import Alarms
from pgsched.application.run_job import RunJob
from pgsched.domain.clocks import Reading, doubt_after, step_between
from pgsched.domain.errors import DatabaseFault
from pgsched.domain.jobs import Job
from pgsched.domain.planning import ActiveRuns, Plan, plan_due

log = logging.getLogger(__name__)

#: seconds between two looks when nothing wakes the loop; shortened by up to a quarter
POLL_S = 1.0
#: seconds ahead for which alarms are armed
HORIZON_S = 60.0
#: most alarms armed at once
MAX_ALARMS = 200
#: jobs planned in the first transaction of a look, so that the first runs start soon; each further one takes
#: twice as many, up to the most
PLAN_BATCH, MOST_PLANNED = 100, 400
#: runs taken in one transaction when places are free: all at once would start and end in step, and the
#: database stand still while they run
CLAIM_BATCH = 16
#: seconds between two signs of life in the worker's row
BEAT_EVERY_S = 10.0
#: seconds between two tries while the database is away; each of them waits for it, too
AWAY_S = 0.2
#: seconds after a lost answer within which a claim may still come to stand at a server that was frozen
UNSURE_S = 90.0


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
        housekeeping: Housekeeping,
        figures: Callable[[], Mapping[str, float]] = dict[str, float],
        retire: Callable[[], Awaitable[None]] | None = None,
        drain_s: float = 20.0,
    ) -> None:
        self._queue = queue
        self._workers = workers
        self._alarms = alarms
        self._info = info
        self._housekeeping = housekeeping
        self._figures = figures
        self._drain_s = drain_s
        #: leaves the places at sources to others that this worker will not need any more
        self._retire = retire
        self._wake = asyncio.Event()
        self._held = HeldRuns(queue, run_job, self._wake)
        #: whether something other than a freed place woke the loop
        self._is_called = False
        self._look_timer = _Timer(POLL_S * 0.7)
        self._reap_timer = _Timer(POLL_S * 0.9)
        self._beat_timer = _Timer(BEAT_EVERY_S)
        self._away = False
        #: code of what was told of that
        self._waits_for = ""
        #: until when (``elapsed_s``) the record may say that this worker holds what it knows nothing of
        self._unsure_until = 0.0
        #: the database's clock and this machine's at the last look
        self._reading: Reading | None = None
        #: when (``elapsed_s``) planning goes on after the database's clock was set
        self._plan_from = 0.0
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
            self._held.keep(attendance.worker_id),
            self._held.distrust(),
            self._housekeeping.keep(),
            self._stop_wakes(stop),
        ]
        tasks = [asyncio.create_task(each) for each in beside]
        try:
            while not stop.is_set():
                for task in tasks:
                    if task.done():
                        task.result()
                await self._look(attendance)
                await self._nap()
            if self._retire is not None:
                await self._retire()
            await self._held.drain(attendance.worker_id, within_s=self._drain_s)
        finally:
            self._alarms.stop()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _look(self, attendance: Attendance) -> None:
        """See to what there is to do; a database that is away ends the look.

        A run that has ended frees its place and changes nothing else: then only claims are made. A poll of a
        worker that runs nothing is over with one question when all is at rest and nothing is due.
        """
        try:
            if elapsed_s() < self._unsure_until:
                await self._held.settle(attendance.worker_id)
            if self._look_timer.due() or self._is_called:
                is_called, self._is_called = self._is_called, False
                if is_called or self._held or not await self._is_nothing_to_do():
                    await self._look_around(attendance.worker_id)
                if self._beat_timer.due():
                    await attendance.beat(self._told())
            else:
                await self._claim(attendance.worker_id)
            self._returned()
        except DatabaseFault as error:
            self._gone(error)

    async def _look_around(self, worker_id: int) -> None:
        """Rescue, plan, claim, heed cancel requests, arm alarms."""
        if self._reap_timer.due():
            for run in await self._queue.reap():
                log.warning(
                    "run of a lost worker is %s",
                    run.status,
                    extra={"action": "run.rescued", "run_id": run.id},
                )
        await self._plan(worker_id)
        if self._held:
            self._held.cancel(await self._queue.cancel_requests(worker_id))
        ahead = await self._look_ahead()
        # What came due during this look is looked at again at once; what stays due is somebody else's.
        overdue = _overdue(ahead)
        if set(overdue) - set(self._overdue):
            self._call()
        self._overdue = overdue

    async def _is_nothing_to_do(self) -> bool:
        ahead = await self._look_ahead()
        return ahead.at_rest and not _overdue(ahead)

    async def _look_ahead(self) -> Upcoming:
        """Arm alarms for what comes due."""
        asked_at, asked_s = time.monotonic(), elapsed_s()
        ahead = await self._queue.upcoming(within_s=HORIZON_S, limit=MAX_ALARMS)
        self._watch_the_clock(ahead.now, asked_s)
        # The answer is half a round trip old when it is here.
        age = timedelta(seconds=(time.monotonic() - asked_at) / 2)
        self._alarms.arm(ahead.now + age, ahead.instants)
        return ahead

    async def _plan(self, worker_id: int) -> None:
        """Plan all that is due, and claim; what was planned starts while the rest is planned."""
        if elapsed_s() < self._plan_from:
            await self._claim(worker_id)
        jobs = PLAN_BATCH
        while (asked_at := elapsed_s()) >= self._plan_from:
            planned = await self._queue.plan_and_claim(
                partial(self._decide, asked_at),
                worker_id,
                jobs=jobs,
                runs=self._info.concurrency - len(self._held),
            )
            for claim in planned.claims:
                self._held.carry(claim, asked_at=asked_at)
            if planned.jobs < jobs:
                return
            jobs = min(2 * jobs, MOST_PLANNED)

    def _told(self) -> dict[str, float]:
        """Figures of this process; each run that is held has a connection to its source."""
        figures = dict(self._figures())
        figures["source_connections"] = figures.get("source_connections", 0) + len(self._held)
        return figures

    async def _claim(self, worker_id: int) -> None:
        while free := self._info.concurrency - len(self._held):
            asked_at, limit = elapsed_s(), min(free, CLAIM_BATCH)
            claims = await self._queue.claim(worker_id, limit=limit)
            for claim in claims:
                self._held.carry(claim, asked_at=asked_at)
            if len(claims) < limit:
                return

    async def _listen(self, attendance: Attendance) -> None:
        while True:
            try:
                if await attendance.hint(30.0):
                    self._call()
            except DatabaseFault:
                await asyncio.sleep(AWAY_S)

    async def _stop_wakes(self, stop: asyncio.Event) -> None:
        await stop.wait()
        self._wake.set()

    async def _nap(self) -> None:
        """Sleep until something wakes the loop, or until the next poll is due."""
        wait_s = AWAY_S if self._away else POLL_S * (1 - random() / 4)  # noqa: S311 (polls of several workers)
        poll = asyncio.get_running_loop().call_later(wait_s, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            poll.cancel()
        self._wake.clear()

    def _ring(self, _instant: datetime) -> None:
        self._call()

    def _call(self) -> None:
        """Wake the loop for more than a place that was freed."""
        self._is_called = True
        self._wake.set()

    def _decide(self, asked_s: float, job: Job, now: datetime, under_way: ActiveRuns) -> Plan:
        """Decide what becomes of a job's due instants: nothing yet, while the clock is in doubt."""
        self._watch_the_clock(now, asked_s)
        if elapsed_s() < self._plan_from:
            return Plan(next_run_at=job.next_run_at)
        return plan_due(job, now, under_way)

    def _watch_the_clock(self, now: datetime, asked_s: float) -> None:
        """Notice that the database's clock was set; wait a while before acting on a large step forwards."""
        before = self._reading
        if before is not None and before.now == now:
            return
        self._reading = Reading(now=now, asked_s=asked_s, answered_s=elapsed_s())
        step_s = 0.0 if before is None else step_between(before, self._reading)
        if not step_s:
            return
        doubt_s = doubt_after(step_s)
        self._plan_from = self._reading.answered_s + doubt_s
        log.warning(
            "the metadata database's clock was set %s by %.0f s%s",
            "forwards" if step_s > 0 else "back",
            abs(step_s),
            f"; nothing is planned for {doubt_s:.0f} s, in case that is taken back" if doubt_s else "",
            extra={"action": "clock.set", "step_s": round(step_s, 1)},
        )

    def _gone(self, error: DatabaseFault) -> None:
        # whatever the look was to do is still to be done
        self._is_called = True
        self._unsure_until = elapsed_s() + UNSURE_S
        if self._waits_for != error.code:
            log.error("waiting: %s", error.detail, extra={"action": "worker.waiting"})
        self._away, self._waits_for = True, error.code

    def _returned(self) -> None:
        if self._away:
            log.info("the metadata database is back", extra={"action": "worker.back"})
        self._away, self._waits_for = False, ""


def _overdue(ahead: Upcoming) -> tuple[datetime, ...]:
    return tuple(instant for instant in ahead.instants if instant <= ahead.now)


async def _sleep_unless(stop: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass
