"""What a worker does beside running: counting, retention, cleaning up. Nothing here may stop a run.

A chore is a function that does a bounded piece of work and returns how much it did. It must bear being called
in several processes at once, and being cancelled.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from pgsched.application.ports.access import Sessions
from pgsched.application.ports.timing import Clock
from pgsched.application.ports.upkeep import Retention, RunTally
from pgsched.domain.errors import DatabaseFault
from pgsched.domain.retention import Limits
from pgsched.domain.sessions import KEPT_AFTER_END

log = logging.getLogger(__name__)

#: seconds to let others at the database between two pieces of the same chore
BREATH_S = 0.02


@dataclass(frozen=True, kw_only=True, slots=True)
class Chore:
    """Something that has to be done again and again."""

    #: what it is called in the log
    name: str
    #: seconds from one beginning to the next
    every_s: float
    #: does a bounded piece and returns how much that was; 0 when nothing is left to do
    do: Callable[[], Awaitable[int]]


class Housekeeping:
    """Does the chores one after the other, each when it is due."""

    def __init__(self, chores: Sequence[Chore]) -> None:
        self._chores = tuple(chores)
        #: the first round begins after one period, so that a start is not slowed down
        self._due = {chore.name: time.monotonic() + min(chore.every_s, 5.0) for chore in self._chores}

    async def keep(self) -> None:
        """Do what is due, for ever; a fault is logged and the chore is tried again when it is due next."""
        while self._chores:
            await asyncio.sleep(max(0.0, min(self._due.values()) - time.monotonic()))
            for chore in self._chores:
                if time.monotonic() >= self._due[chore.name]:
                    self._due[chore.name] = time.monotonic() + chore.every_s
                    await self._do(chore)

    async def _do(self, chore: Chore) -> None:
        try:
            left = await chore.do()
            while left:
                await asyncio.sleep(BREATH_S)
                left = await chore.do()
        except DatabaseFault as error:
            log.warning(
                "%s was put off: %s",
                chore.name,
                error.detail,
                extra={"action": "housekeeping.put_off", "chore": chore.name},
            )
        except Exception:
            # A fault of a chore must not reach the runs beside it.
            log.exception(
                "%s failed", chore.name, extra={"action": "housekeeping.failed", "chore": chore.name}
            )


class DeleteOldRuns:
    """Deletes what no query keeps any longer, a small batch at a time."""

    def __init__(self, retention: Retention, defaults: Limits) -> None:
        self._retention = retention
        self._defaults = defaults

    async def __call__(self) -> int:
        """Go once through all queries that have a limit; returns 0, since nothing is left then."""
        deleted = 0
        for query_id, limits in await self._retention.limited(self._defaults):
            while count := await self._retention.delete_some(query_id, limits):
                deleted += count
                await asyncio.sleep(BREATH_S)
        if deleted:
            log.info(
                "deleted %d runs that are kept no longer",
                deleted,
                extra={"action": "retention.deleted", "runs": deleted},
            )
        return 0


class ForgetEndedSessions:
    """Deletes sessions that are over: logins do it too, but there may be none for long."""

    def __init__(self, sessions: Sessions, clock: Clock) -> None:
        self._sessions = sessions
        self._clock = clock

    async def __call__(self) -> int:
        """Delete all of them; returns 0, since nothing is left then."""
        await self._sessions.forget_ended(await self._clock.now() - KEPT_AFTER_END)
        return 0


class DeleteOldEvents:
    """Deletes what of the audit trail is kept no longer, a small batch at a time."""

    def __init__(self, retention: Retention, keep_days: int | None) -> None:
        """Take the days that events are kept, None for ever."""
        self._retention = retention
        self._keep_days = keep_days

    async def __call__(self) -> int:
        """Delete a batch; returns how many those were."""
        return 0 if self._keep_days is None else await self._retention.delete_events(self._keep_days)


def chores(
    tally: RunTally,
    delete_old_runs: DeleteOldRuns,
    forget_ended_sessions: ForgetEndedSessions,
    delete_old_events: DeleteOldEvents,
) -> list[Chore]:
    """Return the chores of every worker."""
    return [
        Chore(name="counting runs", every_s=10.0, do=tally.advance),
        Chore(name="retention", every_s=60.0, do=delete_old_runs),
        Chore(name="ended sessions", every_s=600.0, do=forget_ended_sessions),
        Chore(name="retention of the audit trail", every_s=600.0, do=delete_old_events),
    ]
