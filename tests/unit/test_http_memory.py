"""How much a process keeps and takes on: bodies within their bound, requests under way within theirs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgsched.application.ports.watch import Ended, QueryRights, Sighting
from pgsched.application.watching import Watching
from pgsched.domain.errors import DatabaseUnavailable
from pgsched.domain.freshness import Freshness
from pgsched.entrypoints.http.deadline import Deadline
from pgsched.entrypoints.http.memory import Age, Key, Memory, Shown
from pgsched.entrypoints.http.problems import Overloaded, of
from pgsched.entrypoints.http.questions import Question
from pgsched.entrypoints.http.representations import LARGEST_KEPT, Represented, represented


class Away:
    """A database that is not there."""

    async def look(self, queries: Collection[int], runs: Collection[int]) -> Sighting:
        raise DatabaseUnavailable("away")

    async def rights(self, queries: Collection[int]) -> Mapping[int, QueryRights]:
        raise DatabaseUnavailable("away")


HEADERS = [(b"content-type", b"application/json"), (b"etag", b'"x"'), (b"cache-control", b"no-cache")]


async def answer(size: int) -> Represented:
    return await represented(HEADERS, bytes(size))


def asked(number: int) -> tuple[Question, Shown, Key]:
    question = Question(None, number, ("format",))
    ended = Ended(number, 0)
    return (
        question,
        Shown(query_id=1, ended=ended, rows=None, whole_errors=False),
        Key(ended, ("format",), False, ""),
    )


async def test_kept_bodies_stay_within_their_bound_and_the_least_used_go_first() -> None:
    one = (await answer(10_000)).size
    memory = Memory(Watching(Away()), most_bytes=5 * one)
    keys = []
    for number in range(50):
        question, shown, key = asked(number)
        memory.keep(question, shown, await answer(10_000))
        keys.append(key)
        memory.find(keys[0])  # somebody asks for the first all the time
        assert memory.size <= 5 * one
    kept = [key for key in keys if memory.find(key) is not None]
    assert kept == [keys[0], *keys[-4:]]
    assert memory.size == 5 * one


async def test_body_that_is_kept_again_counts_once_and_a_huge_one_is_not_kept() -> None:
    memory = Memory(Watching(Away()))
    question, shown, key = asked(1)
    for _ in range(3):
        memory.keep(question, shown, await answer(1000))
    assert memory.size == (await answer(1000)).size
    question, shown, key = asked(2)
    memory.keep(question, shown, await answer(LARGEST_KEPT + 1))
    assert memory.find(key) is None


async def test_request_beyond_those_that_one_process_takes_on_is_told_when_to_come_again() -> None:
    deadline, done = Deadline(None, most=2), asyncio.Event()

    async def answering() -> None:
        await done.wait()

    under_way = [asyncio.create_task(deadline.keep(answering())) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded) as refused:
        await deadline.keep(answering())
    told, headers = of(refused.value)
    assert (told.status, told.code) == (503, "overloaded")
    assert int(headers["Retry-After"]) >= 1
    done.set()
    await asyncio.gather(*under_way)
    await deadline.keep(answering())
    assert deadline.under_way == 0


async def test_while_the_database_is_not_seen_only_a_few_try_it() -> None:
    deadline, done = Deadline(Watching(Away())), asyncio.Event()

    async def answering() -> None:
        await done.wait()

    trying = [asyncio.create_task(deadline.keep(answering())) for _ in range(100)]
    await asyncio.sleep(0.05)
    told = [task for task in trying if task.done()]
    assert all(isinstance(task.exception(), DatabaseUnavailable) for task in told)
    assert 50 < len(told) < 100
    done.set()
    await asyncio.gather(*trying, return_exceptions=True)


@given(
    age=st.floats(0, 1000),
    fresh_for=st.sampled_from([None, "PT1S", "PT100S", "PT30M"]),
    later=st.floats(0, 1),
)
def test_age_that_is_told_again_is_still_right(age: float, fresh_for: str | None, later: float) -> None:
    since = datetime(2026, 1, 1, tzinfo=UTC)
    told = Age.of(Freshness(since=since, fresh_for=fresh_for, now=since + timedelta(seconds=age)), 50.0)
    assert 50.0 <= told.until <= 51.0
    at = 50.0 + (told.until - 50.0) * later
    now = Freshness(since=since, fresh_for=fresh_for, now=since + timedelta(seconds=age + at - 50.0))
    if at < told.until - 0.001:
        assert dict(told.headers) == dict(Age.of(now, at).headers)


class Quick:
    """A database that answers at once."""

    async def look(self, queries: Collection[int], runs: Collection[int]) -> Sighting:
        return Sighting(epoch=1, latest={}, runs={})

    async def rights(self, queries: Collection[int]) -> Mapping[int, QueryRights]:
        return {}

    async def close(self) -> None:
        pass


async def test_process_that_was_held_up_does_not_say_that_the_database_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pgsched.entrypoints.http.deadline.PATIENCE_S", 0.05)
    monkeypatch.setattr("pgsched.application.watching.TRUSTED_S", 0.3)
    watching = Watching(Quick())
    looking = asyncio.create_task(watching.run())
    while not watching.trusted:  # noqa: ASYNC110 (it sets no event)
        await asyncio.sleep(0)

    async def heavy() -> None:
        await asyncio.sleep(0.01)
        time.sleep(0.5)  # noqa: ASYNC251 (that is what this is about)
        await asyncio.sleep(0.1)

    await Deadline(watching).keep(heavy())
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)
