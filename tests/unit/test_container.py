"""The production container over memory: the same use-cases, worker and views, without a machine."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import pytest

from pgsched.adapters.memory.source import Answer
from pgsched.domain.accounts import NewAccount
from pgsched.domain.audience import EVERYTHING
from pgsched.domain.audit import Actor
from pgsched.domain.errors import EmailTaken, QueryFailed, SqlNotAllowed
from pgsched.domain.jobs import Job
from pgsched.domain.runs import RunStatus
from pgsched.entrypoints.container import opened
from pgsched.entrypoints.in_memory import InMemory, in_memory

SQL = "select 1 as one"
BY = Actor(name="cli:test")


async def add_job(world: InMemory, *, sql: str = SQL, expr: str = "PT1H") -> Job:
    source = {
        "name": "shop",
        "host": "db.example",
        "dbname": "shop",
        "username": "reader",
        "password": "a password",
    }
    await world.container.add_source()(source, BY)
    job = {
        "name": "sales",
        "title": "Sales",
        "sql_text": sql,
        "data_source": "shop",
        "schedule_type": "interval",
        "schedule_expr": expr,
    }
    return await world.container.add_job()(job, BY)


async def work_until_over(world: InMemory, runs: int) -> list[RunStatus]:
    """Let the production worker run over memory until so many runs are over."""
    stop = asyncio.Event()
    async with opened(world.container) as container:
        worker = asyncio.create_task(container.worker().run(stop))
        async with asyncio.timeout(10):
            while True:
                ended = [record.run.status for record in world.store.runs.values()]
                if sum(status.is_terminal for status in ended) >= runs:
                    break
                await asyncio.sleep(0.01)
        stop.set()
        await worker
    return ended


async def test_a_due_schedule_becomes_a_stored_result_that_is_read() -> None:
    world = in_memory()
    world.source.answers[SQL] = Answer(rows=[{"one": 1}], types={"one": "integer"})
    job = await add_job(world)
    assert await work_until_over(world, 1) == [RunStatus.SUCCESS]
    latest = await world.container.run_view().latest(EVERYTHING, "sales")
    assert latest.run.scheduled_at == job.anchor_at
    assert json.loads(latest.result or b"")["data"] == [{"one": 1}]
    assert world.source.executed[0][0].password == "a password"


async def test_a_failing_query_is_a_stored_error_and_the_next_instant_still_runs() -> None:
    world = in_memory()
    world.source.answers[SQL] = Answer(error=QueryFailed("division by zero", sqlstate="22012"))
    await add_job(world)
    assert await work_until_over(world, 1) == [RunStatus.ERROR]
    world.source.answers[SQL] = Answer(rows=[{"one": 1}])
    world.clock.advance(timedelta(hours=1).total_seconds())
    assert await work_until_over(world, 2) == [RunStatus.ERROR, RunStatus.SUCCESS]


async def test_the_guard_is_asked_before_a_query_is_saved() -> None:
    world = in_memory()
    with pytest.raises(SqlNotAllowed):
        await add_job(world, sql="delete from t")
    assert not await world.container.jobs().all()


async def test_an_account_is_added_once_whatever_the_letter_case() -> None:
    add = in_memory().container.add_account()
    await add(NewAccount(email="ada@example.com", name="Ada", roles=("viewer",)), "a password", BY)
    with pytest.raises(EmailTaken):
        await add(NewAccount(email="ADA@example.com", name="Ada", roles=("viewer",)), "a password", BY)


def test_two_containers_share_nothing() -> None:
    first, second = in_memory(), in_memory()
    assert first.container.jobs() is not second.container.jobs()


async def test_what_cannot_be_closed_does_not_keep_the_rest_open() -> None:
    world, closed = in_memory(), []

    async def breaks() -> None:
        raise OSError("cannot be closed")

    async def closes() -> None:
        closed.append(True)

    with pytest.raises(OSError, match="cannot be closed"):
        async with opened(world.container) as container:
            container.closers().extend([closes, breaks])
    assert closed == [True]


def test_answers_that_were_not_logged_are_told_as_log_errors() -> None:
    container = in_memory().container
    container.access_log().lost = 3
    assert b"\npgsched_log_errors_total 3.0\n" in container.meter().page(None)
