"""Passwords hashed at once: as many as there is room for, a bounded number waits, the rest is told when."""

from __future__ import annotations

import asyncio

import pytest

from pgsched.adapters.memory.secrets import PlainHasher
from pgsched.application.hashing import BoundedHashing
from pgsched.domain.errors import TooManyRequests


async def test_no_more_run_at_once_than_there_is_room_for() -> None:
    hashing, inside, most = BoundedHashing(PlainHasher(), at_once=2), 0, 0

    async def one() -> None:
        nonlocal inside, most
        async with hashing.slot():
            inside += 1
            most = max(most, inside)
            assert await hashing.verify(await hashing.hash("correct-horse"), "correct-horse")
            inside -= 1

    await asyncio.gather(*(one() for _ in range(20)))
    assert (inside, most) == (0, 2)


async def test_who_finds_the_queue_full_is_told_when_and_the_others_get_their_turn() -> None:
    hashing, go, served = BoundedHashing(PlainHasher(), at_once=1), asyncio.Event(), 0

    async def one() -> None:
        nonlocal served
        async with hashing.slot():
            await go.wait()
            served += 1

    waiting = [asyncio.create_task(one()) for _ in range(33)]
    await asyncio.sleep(0)
    with pytest.raises(TooManyRequests) as refused:
        await one()
    assert refused.value.retry_after_s >= 1
    # one that gives up waiting leaves its place
    waiting.pop().cancel()
    await asyncio.sleep(0)
    waiting.append(asyncio.create_task(one()))
    go.set()
    await asyncio.gather(*waiting)
    assert served == 33
