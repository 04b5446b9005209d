"""Ports to time: the one clock that decides, and the alarm that wakes in time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol, runtime_checkable


@runtime_checkable
class Clock(Protocol):
    """The metadata database's clock."""

    async def now(self) -> datetime:
        """Return its ``clock_timestamp()``, UTC.

        Raises:
            DatabaseUnavailable: the metadata database cannot be reached.
        """
        ...


@runtime_checkable
class Alarms(Protocol):
    """Wakes the planner when instants come due. A hint: the database decides what is due."""

    def start(self, ring: Callable[[datetime], None]) -> None:
        """Begin; ``ring`` is called on the event loop with the instant that has come."""
        ...

    def arm(self, now: datetime, instants: Sequence[datetime]) -> None:
        """Arm one alarm for each instant, counted from the database's ``now``; armed ones stay."""
        ...

    def stop(self) -> None:
        """Forget all alarms."""
        ...
