"""What a process believes of its memory: never what may have changed since, whatever the order of things."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress

import pytest

from pgsched.application.ports.watch import Ended, QueryRights, Sighting
from pgsched.application.watching import MOST, Watching
from pgsched.domain.errors import DatabaseFault, DatabaseUnavailable, SchemaMismatch
from pgsched.domain.jobs import Visibility


class Database:
    """A database of one query whose rights change; reading takes two steps, so that changes come between."""

    def __init__(self, chance: random.Random | None = None) -> None:
        self.chance = chance or random.Random(0)
        self.epoch = 1
        self.latest: Ended | None = None
        self.down = False
        self.fault: DatabaseFault = DatabaseUnavailable("away")
        self.asked: list[int] = []

    async def travel(self) -> None:
        for _ in range(self.chance.randrange(6)):
            await asyncio.sleep(0)

    async def look(self, queries: Collection[int], runs: Collection[int]) -> Sighting:
        await self.travel()
        if self.down:
            raise self.fault
        self.asked = list(queries)
        seen = Sighting(
            epoch=self.epoch,
            latest=dict.fromkeys(queries, self.latest),
            runs={each: Ended(each, 0) for each in runs},
        )
        await self.travel()
        return seen

    async def rights(self, queries: Collection[int]) -> Mapping[int, QueryRights]:
        await self.travel()
        found = {each: self._named(each) for each in queries}
        await self.travel()
        return found

    async def close(self) -> None:
        pass

    def _named(self, query_id: int) -> QueryRights:
        # the name tells which epoch it was read in
        return QueryRights(query_id=query_id, name=f"at{self.epoch}", visibility=Visibility.PUBLIC)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def until(holds: Callable[[], bool]) -> None:
    while not holds():  # noqa: ASYNC110 (nothing else tells)
        await asyncio.sleep(0.01)


async def one_look(watching: Watching, clock: Clock) -> None:
    with suppress(DatabaseUnavailable):
        await watching._look(clock())


async def test_nothing_is_believed_before_the_first_look_and_a_second_after_the_last() -> None:
    database, clock = Database(), Clock()
    watching = Watching(database, clock=clock)
    assert not watching.trusted
    await one_look(watching, clock)
    assert watching.trusted
    clock.now += 0.999
    assert watching.trusted
    database.down = True
    await one_look(watching, clock)
    clock.now += 0.001
    assert not watching.trusted
    database.down = False
    await one_look(watching, clock)
    assert watching.trusted


async def test_age_counts_from_the_beginning_of_a_look() -> None:
    database, clock = Database(), Clock()
    watching = Watching(database, clock=clock)
    looking = asyncio.create_task(watching._look(clock()))
    clock.now += 0.8
    await looking
    clock.now += 0.2
    assert not watching.trusted


async def test_generation_ends_with_the_epoch_and_with_a_change_of_our_own() -> None:
    database, clock = Database(), Clock()
    watching = Watching(database, clock=clock)
    watching.asks_for_query(7)
    await one_look(watching, clock)
    first = watching.generation
    assert first.ids == {"at1": 7}
    await one_look(watching, clock)
    assert watching.generation is first
    database.epoch += 1
    await one_look(watching, clock)
    assert watching.generation is not first
    assert watching.generation.ids == {"at2": 7}
    watching.forget()
    assert watching.generation.ids == {}
    await one_look(watching, clock)
    assert watching.generation.ids == {"at2": 7}


@pytest.mark.parametrize("seed", range(200))
async def test_no_order_of_changes_looks_and_loads_keeps_what_is_older_than_the_last_look(seed: int) -> None:
    """Rights and callers found in memory are never older than the epoch when the last look began."""
    chance = random.Random(seed)
    database, clock = Database(chance), Clock()
    watching = Watching(database, clock=clock)
    watching.asks_for_query(7)
    looked_at = 0  # the epoch when the last finished look began
    own = 0  # the epoch of this process's last change

    async def look() -> None:
        nonlocal looked_at
        began = database.epoch
        watching.asks_for_query(7)
        await watching._look(clock())
        looked_at = max(looked_at, began)

    async def load() -> None:
        """Load a caller as the edge does."""
        generation = watching.generation
        await asyncio.sleep(0)
        found = database.epoch
        await database.travel()
        generation.callers[object()] = found

    async def change() -> None:
        nonlocal own
        database.epoch += 1
        if chance.random() < 0.5:
            own = database.epoch
            watching.forget()

    looking: asyncio.Task[None] | None = None
    tasks: list[asyncio.Task[None]] = []
    for _ in range(200):
        for step in chance.choices([[look], [load], [change], [change, load, change]], [6, 6, 1, 1])[0]:
            # there is one watch, it looks once at a time
            if step is not look:
                tasks.append(asyncio.create_task(step()))
            elif looking is None or looking.done():
                looking = asyncio.create_task(look())
            for _ in range(chance.randrange(3)):
                await asyncio.sleep(0)
        floor = max(looked_at, own)
        for name in watching.generation.ids:
            assert int(name[2:]) >= floor
        assert min(watching.generation.callers.values(), default=floor) >= floor
    await asyncio.gather(*tasks)
    if looking is not None:
        await looking


async def test_what_is_asked_for_is_watched_for_a_minute_and_no_more_than_there_is_room_for() -> None:
    database, clock = Database(), Clock()
    watching = Watching(database, clock=clock)
    watching.asks_for_query(1)
    await one_look(watching, clock)
    clock.now += 59
    watching.asks_for_query(2)
    await one_look(watching, clock)
    assert database.asked == [1, 2]
    clock.now += 2
    await one_look(watching, clock)
    assert database.asked == [2]
    for each in range(10 * MOST):
        watching.asks_for_query(each)
        watching.asks_for_run(each)
    await one_look(watching, clock)
    assert len(database.asked) == MOST
    assert len(watching.latest) == len(watching.generation.rights) == MOST


async def test_background_task_looks_at_once_when_something_changed_here_and_tells_when_all_is_lost() -> None:
    database, lost = Database(), asyncio.Event()
    watching = Watching(database, lost=lost.set)
    running = asyncio.create_task(watching.run())
    try:
        await until(lambda: watching.trusted)
        watching.asks_for_query(7)
        await until(lambda: 7 in watching.latest)
        database.latest = Ended(70, 1)
        watching.met(7, Ended(70, 1))
        await until(lambda: watching.latest[7] == Ended(70, 1))
        database.down = True
        await lost.wait()
        assert not watching.trusted
        database.down = False
        await until(lambda: watching.trusted)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_another_reason_for_not_seeing_the_database_is_told_too(
    caplog: pytest.LogCaptureFixture,
) -> None:
    database, clock = Database(), Clock()
    database.down = True
    watching = Watching(database, clock=clock)

    def told() -> list[str]:
        return [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]

    for _ in range(2):
        await watching.catch_up()
    assert told() == ["away"]
    # Regression: a server that was slow to answer at first hid that it lacks the schema
    database.fault = SchemaMismatch.between(0, 1)
    for _ in range(2):
        await watching.catch_up()
    assert told()[1:] == [database.fault.detail]
    database.down = False
    await watching.catch_up()
    clock.now += 10
    database.down, database.fault = True, DatabaseUnavailable("away again")
    await watching.catch_up()
    assert told()[2:] == ["away again"]


async def test_nobody_is_interrupted_at_the_start_nor_by_a_database_that_answers() -> None:
    # Regression: a process that had never seen its database, be it only that the schema is another, shut
    # every statement under way with each look.
    database, clock, interrupted = Database(), Clock(), []
    database.down = True
    watching = Watching(database, lost=lambda: interrupted.append(clock.now), clock=clock)
    began = clock.now

    async def look() -> None:
        await watching.catch_up()
        watching._tell_if_lost()

    await look()
    database.fault = SchemaMismatch.between(0, 1)
    for _ in range(5):
        clock.now += 2
        await look()
    assert interrupted == []
    database.fault = DatabaseUnavailable("away")
    for _ in range(3):
        clock.now += 2
        await look()
    assert interrupted == [began + 14, began + 16]
