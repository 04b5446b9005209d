"""APScheduler as the alarm clock: one-shot jobs that carry their due instant.

It decides nothing. Its two traps are shut here (docs/decisions/0007): late jobs are not dropped
(``misfire_grace_time=None``; the default drops after one second), and the instant travels as an argument,
because a job is never told its scheduled time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from apscheduler.schedulers.asyncio import AsyncIOScheduler

#: wait before another look at an instant that has come and that somebody else is planning just now
OVERDUE = timedelta(milliseconds=100)


class APSchedulerAlarms:
    """Arms one-shot jobs on the running event loop."""

    def __init__(self) -> None:
        self._scheduler: AsyncIOScheduler | None = None
        self._ring: Callable[[datetime], None] = _ignore
        self._armed: dict[datetime, str] = {}

    def start(self, ring: Callable[[datetime], None]) -> None:
        """Begin; needs a running event loop, on which ``ring`` is called."""
        self._ring = ring
        # It writes three lines for each alarm.
        logging.getLogger("apscheduler").setLevel(logging.WARNING)
        self._scheduler = AsyncIOScheduler(
            timezone=UTC, job_defaults={"misfire_grace_time": None, "coalesce": False, "max_instances": 1}
        )
        self._scheduler.start()

    def arm(self, now: datetime, instants: Sequence[datetime]) -> None:
        """Arm an alarm for each instant; the wait counts from the database's ``now``, not from ours."""
        if self._scheduler is None:
            return
        wall = datetime.now(UTC)  # noqa: TID251 (APScheduler waits by this machine's clock)
        for instant in instants:
            if instant not in self._armed:
                wait = instant - now if instant > now else OVERDUE
                job = self._scheduler.add_job(
                    self._fire,
                    "date",
                    run_date=wall + wait,
                    args=[instant],
                    id=str(instant.timestamp()),
                )
                self._armed[instant] = job.id

    def stop(self) -> None:
        """Forget all alarms."""
        if self._scheduler is not None:
            self._scheduler.shutdown(wait=False)
            self._scheduler = None
        self._armed.clear()

    async def _fire(self, instant: datetime) -> None:
        # A coroutine runs on the loop itself; a plain function would be sent to a thread.
        self._armed.pop(instant, None)
        self._ring(instant)


def _ignore(_instant: datetime) -> None:
    """Do nothing until somebody listens."""
