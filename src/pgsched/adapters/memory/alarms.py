"""Alarms on the event loop's own timers, or rung by hand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime

#: seconds before an instant that has come already is rung again
_OVERDUE_S = 0.1


class MemoryAlarms:
    """The port ``Alarms``; waits real time, however the clock that said ``now`` is moved."""

    def __init__(self) -> None:
        self._ring: Callable[[datetime], None] | None = None
        self._armed: dict[datetime, asyncio.TimerHandle] = {}

    @property
    def armed(self) -> Sequence[datetime]:
        """The instants that alarms are armed for, ascending."""
        return sorted(self._armed)

    def start(self, ring: Callable[[datetime], None]) -> None:
        """Begin."""
        self._ring = ring

    def arm(self, now: datetime, instants: Sequence[datetime]) -> None:
        """Arm one alarm for each instant, counted from ``now``; armed ones stay."""
        if self._ring is None:
            return
        loop = asyncio.get_running_loop()
        for instant in instants:
            if instant not in self._armed:
                wait_s = (instant - now).total_seconds() if instant > now else _OVERDUE_S
                self._armed[instant] = loop.call_later(wait_s, self.fire, instant)

    def fire(self, instant: datetime) -> None:
        """Ring an armed alarm now; one that is not armed stays silent."""
        timer = self._armed.pop(instant, None)
        if timer is not None and self._ring is not None:
            timer.cancel()
            self._ring(instant)

    def stop(self) -> None:
        """Forget all alarms."""
        for timer in self._armed.values():
            timer.cancel()
        self._armed.clear()
        self._ring = None
