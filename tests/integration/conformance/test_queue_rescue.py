"""The port ``RunQueue``: cancel requests, drains and lost workers."""

from __future__ import annotations

import asyncio

import pytest
from factories import failure, success, worker_info
from worlds import WORKER, World

from pgsched.domain.errors import LeaseLost, NotCancellable, NotFound
from pgsched.domain.runs import LEASE_S, MAX_LOSSES, RunStatus
from pgsched.domain.schedules import ScheduleType

# cancel requests


async def test_waiting_run_is_cancelled_at_once(world: World) -> None:
    run = await world.queue.request((await world.job()).id)
    await world.advance(1)
    ended = await world.queue.request_cancel(run.id)
    assert (ended.status, ended.error_code) == (RunStatus.CANCELLED, "cancelled")
    assert ended.error_message
    assert ended.run_finished_at == await world.clock.now()
    assert await world.queue.claim(WORKER, limit=9) == []


async def test_worker_of_a_running_one_is_asked_to_cancel(world: World) -> None:
    claim, other = await world.running(), await world.running()
    asked = await world.queue.request_cancel(claim.hold.run_id)
    assert (asked.id, asked.status) == (claim.hold.run_id, RunStatus.RUNNING)
    assert await world.queue.cancel_requests(WORKER) == {claim.hold.run_id}
    assert await world.queue.cancel_requests(WORKER + 1) == frozenset()
    renewal = await world.queue.renew(WORKER, [claim.hold, other.hold])
    assert (renewal.lost, renewal.cancel) == (frozenset(), {claim.hold.run_id})
    assert (await world.queue.cancelled(claim.hold)).status is RunStatus.CANCELLED
    assert await world.queue.cancel_requests(WORKER) == frozenset()


async def test_cancel_asked_for_twice_is_asked_once(world: World) -> None:
    claim = await world.running()
    for _ in range(2):
        assert (await world.queue.request_cancel(claim.hold.run_id)).status is RunStatus.RUNNING
    assert await world.queue.cancel_requests(WORKER) == {claim.hold.run_id}


async def test_cancelled_run_is_not_tried_again(world: World) -> None:
    claim = await world.running()
    await world.queue.request_cancel(claim.hold.run_id)
    ended = await world.queue.fail(claim.hold, failure(), retry_in_s=1)
    assert (ended.status, ended.error_code) == (RunStatus.CANCELLED, "cancelled")
    await world.advance(60)
    assert not await world.queue.claim(WORKER, limit=10)


async def test_cancelled_run_is_not_handed_back(world: World) -> None:
    claim = await world.running()
    await world.queue.request_cancel(claim.hold.run_id)
    assert await world.queue.hand_back([claim.hold]) == 1
    assert await world.queue.status_of(claim.hold.run_id) is RunStatus.CANCELLED


async def test_run_that_ends_first_is_not_cancelled(world: World) -> None:
    claim = await world.running()
    await world.queue.request_cancel(claim.hold.run_id)
    assert (await world.queue.succeed(claim.hold, success())).status is RunStatus.SUCCESS
    assert await world.queue.cancel_requests(WORKER) == frozenset()


async def test_what_is_over_cannot_be_cancelled(world: World) -> None:
    claim = await world.running()
    ended = await world.queue.succeed(claim.hold, success())
    with pytest.raises(NotCancellable):
        await world.queue.request_cancel(ended.id)
    assert await world.run(ended.id) == ended


@pytest.mark.parametrize("run_id", [4711, 0])
async def test_unknown_run_cannot_be_cancelled(world: World, run_id: int) -> None:
    with pytest.raises(NotFound):
        await world.queue.request_cancel(run_id)


# drains


async def test_run_handed_back_waits_at_once_and_the_try_does_not_count(world: World) -> None:
    claim = await world.running()
    await world.advance(3)
    assert await world.queue.hand_back([claim.hold]) == 1
    run = await world.run(claim.hold.run_id)
    assert (run.status, run.attempt, run.run_started_at) == (RunStatus.QUEUED, 0, None)
    with pytest.raises(LeaseLost):
        await world.queue.succeed(claim.hold, success())
    again = await world.claim()
    assert (again.hold.run_id, again.attempt) == (claim.hold.run_id, 1)


async def test_hand_back_tells_how_many_were_still_held(world: World) -> None:
    held, over, others = await world.running(), await world.running(), await world.running()
    await world.queue.succeed(over.hold, success())
    await world.queue.hand_back([others.hold])
    taken = await world.claim()
    assert await world.queue.hand_back([held.hold, over.hold, others.hold]) == 1
    assert (await world.run(over.hold.run_id)).status is RunStatus.SUCCESS
    assert (await world.run(taken.hold.run_id)).status is RunStatus.RUNNING
    assert await world.queue.hand_back([]) == 0


async def test_run_handed_back_counts_as_no_loss(world: World) -> None:
    job = await world.job()
    await world.queue.request(job.id)
    for _ in range(MAX_LOSSES + 1):
        await world.queue.hand_back([(await world.claim()).hold])
    assert (await world.claim()).attempt == 1


async def test_run_handed_back_keeps_its_place(world: World) -> None:
    job = await world.job()
    claim = await world.running(job)
    await world.advance(3)
    await world.queue.request(job.id)
    await world.advance(3)
    await world.queue.hand_back([claim.hold])
    assert (await world.claim()).hold.run_id == claim.hold.run_id


async def test_worker_is_told_what_it_holds_by_the_record(world: World) -> None:
    held, over, others = (
        await world.running(),
        await world.running(),
        await world.running(worker_id=WORKER + 1),
    )
    await world.queue.succeed(over.hold, success())
    assert list(await world.queue.held_by(WORKER)) == [held.hold]
    assert list(await world.queue.held_by(WORKER + 1)) == [others.hold]
    assert list(await world.queue.held_by(WORKER + 2)) == []
    await world.advance(LEASE_S)
    assert list(await world.queue.held_by(WORKER)) == []
    # whoever finds it counts it as lost
    assert await world.queue.hand_back([held.hold]) == 0


# lost workers


async def test_rescued_run_keeps_its_place(world: World) -> None:
    job = await world.job()
    claim = await world.running(job)
    await world.advance(3)
    await world.queue.request(job.id)
    await world.advance(LEASE_S)
    await world.queue.reap()
    assert (await world.claim()).hold.run_id == claim.hold.run_id


async def test_lease_is_no_longer_than_a_lease_when_the_clock_is_set_back(world: World) -> None:
    claim = await world.running()
    await world.set_clock(-3600)
    assert list(await world.queue.reap()) == []
    # whoever holds it goes on
    assert (await world.queue.renew(WORKER, [claim.hold])).lost == frozenset()
    await world.set_clock(-3600)
    assert list(await world.queue.reap()) == []
    await world.advance(LEASE_S)
    assert [run.id for run in await world.queue.reap()] == [claim.hold.run_id]


async def test_next_try_does_not_wait_for_a_clock_that_was_set_back(world: World) -> None:
    claim = await world.running()
    await world.queue.fail(claim.hold, failure(), retry_in_s=60)
    by_hand = await world.queue.request((await world.job()).id)
    await world.set_clock(-3600)
    await world.queue.reap()
    claims = await world.queue.claim(WORKER, limit=9)
    assert [each.hold.run_id for each in claims] == [claim.hold.run_id, by_hand.id]


async def test_planned_instant_waits_for_its_time_when_the_clock_is_set_back(world: World) -> None:
    job = await world.job(schedule_type=ScheduleType.INTERVAL, schedule_expr="PT1H")
    await world.plan()
    await world.set_clock(-1800)
    await world.queue.reap()
    assert (await world.plan()).jobs == 0
    assert await world.queue.claim(WORKER, limit=9) == []
    await world.advance(1800)
    assert (await world.plan()).jobs == 0
    assert [claim.job.id for claim in await world.queue.claim(WORKER, limit=9)] == [job.id]


async def test_run_whose_lease_has_run_out_waits_again(world: World) -> None:
    claim = await world.running()
    await world.advance(LEASE_S - 0.001)
    assert list(await world.queue.reap()) == []
    await world.advance(0.001)
    [rescued] = await world.queue.reap()
    assert (rescued.id, rescued.status) == (claim.hold.run_id, RunStatus.QUEUED)
    assert (rescued.run_started_at, rescued.run_finished_at) == (None, None)
    assert rescued == await world.run(rescued.id)
    assert list(await world.queue.reap()) == []
    again = await world.claim()
    assert (again.hold.run_id, again.attempt) == (claim.hold.run_id, 2)
    with pytest.raises(LeaseLost):
        await world.queue.succeed(claim.hold, success())


async def test_run_of_a_dead_worker_is_rescued_before_its_lease_runs_out(world: World) -> None:
    async with world.workers.enlist(worker_info()) as dead, world.workers.enlist(worker_info()) as alive:
        lost = await world.running(worker_id=dead.worker_id)
        kept = await world.running(worker_id=alive.worker_id)
        assert list(await world.queue.reap()) == []
        await world.kill(dead)
        assert [run.id for run in await world.queue.reap()] == [lost.hold.run_id]
        assert (await world.run(kept.hold.run_id)).status is RunStatus.RUNNING
        again = await world.claim(worker_id=alive.worker_id)
        assert again.hold.run_id == lost.hold.run_id
        assert list(await world.queue.reap()) == []


async def test_run_of_a_worker_that_left_is_rescued(world: World) -> None:
    async with world.workers.enlist(worker_info()) as attendance:
        claim = await world.running(worker_id=attendance.worker_id)
    async with asyncio.timeout(5):
        # A server takes a moment to notice that a connection was closed.
        while not (reaped := await world.queue.reap()):  # noqa: ASYNC110 (there is nothing to wait for)
            await asyncio.sleep(0.01)
    assert [run.id for run in reaped] == [claim.hold.run_id]


async def test_run_lost_with_its_worker_twice_is_an_error(world: World) -> None:
    job = await world.job(max_attempts=10)
    await world.queue.request(job.id)
    for _ in range(MAX_LOSSES - 1):
        await world.claim()
        await world.advance(LEASE_S)
        assert [run.status for run in await world.queue.reap()] == [RunStatus.QUEUED]
    await world.claim()
    await world.advance(LEASE_S)
    [ended] = await world.queue.reap()
    assert (ended.status, ended.error_code) == (RunStatus.ERROR, "worker_lost")
    assert ended.error_message
    assert ended.run_finished_at == await world.clock.now()
    assert ended.duration_ms == LEASE_S * 1000
    assert await world.queue.claim(WORKER, limit=9) == []


async def test_losses_are_counted_beside_failures_that_may_pass(world: World) -> None:
    await world.running()
    await world.advance(LEASE_S)
    await world.queue.reap()
    await world.queue.fail((await world.claim()).hold, failure(), retry_in_s=0)
    await world.claim()
    await world.advance(LEASE_S)
    assert [run.error_code for run in await world.queue.reap()] == ["worker_lost"]


async def test_lost_run_that_was_to_be_cancelled_is_cancelled(world: World) -> None:
    claim = await world.running()
    await world.queue.request_cancel(claim.hold.run_id)
    await world.advance(LEASE_S)
    [ended] = await world.queue.reap()
    assert (ended.id, ended.status) == (claim.hold.run_id, RunStatus.CANCELLED)
    assert ended.error_code == "cancelled"


# presence


async def test_workers_are_counted_while_they_are_there(world: World) -> None:
    assert await world.workers.alive() == 0
    async with world.workers.enlist(worker_info()) as one:
        async with world.workers.enlist(worker_info()) as other:
            assert one.worker_id != other.worker_id
            assert await world.workers.alive() == 2
            await one.beat()
        assert await world.workers.alive() == 1
        await world.kill(one)
        assert await world.workers.alive() == 0


async def test_hint_comes_when_jobs_or_runs_change(world: World) -> None:
    async with world.workers.enlist(worker_info()) as attendance:
        assert await attendance.hint(0.05) is False
        job = await world.job()
        assert await attendance.hint(5) is True
        run = await world.queue.request(job.id)
        assert await attendance.hint(5) is True
        await world.queue.request_cancel(run.id)
        assert await attendance.hint(5) is True
        claim = await world.running(job)
        assert await attendance.hint(5) is True
        await world.queue.hand_back([claim.hold])
        assert await attendance.hint(5) is True
        assert await attendance.hint(0.05) is False


async def test_readiness_tells_workers_and_what_waits(world: World) -> None:
    async with world.workers.enlist(worker_info()):
        job = await world.job()
        await world.running(job)
        await world.queue.request(job.id)
        claim = await world.running(await world.job())
        await world.queue.fail(claim.hold, failure(), retry_in_s=60)
        seen = await world.health.readiness()
    assert (seen.workers, seen.waiting) == (1, 1)
    assert seen.schema_version == seen.expected_version > 0


async def test_places_that_a_lost_worker_kept_come_free(world: World) -> None:
    source = await world.source(max_concurrency=1)
    job = await world.job(data_source_id=source.id)
    async with world.workers.enlist(worker_info()) as attendance:
        await world.kept.note(attendance.worker_id, source.id, 1, for_s=LEASE_S + 1)
        await world.queue.request(job.id)
        assert await world.queue.reap() == []
        assert await world.queue.claim(WORKER, limit=9) == []
        await world.kill(attendance)
        await world.queue.reap()
        assert len(await world.queue.claim(WORKER, limit=9)) == 1


async def test_places_of_a_worker_that_let_its_lease_expire_come_free(world: World) -> None:
    source = await world.source(max_concurrency=2)
    claim = await world.running(await world.job(data_source_id=source.id), worker_id=WORKER + 1)
    await world.kept.note(WORKER + 1, source.id, 2, for_s=LEASE_S + 1)
    await world.advance(LEASE_S)
    assert [run.id for run in await world.queue.reap()] == [claim.hold.run_id]
    await world.queue.request((await world.job(data_source_id=source.id)).id)
    assert len(await world.queue.claim(WORKER, limit=9)) == 2


async def test_places_promised_before_the_clock_was_set_back_come_free(world: World) -> None:
    source = await world.source(max_concurrency=1)
    await world.kept.note(WORKER + 1, source.id, 1, for_s=LEASE_S + 3600)
    await world.queue.request((await world.job(data_source_id=source.id)).id)
    assert await world.queue.claim(WORKER, limit=9) == []
    await world.queue.reap()
    assert len(await world.queue.claim(WORKER, limit=9)) == 1
