"""The port ``RunQueue``: planning, runs by hand, and what lies ahead."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from factories import gap, plan, planned
from worlds import WORKER, World

from pgsched.domain.errors import BadTimezone, NotFound
from pgsched.domain.jobs import Job, MisfirePolicy, OverlapPolicy
from pgsched.domain.planning import ActiveRuns, Plan
from pgsched.domain.runs import Run, RunStatus, SkipReason, Trigger

MINUTE = timedelta(minutes=1)


def outcomes(runs: list[Run]) -> list[tuple[datetime, RunStatus, str | None]]:
    return [(run.scheduled_at, run.status, run.error_code) for run in runs]


async def test_plan_makes_one_waiting_run_of_a_due_instant_and_moves_on(world: World) -> None:
    job = await world.job(timezone="Europe/Berlin")
    done = await world.plan()
    assert (done.jobs, done.queued, done.recorded) == (1, 1, 0)
    [run] = await world.runs(job)
    assert (run.query_id, run.scheduled_at, run.status) == (job.id, job.anchor_at, RunStatus.QUEUED)
    assert (run.trigger, run.job_timezone, run.attempt) == (Trigger.SCHEDULE, "Europe/Berlin", 0)
    assert (run.run_started_at, run.run_finished_at, run.duration_ms) == (None, None, None)
    assert (await world.jobs.get(job.id)).next_run_at == job.anchor_at + MINUTE


async def test_plan_twice_changes_nothing(world: World) -> None:
    job = await world.job()
    await world.plan()
    before = await world.runs(job), await world.jobs.get(job.id)
    done = await world.plan()
    assert (done.jobs, done.queued, done.recorded) == (0, 0, 0)
    assert (await world.runs(job), await world.jobs.get(job.id)) == before


async def test_plan_gives_every_instant_of_a_backlog_one_row(world: World) -> None:
    job = await world.job(misfire_policy=MisfirePolicy.ONCE)
    await world.advance(5 * 60)
    done = await world.plan()
    assert (done.jobs, done.queued, done.recorded) == (1, 1, 5)
    at = job.anchor_at
    assert outcomes(await world.runs(job)) == [
        *((at + MINUTE * k, RunStatus.SKIPPED, "misfire") for k in range(5)),
        (at + MINUTE * 5, RunStatus.QUEUED, None),
    ]


async def test_skipped_instant_is_over_and_says_why(world: World) -> None:
    job = await world.job()
    await world.plan(plan(planned(job.anchor_at, skipped=SkipReason.PAUSED)))
    [run] = await world.runs(job)
    assert (run.status, run.error_code, run.attempt) == (RunStatus.SKIPPED, "paused", 0)
    assert run.error_message
    assert run.run_finished_at == await world.clock.now()
    assert (run.run_started_at, run.duration_ms) == (None, None)


async def test_instant_that_has_a_row_keeps_it(world: World) -> None:
    job = await world.job()
    at = job.anchor_at
    await world.plan(plan(planned(at), next_run_at=at))
    claim = await world.claim()
    done = await world.plan(plan(planned(at, skipped=SkipReason.MISFIRE), planned(at + MINUTE)))
    assert done.queued == 1
    first, second = await world.runs(job)
    assert (first.id, first.status) == (claim.hold.run_id, RunStatus.RUNNING)
    assert (second.scheduled_at, second.status) == (at + MINUTE, RunStatus.QUEUED)


async def test_gaps_are_kept_once(world: World) -> None:
    job = await world.job()
    start = job.anchor_at - timedelta(days=1)
    long = gap(start, job.anchor_at, instants=1441)
    await world.plan(plan(gaps=(long,), next_run_at=job.anchor_at))
    done = await world.plan(plan(gaps=(long,)))
    assert (done.queued, done.recorded) == (0, 1441)
    assert await world.gaps(job) == [(start, job.anchor_at, 1441, "misfire")]
    assert await world.runs(job) == []


async def test_plan_tells_the_decider_now_and_the_active_scheduled_runs(world: World) -> None:
    job = await world.job(overlap_policy=OverlapPolicy.QUEUE_ALL)
    at = job.anchor_at
    await world.plan(plan(planned(at), planned(at + MINUTE), planned(at - MINUTE), next_run_at=at))
    await world.claim()
    await world.queue.request(job.id)
    seen: list[tuple[Job, datetime, ActiveRuns]] = []

    def decide(*given: object) -> Plan:
        seen.append(given)
        return plan()

    await world.queue.plan_due(decide)
    [(told, now, active)] = seen
    assert told.spec == job.spec
    assert now == await world.clock.now()
    assert now.utcoffset() == timedelta(0)
    assert active == ActiveRuns(queued=2, running=1)


async def test_plan_takes_the_longest_due_first_and_no_more_than_asked(world: World) -> None:
    late = [await world.job(start_at=await world.clock.now() - timedelta(hours=k)) for k in (1, 3, 2)]
    await world.job(start_at=await world.clock.now() + MINUTE)
    order: list[int] = []

    def decide(job: Job, *_: object) -> Plan:
        order.append(job.id)
        return plan()

    assert (await world.queue.plan_due(decide, limit=2)).jobs == 2
    assert order == [late[1].id, late[2].id]
    assert (await world.queue.plan_due(decide, limit=100)).jobs == 1


async def test_job_is_not_due_before_its_instant(world: World) -> None:
    now = await world.clock.now()
    await world.job(start_at=now.replace(microsecond=0) + timedelta(seconds=2))
    await world.advance(1.749)
    assert (await world.plan()).jobs == 0
    await world.advance(0.001)
    assert (await world.plan()).queued == 1


async def test_one_schedule_that_cannot_be_read_is_paused_and_stops_no_other(world: World) -> None:
    broken, good = await world.job(), await world.job()

    def decide(job: Job, *_: object) -> Plan:
        if job.id == broken.id:
            raise BadTimezone("Mars/Olympus is not in the IANA time zone database")
        return plan(planned(job.anchor_at))

    assert (await world.queue.plan_due(decide)).queued == 1
    assert len(await world.runs(good)) == 1
    paused = await world.jobs.get(broken.id)
    assert (paused.next_run_at, paused.paused_at) == (None, await world.clock.now())
    assert "Mars/Olympus" in str(paused.pause_reason)


async def test_fault_of_the_program_pauses_that_job_and_stops_no_other(world: World) -> None:
    """One poisoned job would otherwise end every worker, one after the other."""
    good, poisoned = await world.job(), await world.job()

    def decide(job: Job, *_: object) -> Plan:
        if job.id == poisoned.id:
            raise ZeroDivisionError
        return plan(planned(job.anchor_at))

    assert (await world.queue.plan_due(decide)).queued == 1
    assert len(await world.runs(good)) == 1
    paused = await world.jobs.get(poisoned.id)
    assert (paused.next_run_at, "ZeroDivisionError" in str(paused.pause_reason)) == (None, True)


async def test_cancel_previous_skips_what_waits_and_asks_what_runs_to_end(world: World) -> None:
    job = await world.job(overlap_policy=OverlapPolicy.CANCEL_PREVIOUS)
    at = job.anchor_at
    await world.plan(plan(planned(at), planned(at + MINUTE, ready_at=at), next_run_at=at))
    held = await world.claim()
    by_hand = await world.queue.request(job.id)
    await world.plan(plan(planned(at + 2 * MINUTE, ready_at=at), cancel_previous=True))
    first, *later = await world.runs(job)
    assert (first.id, first.status) == (held.hold.run_id, RunStatus.RUNNING)
    assert await world.queue.cancel_requests(WORKER) == {first.id}
    states = {run.scheduled_at: (run.status, run.error_code) for run in later if run.id != by_hand.id}
    assert states == {
        at + MINUTE: (RunStatus.SKIPPED, "overlap"),
        at + 2 * MINUTE: (RunStatus.QUEUED, None),
    }
    assert (await world.run(by_hand.id)).status is RunStatus.QUEUED
    # the new one starts once the old has ended
    assert await world.queue.claim(WORKER, limit=9) == []
    await world.queue.cancelled(held.hold)
    assert (await world.claim()).scheduled_at == at + 2 * MINUTE


# ahead


async def test_upcoming_tells_the_instants_of_jobs_and_waiting_runs_once_each_in_order(world: World) -> None:
    now = await world.clock.now()
    second = timedelta(seconds=1)
    base = now.replace(microsecond=0)
    for seconds in (50, 20, 20, 90):
        await world.job(start_at=base + seconds * second)
    due = await world.job(start_at=base)
    await world.plan(plan(planned(base, ready_at=base + 30 * second)))
    ahead = await world.queue.upcoming(within_s=60, limit=10)
    assert ahead.now == now
    assert ahead.instants == tuple(base + seconds * second for seconds in (20, 30, 50))
    assert (await world.queue.upcoming(within_s=60, limit=2)).instants == ahead.instants[:2]
    assert (await world.jobs.get(due.id)).next_run_at is None


async def test_upcoming_tells_a_job_that_is_overdue(world: World) -> None:
    job = await world.job()
    await world.advance(100)
    assert (await world.queue.upcoming(within_s=60, limit=10)).instants == (job.anchor_at,)


async def _is_at_rest(world: World) -> bool:
    return (await world.queue.upcoming(within_s=60, limit=10)).at_rest


async def test_at_rest_is_who_has_no_run_that_waits_or_is_held(world: World) -> None:
    job = await world.job()
    assert await _is_at_rest(world)
    await world.plan()
    assert not await _is_at_rest(world)
    held = await world.claim()
    assert not await _is_at_rest(world)
    await world.queue.cancelled(held.hold)
    assert await _is_at_rest(world)
    await world.queue.request(job.id)
    assert not await _is_at_rest(world)


async def test_a_kept_connection_is_no_rest_until_it_is_given_back_or_rescued(world: World) -> None:
    source = await world.source()
    await world.kept.note(WORKER, source.id, 1, for_s=30)
    assert not await _is_at_rest(world)
    await world.kept.note(WORKER, source.id, 0, for_s=30)
    assert await _is_at_rest(world)
    await world.kept.note(WORKER, source.id, 1, for_s=0)
    assert not await _is_at_rest(world)
    await world.queue.reap()
    assert await _is_at_rest(world)


# by hand


async def test_request_queues_a_run_for_when_it_was_asked_for(world: World) -> None:
    job = await world.job(start_at=await world.clock.now() + timedelta(days=1), timezone="Asia/Tokyo")
    await world.advance(7)
    run = await world.queue.request(job.id)
    assert run.scheduled_at == await world.clock.now()
    assert (run.status, run.trigger, run.attempt) == (RunStatus.QUEUED, Trigger.MANUAL, 0)
    assert run.job_timezone == "Asia/Tokyo"
    assert run == await world.run(run.id)
    assert (await world.claim()).trigger is Trigger.MANUAL


async def test_request_runs_a_disabled_query(world: World) -> None:
    job = await world.job(enabled=False)
    run = await world.queue.request(job.id)
    assert (await world.claim()).hold.run_id == run.id


async def test_request_says_who_asked(world: World) -> None:
    job = await world.job()
    assert (await world.queue.request(job.id, Trigger.BACKFILL)).trigger is Trigger.BACKFILL


async def test_request_waits_for_the_running_one_and_is_never_skipped(world: World) -> None:
    job = await world.job(overlap_policy=OverlapPolicy.SKIP, start_deadline_s=1)
    held = await world.running(job)
    second = await world.queue.request(job.id)
    await world.advance(20)
    assert await world.queue.claim(WORKER, limit=9) == []
    await world.queue.cancelled(held.hold)
    assert (await world.claim()).hold.run_id == second.id


async def test_request_does_not_take_the_place_of_a_scheduled_instant(world: World) -> None:
    job = await world.job(start_at=(await world.clock.now()).replace(microsecond=0) + MINUTE)
    await world.advance(59.75)
    by_hand = await world.queue.request(job.id)
    assert by_hand.scheduled_at == job.anchor_at
    assert (await world.plan()).queued == 1
    assert [run.trigger for run in await world.runs(job)] == [Trigger.MANUAL, Trigger.SCHEDULE]


@pytest.mark.parametrize("query_id", [4711, 0])
async def test_request_for_an_unknown_query_is_not_found(world: World, query_id: int) -> None:
    with pytest.raises(NotFound):
        await world.queue.request(query_id)
