"""The clauses of the port ``Alarms``."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest

from pgsched.adapters.alarms.apscheduler import APSchedulerAlarms
from pgsched.adapters.memory.alarms import MemoryAlarms
from pgsched.adapters.memory.clock import START
from pgsched.application.ports.timing import Alarms

#: a database's clock far from this machine's
NOW = START


@dataclass
class Bell:
    """What rang, in order, how many seconds after the bell was made, and on which thread."""

    rung: list[tuple[datetime, float]] = field(default_factory=list)
    threads: set[int] = field(default_factory=set)
    began: float = field(default_factory=time.monotonic)

    def __call__(self, instant: datetime) -> None:
        self.rung.append((instant, time.monotonic() - self.began))
        self.threads.add(threading.get_ident())

    @property
    def instants(self) -> list[datetime]:
        return [instant for instant, _ in self.rung]

    async def wait_for(self, count: int) -> None:
        async with asyncio.timeout(5):
            while len(self.rung) < count:  # noqa: ASYNC110 (too short for an event)
                await asyncio.sleep(0.005)


@pytest.fixture(params=[MemoryAlarms, APSchedulerAlarms])
async def alarms(request: pytest.FixtureRequest) -> AsyncIterator[Alarms]:
    made = request.param()
    yield made
    made.stop()


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


async def test_alarm_rings_with_its_instant_when_it_has_come_and_on_the_loop(alarms: Alarms) -> None:
    bell = Bell()
    alarms.start(bell)
    bell.began = time.monotonic()
    alarms.arm(NOW, [after(0.15), after(0.05)])
    await bell.wait_for(2)
    assert bell.instants == [after(0.05), after(0.15)]
    for instant, rang in bell.rung:
        assert (instant - NOW).total_seconds() <= rang + 0.001
    assert bell.threads == {threading.get_ident()}


async def test_alarm_armed_again_rings_once(alarms: Alarms) -> None:
    bell = Bell()
    alarms.start(bell)
    alarms.arm(NOW, [after(0.1)])
    alarms.arm(after(0.05), [after(0.1), after(0.2)])
    await bell.wait_for(2)
    await asyncio.sleep(0.15)
    assert bell.instants == [after(0.1), after(0.2)]


async def test_instant_that_has_come_already_rings_soon(alarms: Alarms) -> None:
    bell = Bell()
    alarms.start(bell)
    alarms.arm(NOW, [after(-3600)])
    await bell.wait_for(1)
    assert bell.instants == [after(-3600)]
    assert bell.rung[0][1] < 1


async def test_instant_that_rang_can_be_armed_again(alarms: Alarms) -> None:
    bell = Bell()
    alarms.start(bell)
    for count in (1, 2):
        alarms.arm(NOW, [NOW])
        await bell.wait_for(count)
    assert bell.instants == [NOW, NOW]


async def test_stopped_alarms_stay_silent(alarms: Alarms) -> None:
    bell = Bell()
    alarms.start(bell)
    alarms.arm(NOW, [after(0.05)])
    alarms.stop()
    alarms.arm(NOW, [after(0.05)])
    await asyncio.sleep(0.15)
    assert bell.rung == []


async def test_alarms_can_be_started_again_with_nothing_left(alarms: Alarms) -> None:
    first, second = Bell(), Bell()
    alarms.start(first)
    alarms.arm(NOW, [after(0.05)])
    alarms.stop()
    alarms.start(second)
    alarms.arm(NOW, [after(0.1)])
    await second.wait_for(1)
    assert (first.instants, second.instants) == ([], [after(0.1)])


async def test_alarms_stop_before_they_began(alarms: Alarms) -> None:
    alarms.stop()
    alarms.stop()
