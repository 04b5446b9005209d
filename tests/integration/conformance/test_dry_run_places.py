"""The clauses of the port ``DryRunPlaces``."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest
from postgres_fixtures import Database as PostgresFixture
from worlds import World

from pgsched.adapters.postgres.database import Database
from pgsched.adapters.postgres.dry_runs import PostgresDryRunPlaces
from pgsched.domain.dry_runs import OF_SOURCE, OF_USER
from pgsched.domain.errors import TooManyRequests


async def test_user_has_so_many_and_the_next_is_told_when_to_come_again(world: World) -> None:
    async with AsyncExitStack() as held:
        for source in range(OF_USER):
            await held.enter_async_context(world.dry_runs.hold("ada", source + 1, for_s=60))
        with pytest.raises(TooManyRequests) as refused:
            await held.enter_async_context(world.dry_runs.hold("ada", 9, for_s=60))
        assert refused.value.retry_after_s > 0
        async with world.dry_runs.hold("bob", 9, for_s=60):
            pass
    async with world.dry_runs.hold("ada", 1, for_s=60):
        pass


async def test_source_has_so_many_whoever_asks(world: World) -> None:
    async with AsyncExitStack() as held:
        for user in range(OF_SOURCE):
            await held.enter_async_context(world.dry_runs.hold(f"user{user}", 1, for_s=60))
        with pytest.raises(TooManyRequests):
            await held.enter_async_context(world.dry_runs.hold("ada", 1, for_s=60))
        async with world.dry_runs.hold("ada", 2, for_s=60):
            pass


async def test_block_that_fails_or_is_cancelled_gives_its_place_back(world: World) -> None:
    async def stay() -> None:
        async with world.dry_runs.hold("ada", 1, for_s=60):
            await asyncio.Event().wait()

    for _ in range(OF_USER + 1):
        with pytest.raises(KeyError):
            async with world.dry_runs.hold("ada", 1, for_s=60):
                raise KeyError
        staying = asyncio.create_task(stay())
        await asyncio.sleep(0.05)
        staying.cancel()
        await asyncio.gather(staying, return_exceptions=True)
    async with world.dry_runs.hold("ada", 1, for_s=60):
        pass


async def test_place_of_a_lost_process_is_free_after_its_time(world: World) -> None:
    async with AsyncExitStack() as lost:
        for _ in range(OF_USER):
            await lost.enter_async_context(world.dry_runs.hold("ada", 1, for_s=60))
        await world.advance(61)
        async with world.dry_runs.hold("ada", 1, for_s=60):
            pass


async def test_of_many_that_ask_at_once_in_two_processes_no_more_get_a_place(
    database: PostgresFixture,
) -> None:
    pools = [Database(database.conninfo, application_name="race", max_size=6) for _ in range(2)]
    for pool in pools:
        await pool.open()
    try:
        places = [PostgresDryRunPlaces(pool) for pool in pools]
        for turn in range(10):
            async with AsyncExitStack() as held:
                asked = [
                    held.enter_async_context(places[number % 2].hold(f"user{turn}", number, for_s=60))
                    for number in range(8)
                ]
                found = await asyncio.gather(*asked, return_exceptions=True)
                refused = [each for each in found if isinstance(each, TooManyRequests)]
                assert len(refused) == 8 - OF_USER
                assert found.count(None) == OF_USER
        assert database.execute("select count(*) from dry_run") == [(0,)]
    finally:
        for pool in pools:
            await pool.close()
