"""Places at a source: granted for a while, renewed in time, not counted on for longer than that."""

from __future__ import annotations

import asyncio

import pytest

from pgsched.adapters.source import places as rooms
from pgsched.adapters.source.places import Places
from pgsched.domain.errors import DatabaseUnavailable
from pgsched.domain.runs import LEASE_S, RENEW_EVERY_S, SELF_KILL_S


class Desk:
    """Grants what it is told to, and a clock."""

    def __init__(self, most: int = 100) -> None:
        self.most = most
        self.asked: list[int] = []
        self.now = 1000.0
        self.takes_s = 0.0
        self.is_away = False
        self.places = Places(elapsed=lambda: self.now)
        self.places.ask_by(self.keep)

    async def keep(self, connections: int, for_s: float) -> int:
        assert for_s == LEASE_S
        self.asked.append(connections)
        if self.is_away:
            raise DatabaseUnavailable("away")
        self.now += self.takes_s
        return min(connections, self.most)

    async def have(self, wanted: int) -> bool:
        return await self.places.have(lambda: wanted)


async def test_nothing_is_there_before_it_was_asked_for() -> None:
    desk = Desk()
    assert (desk.places.now, desk.places.is_old) == (0, True)
    assert await desk.have(3)
    assert (desk.places.now, desk.places.is_old) == (3, False)


async def test_without_anyone_to_ask_there_is_no_place() -> None:
    places = Places(elapsed=lambda: 0.0)
    assert not await places.have(lambda: 1)
    await places.give_back(lambda: 0)


async def test_only_growth_and_age_are_asked_about() -> None:
    desk = Desk()
    for wanted in (2, 1, 2, 3):
        assert await desk.have(wanted)
    desk.now += RENEW_EVERY_S + 0.1
    assert await desk.have(1)
    assert desk.asked == [2, 3, 1]


async def test_less_than_wanted_is_told() -> None:
    desk = Desk(most=2)
    assert not await desk.have(3)
    assert desk.places.now == 2
    assert await desk.have(2)


async def test_places_end_before_others_may_have_them() -> None:
    desk = Desk()
    desk.takes_s = 0.9
    await desk.have(1)
    asked_at = desk.now - 0.9
    desk.now = asked_at + SELF_KILL_S - 0.1
    assert desk.places.now == 1
    desk.now = asked_at + SELF_KILL_S
    assert desk.places.now == 0
    assert SELF_KILL_S < LEASE_S


async def test_what_was_granted_holds_while_the_database_is_away_but_no_more_than_was_asked_for() -> None:
    desk = Desk()
    await desk.have(5)
    desk.is_away = True
    assert not await desk.have(6)
    assert desk.places.now == 5
    await desk.places.give_back(lambda: 2)
    assert desk.places.now == 2
    desk.now += SELF_KILL_S
    assert not await desk.have(1)


async def test_what_is_not_wanted_is_given_back_once() -> None:
    desk = Desk()
    await desk.have(3)
    for _ in range(2):
        await desk.places.give_back(lambda: 0)
    assert desk.asked == [3, 0]
    assert desk.places.now == 0


async def test_runs_that_end_together_ask_once() -> None:
    desk = Desk()
    assert all(await asyncio.gather(*(desk.have(8) for _ in range(8))))
    assert desk.asked == [8]


async def test_a_mute_database_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "ASK_TIMEOUT_S", 0.01)
    desk = Desk()

    async def mute(_connections: int, _for_s: float) -> int:
        await asyncio.Event().wait()
        return 1

    desk.places.ask_by(mute)
    assert not await desk.have(1)


async def test_a_mute_database_is_waited_for_once_by_all_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "ASK_TIMEOUT_S", 0.05)
    asked = 0

    async def mute(_connections: int, _for_s: float) -> int:
        nonlocal asked
        asked += 1
        await asyncio.Event().wait()
        return 1

    places = Places()
    places.ask_by(mute)
    assert not any(await asyncio.gather(*(places.have(lambda: 8) for _ in range(8))))
    assert asked == 1
    # the next run tries again
    assert not await places.have(lambda: 8)
    assert asked == 2


async def test_whoever_is_cancelled_while_giving_back_counts_on_no_more_than_it_asked_for() -> None:
    desk = Desk()
    await desk.have(5)

    async def mute(_connections: int, _for_s: float) -> int:
        await asyncio.Event().wait()
        return 0

    desk.places.ask_by(mute)
    giving = asyncio.create_task(desk.places.give_back(lambda: 1))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    giving.cancel()
    await asyncio.gather(giving, return_exceptions=True)
    assert desk.places.now == 1
