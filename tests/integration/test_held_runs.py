"""What becomes of the runs a worker holds when the queue or the metadata database fails under them."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import asynccontextmanager

import pytest
from factories import job_spec, new_source

from pgsched.adapters.memory.runs import MemoryRunQueue
from pgsched.adapters.memory.source import Answer, ScriptedSource
from pgsched.application import held_runs
from pgsched.application.elapsed import elapsed_s
from pgsched.application.held_runs import HeldRuns
from pgsched.application.run_job import RunJob
from pgsched.domain.errors import DatabaseUnavailable, SourceUnreachable
from pgsched.domain.runs import RunStatus
from pgsched.entrypoints.in_memory import InMemory, in_memory

SQL = "select 1 as n"


class CutOffQueue(MemoryRunQueue):
    """A server that is cut off: a renewal neither answers nor ends when it is cancelled."""

    async def renew(self, worker_id, holds):
        until = time.monotonic() + 30
        while time.monotonic() < until:
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                if not self.healed:
                    continue
                raise

    healed = False


class FaultyQueue(MemoryRunQueue):
    """A queue with a fault that nobody foresaw."""

    async def succeed(self, hold, success):
        raise RuntimeError("unforeseen")

    fail = succeed


class SourceDuringAnOutage(ScriptedSource):
    """Cannot ask the metadata database who it is, the first time."""

    asked = 0

    @asynccontextmanager
    async def execute(self, address, statement, *, keep=None):
        self.asked += 1
        if self.asked == 1:
            raise DatabaseUnavailable("the metadata database cannot serve now: restarting")
        async with super().execute(address, statement, keep=keep) as stream:
            yield stream


async def claimed(world: InMemory, queue: MemoryRunQueue):
    """One claim of a query asked for by hand."""
    source = await world.container.sources().add(new_source())
    job = await world.container.jobs().add(job_spec(source.id, sql_text=SQL))
    await queue.request(job.id)
    (claim,) = await queue.claim(1, limit=1)
    return claim


def run_job_on(world: InMemory, queue: MemoryRunQueue, source: ScriptedSource | None = None) -> RunJob:
    container = world.container
    return RunJob(queue, container.vault(), container.guard(), source or world.source, container.kept())


def told(caplog: pytest.LogCaptureFixture, action: str) -> list[logging.LogRecord]:
    return [record for record in caplog.records if getattr(record, "action", "") == action]


async def test_lease_is_distrusted_while_its_renewal_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    # Regression: one task renewed and distrusted in turn, and the hanging renewal outlasted the lease.
    for name, value in (("LOOK_EVERY_S", 0.02), ("RENEW_EVERY_S", 0.1), ("SELF_KILL_S", 0.4)):
        monkeypatch.setattr(held_runs, name, value)
    world = in_memory()
    world.source.answers[SQL] = Answer(hangs=True)
    queue, freed = CutOffQueue(world.store), asyncio.Event()
    claim = await claimed(world, queue)
    held = HeldRuns(queue, run_job_on(world, queue), freed)
    beside = [asyncio.create_task(each) for each in (held.keep(1), held.distrust())]
    try:
        began = time.monotonic()
        held.carry(claim, asked_at=elapsed_s())
        async with asyncio.timeout(5):
            await freed.wait()
        assert 0.4 <= time.monotonic() - began < 4
        assert world.source.running == 0
        assert len(held) == 0
    finally:
        queue.healed = True
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)


async def test_unforeseen_fault_while_recording_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    world = in_memory()
    world.source.answers[SQL] = Answer(rows=({"n": 1},))
    queue, freed = FaultyQueue(world.store), asyncio.Event()
    claim = await claimed(world, queue)
    held = HeldRuns(queue, run_job_on(world, queue), freed)
    with caplog.at_level(logging.ERROR, "pgsched"):
        held.carry(claim, asked_at=elapsed_s())
        async with asyncio.timeout(5):
            await freed.wait()
    assert len(held) == 0
    assert [record.run_id for record in told(caplog, "run.unrecorded")] == [claim.hold.run_id]


async def test_the_log_tells_of_a_run_that_was_cancelled(caplog: pytest.LogCaptureFixture) -> None:
    world = in_memory()
    world.source.answers[SQL] = Answer(hangs=True)
    queue, freed = MemoryRunQueue(world.store), asyncio.Event()
    held = HeldRuns(queue, run_job_on(world, queue), freed)
    claim = await claimed(world, queue)
    with caplog.at_level(logging.INFO, "pgsched"):
        held.carry(claim, asked_at=elapsed_s())
        await asyncio.sleep(0.05)
        held.cancel([claim.hold.run_id])
        async with asyncio.timeout(5):
            await freed.wait()
    assert [(line.run_id, line.getMessage()) for line in told(caplog, "run.ended")] == [
        (claim.hold.run_id, "run ended: cancelled")
    ]


async def test_the_log_tells_when_a_run_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    world = in_memory()
    world.source.answers[SQL] = Answer(error=SourceUnreachable("away"))
    queue = MemoryRunQueue(world.store)
    claim = await claimed(world, queue)
    with caplog.at_level(logging.INFO, "pgsched"):
        await run_job_on(world, queue)(claim)
    assert [line.getMessage() for line in told(caplog, "run.queued_again")] == [
        "run queued again: attempt 2 in 5 s"
    ]
    assert told(caplog, "run.ended") == []


async def test_run_begun_in_an_outage_is_not_lost() -> None:
    # Regression: it was dropped without a word to the queue, and counted as lost with its worker.
    world = in_memory()
    source = SourceDuringAnOutage({SQL: Answer(rows=({"n": 1},))})
    queue = MemoryRunQueue(world.store)
    claim = await claimed(world, queue)
    run = await run_job_on(world, queue, source)(claim)
    assert run.status is RunStatus.SUCCESS
    assert (run.attempt, source.asked) == (1, 2)


async def test_claim_whose_answer_was_lost_is_handed_back() -> None:
    world = in_memory()
    world.source.answers[SQL] = Answer(hangs=True)
    queue = MemoryRunQueue(world.store)
    held = HeldRuns(queue, run_job_on(world, queue), asyncio.Event())
    carried = await claimed(world, queue)
    held.carry(carried, asked_at=elapsed_s())
    other = await world.container.jobs().add(job_spec(carried.source.id, name="other", sql_text=SQL))
    lost = await queue.request(other.id)
    await queue.claim(1, limit=1)
    assert await held.settle(1) == 1
    assert await queue.status_of(lost.id) is RunStatus.QUEUED
    assert await queue.status_of(carried.hold.run_id) is RunStatus.RUNNING
    assert await held.settle(1) == 0
    await held.drain(1, within_s=0)


async def test_lease_is_distrusted_when_the_machine_was_suspended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_runs, "LOOK_EVERY_S", 0.02)
    world = in_memory()
    world.source.answers[SQL] = Answer(hangs=True)
    queue, freed, asleep_s = MemoryRunQueue(world.store), asyncio.Event(), [0.0]
    held = HeldRuns(queue, run_job_on(world, queue), freed, elapsed=lambda: time.monotonic() + asleep_s[0])
    held.carry(await claimed(world, queue), asked_at=time.monotonic())
    distrust = asyncio.create_task(held.distrust())
    try:
        await asyncio.sleep(0.1)
        assert len(held) == 1
        asleep_s[0] = 3600.0
        async with asyncio.timeout(5):
            await freed.wait()
        assert len(held) == 0
    finally:
        distrust.cancel()
        await asyncio.gather(distrust, return_exceptions=True)
