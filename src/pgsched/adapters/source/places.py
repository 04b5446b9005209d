"""The places that this process has been granted at one source, and how long it may count on them.

A grant is a lease like that of a run: others count it until it ends by the metadata database's clock, whoever
holds it gives it up some seconds before. So a worker that is frozen or cut off keeps no place from others for
longer than it keeps a run from them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from pgsched.application.elapsed import elapsed_s
from pgsched.application.ports.execution import Keep
from pgsched.domain.errors import DatabaseFault
from pgsched.domain.runs import LEASE_S, RENEW_EVERY_S, SELF_KILL_S

#: seconds that asking may take; it must not hold up a run whose rows are all there
ASK_TIMEOUT_S = 1.0


class Places:
    """How many connections to one source may be open from here, those of runs under way included."""

    def __init__(self, elapsed: Callable[[], float] = elapsed_s) -> None:
        """Start without any."""
        self._elapsed = elapsed
        self._granted = 0
        #: until when they are counted on, seconds of ``elapsed``
        self._until = 0.0
        #: when asking was in vain, seconds of ``elapsed``
        self._failed_at = float("-inf")
        #: how the last run of the source asked
        self._keep: Keep | None = None
        self._asking = asyncio.Lock()

    @property
    def now(self) -> int:
        """How many there are now."""
        return self._granted if self._elapsed() < self._until else 0

    @property
    def is_old(self) -> bool:
        """Whether it is time to ask again."""
        return self._until - self._elapsed() < SELF_KILL_S - RENEW_EVERY_S

    def ask_by(self, keep: Keep) -> None:
        """Ask in the name of this run from now on."""
        self._keep = keep

    async def have(self, wanted: Callable[[], int]) -> bool:
        """Make sure of as many as are wanted now, asking only where they are not there or too old."""
        if not self._has(wanted()):
            since = self._elapsed()
            async with self._asking:
                # what was in vain while others waited is not waited for again by each of them
                if not self._has(wanted()) and self._failed_at < since:
                    await self._ask(wanted())
        return wanted() <= self.now

    async def give_back(self, wanted: Callable[[], int]) -> None:
        """Leave to others what is not wanted any more."""
        async with self._asking:
            if self._granted > wanted():
                await self._ask(wanted())

    def _has(self, connections: int) -> bool:
        return connections <= self._granted and not self.is_old

    async def _ask(self, connections: int) -> None:
        if self._keep is None:
            return
        asked_at = self._elapsed()
        # whatever comes of it, no more is left than was asked for: the change may be made and not answered
        self._granted = min(self._granted, connections)
        try:
            async with asyncio.timeout(ASK_TIMEOUT_S):
                granted = await self._keep(connections, LEASE_S)
        except (DatabaseFault, TimeoutError):
            self._failed_at = self._elapsed()
            return
        self._granted, self._until = granted, asked_at + SELF_KILL_S
