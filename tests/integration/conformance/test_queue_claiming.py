"""The port ``RunQueue``: who may start, in which order, and with which proof."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from factories import failure, new_source, plan, planned, success
from worlds import WORKER, World

from pgsched.application.ports.queue import Planned, Renewal
from pgsched.domain.errors import NotFound
from pgsched.domain.jobs import OverlapPolicy
from pgsched.domain.runs import LEASE_S, MAX_PARALLEL, Hold, RunStatus, Trigger

MINUTE = timedelta(minutes=1)


async def test_claim_holds_the_run_with_all_that_running_it_takes(world: World) -> None:
    source = await world.source(name="shop", max_concurrency=7)
    job = await world.job(data_source_id=source.id)
    await world.plan()
    await world.advance(2)
    claim = await world.claim()
    assert (claim.job.id, claim.job.spec, claim.source) == (job.id, job.spec, source)
    assert (claim.scheduled_at, claim.attempt, claim.trigger) == (job.anchor_at, 1, Trigger.SCHEDULE)
    run = await world.run(claim.hold.run_id)
    assert (run.status, run.attempt) == (RunStatus.RUNNING, 1)
    assert run.run_started_at == await world.clock.now()
    assert (run.run_finished_at, run.duration_ms) == (None, None)


async def test_nothing_is_claimed_twice(world: World) -> None:
    await world.running()
    assert await world.queue.claim(WORKER + 1, limit=9) == []


async def test_claim_uses_the_query_and_the_source_as_they_are_now(world: World) -> None:
    source = await world.source()
    job = await world.job(data_source_id=source.id)
    await world.queue.request(job.id)
    await world.sources.replace(source.id, new_source(name="moved", host="elsewhere"))
    assert (await world.claim()).source.host == "elsewhere"


async def test_tokens_only_ever_grow(world: World) -> None:
    job = await world.job(max_attempts=5)
    tokens = []
    for _ in range(3):
        claim = await world.running(job)
        tokens.append(claim.hold.token)
        await world.queue.hand_back([claim.hold])
        again = await world.claim()
        tokens.append(again.hold.token)
        await world.queue.cancelled(again.hold)
    assert tokens == sorted(set(tokens))


async def test_run_is_not_claimed_before_it_is_ready(world: World) -> None:
    job = await world.job()
    ready_at = await world.clock.now() + timedelta(seconds=10)
    await world.plan(plan(planned(job.anchor_at, ready_at=ready_at)))
    await world.advance(9.999)
    assert await world.queue.claim(WORKER, limit=9) == []
    await world.advance(0.001)
    assert (await world.claim()).scheduled_at == job.anchor_at


async def test_run_that_waited_past_its_deadline_is_skipped_on_the_way(world: World) -> None:
    late, good = await world.job(), await world.job(enabled=False)
    deadline = await world.clock.now() + timedelta(seconds=5)
    await world.plan(plan(planned(late.anchor_at, deadline_at=deadline)))
    await world.queue.request(good.id)
    await world.advance(5)
    assert [claim.job.id for claim in await world.queue.claim(WORKER, limit=9)] == [good.id]
    [skipped] = await world.runs(late)
    assert (skipped.status, skipped.error_code, skipped.attempt) == (RunStatus.SKIPPED, "deadline", 0)
    assert skipped.run_finished_at == deadline
    assert skipped.error_message


async def test_run_before_its_deadline_is_claimed(world: World) -> None:
    job = await world.job()
    deadline = await world.clock.now() + timedelta(seconds=5)
    await world.plan(plan(planned(job.anchor_at, deadline_at=deadline)))
    await world.advance(4.999)
    claim = await world.claim()
    await world.advance(10)
    assert await world.queue.claim(WORKER, limit=9) == []
    assert (await world.run(claim.hold.run_id)).status is RunStatus.RUNNING


async def test_oldest_comes_first_and_no_more_than_asked(world: World) -> None:
    source = await world.source(max_concurrency=10)
    jobs = []
    for _ in range(4):
        jobs.append(await world.job(data_source_id=source.id))
        await world.queue.request(jobs[-1].id)
        await world.advance(1)
    assert [claim.job.id for claim in await world.queue.claim(WORKER, limit=3)] == [j.id for j in jobs[:3]]
    assert [claim.job.id for claim in await world.queue.claim(WORKER, limit=3)] == [jobs[3].id]


@pytest.mark.parametrize(
    "policy",
    [OverlapPolicy.SKIP, OverlapPolicy.QUEUE, OverlapPolicy.QUEUE_ALL, OverlapPolicy.CANCEL_PREVIOUS],
)
async def test_query_never_has_two_runs_at_once(world: World, policy: OverlapPolicy) -> None:
    job = await world.job(overlap_policy=policy)
    at = job.anchor_at
    await world.plan(plan(planned(at), planned(at - MINUTE)))
    first = await world.queue.claim(WORKER, limit=9)
    assert [claim.scheduled_at for claim in first] == [at - MINUTE]
    assert await world.queue.claim(WORKER + 1, limit=9) == []
    await world.queue.succeed(first[0].hold, success())
    assert [claim.scheduled_at for claim in await world.queue.claim(WORKER + 1, limit=9)] == [at]


async def test_allowed_overlap_runs_a_few_at_once(world: World) -> None:
    source = await world.source(max_concurrency=50)
    job = await world.job(overlap_policy=OverlapPolicy.ALLOW, data_source_id=source.id)
    at = job.anchor_at
    await world.plan(plan(*(planned(at - MINUTE * k) for k in range(6))))
    first = await world.queue.claim(WORKER, limit=3)
    assert [claim.scheduled_at for claim in first] == [at - MINUTE * k for k in (5, 4, 3)]
    more = await world.queue.claim(WORKER, limit=9)
    assert len(first) + len(more) == MAX_PARALLEL
    assert await world.queue.claim(WORKER, limit=9) == []
    await world.queue.fail(first[0].hold, failure(), retry_in_s=None)
    assert [claim.scheduled_at for claim in await world.queue.claim(WORKER, limit=9)] == [at - MINUTE]


async def test_source_never_runs_more_than_its_concurrency(world: World) -> None:
    narrow, wide = await world.source(max_concurrency=2), await world.source(max_concurrency=9)
    for _ in range(3):
        for source in (narrow, wide):
            await world.queue.request((await world.job(data_source_id=source.id)).id)
    claims = await world.queue.claim(WORKER, limit=9)
    assert [claim.source.id for claim in claims].count(narrow.id) == 2
    assert [claim.source.id for claim in claims].count(wide.id) == 3
    assert await world.queue.claim(WORKER + 1, limit=9) == []
    ended = next(claim for claim in claims if claim.source.id == narrow.id)
    await world.queue.succeed(ended.hold, success())
    [last] = await world.queue.claim(WORKER + 1, limit=9)
    assert last.source.id == narrow.id


async def test_busy_source_holds_no_other_up(world: World) -> None:
    busy, free = await world.source(max_concurrency=1), await world.source()
    await world.running(await world.job(data_source_id=busy.id))
    await world.queue.request((await world.job(data_source_id=busy.id)).id)
    await world.advance(1)
    run = await world.queue.request((await world.job(data_source_id=free.id)).id)
    assert [claim.hold.run_id for claim in await world.queue.claim(WORKER, limit=1)] == [run.id]


# leases


async def test_renewed_lease_holds_for_its_time_again(world: World) -> None:
    claim = await world.running()
    for _ in range(3):
        await world.advance(LEASE_S - 1)
        renewal = await world.queue.renew(WORKER, [claim.hold])
        assert (renewal.lost, renewal.cancel) == (frozenset(), frozenset())
        assert list(await world.queue.reap()) == []
    assert (await world.queue.succeed(claim.hold, success())).status is RunStatus.SUCCESS


async def test_lease_that_has_run_out_cannot_be_renewed(world: World) -> None:
    claim = await world.running()
    other = await world.running()
    await world.advance(LEASE_S - 1)
    await world.queue.renew(WORKER, [other.hold])
    await world.advance(1)
    renewal = await world.queue.renew(WORKER, [claim.hold, other.hold])
    assert renewal.lost == {claim.hold.run_id}
    [reaped] = await world.queue.reap()
    assert reaped.id == claim.hold.run_id


async def test_renewal_tells_runs_that_others_hold_by_now(world: World) -> None:
    claim = await world.running()
    await world.advance(LEASE_S)
    await world.queue.reap()
    again = await world.claim(worker_id=WORKER + 1)
    assert again.hold.run_id == claim.hold.run_id
    assert (await world.queue.renew(WORKER, [claim.hold])).lost == {claim.hold.run_id}
    assert (await world.queue.renew(WORKER + 1, [again.hold])).lost == frozenset()


async def test_renewing_nothing_is_fine(world: World) -> None:
    renewal = await world.queue.renew(WORKER, [])
    assert (renewal.lost, renewal.cancel) == (frozenset(), frozenset())


@pytest.mark.parametrize("run_id", [4711, 0])
async def test_unknown_run_has_no_status(world: World, run_id: int) -> None:
    with pytest.raises(NotFound):
        await world.queue.status_of(run_id)


async def test_what_other_workers_keep_open_takes_places(world: World) -> None:
    source = await world.source(max_concurrency=3)
    for _ in range(4):
        await world.queue.request((await world.job(data_source_id=source.id)).id)
    await world.kept.note(WORKER + 1, source.id, 2, for_s=60)
    assert len(await world.queue.claim(WORKER, limit=9)) == 1
    assert await world.queue.claim(WORKER, limit=9) == []
    # its own places are free to whoever keeps them
    assert len(await world.queue.claim(WORKER + 1, limit=9)) == 2
    assert await world.queue.claim(WORKER + 1, limit=9) == []


async def test_places_kept_are_not_counted_beside_the_runs_that_use_them(world: World) -> None:
    source = await world.source(max_concurrency=2)
    first, second = [await world.job(data_source_id=source.id) for _ in range(2)]
    await world.running(first, worker_id=WORKER + 1)
    await world.kept.note(WORKER + 1, source.id, 1, for_s=60)
    await world.queue.request(second.id)
    assert len(await world.queue.claim(WORKER, limit=9)) == 1


async def test_places_come_free_when_taken_back_or_expired(world: World) -> None:
    source = await world.source(max_concurrency=1)
    jobs = [await world.job(data_source_id=source.id) for _ in range(2)]
    await world.queue.request(jobs[0].id)
    await world.kept.note(WORKER + 1, source.id, 1, for_s=60)
    await world.kept.note(WORKER + 1, source.id, 0, for_s=60)
    claim = await world.claim()
    await world.queue.succeed(claim.hold, success())
    await world.kept.note(WORKER + 1, source.id, 1, for_s=60)
    await world.queue.request(jobs[1].id)
    assert await world.queue.claim(WORKER, limit=9) == []
    await world.advance(60)
    assert len(await world.queue.claim(WORKER, limit=9)) == 1


async def test_places_at_a_source_that_is_gone_are_none(world: World) -> None:
    assert await world.kept.note(WORKER, 4711, 1, for_s=60) == 0


async def test_no_more_places_are_granted_than_others_leave(world: World) -> None:
    source = await world.source(max_concurrency=5)
    first, second = [await world.job(data_source_id=source.id) for _ in range(2)]
    assert await world.kept.note(WORKER, source.id, 9, for_s=30) == 5
    assert await world.kept.note(WORKER + 1, source.id, 1, for_s=30) == 0
    assert await world.kept.note(WORKER, source.id, 2, for_s=30) == 2
    assert await world.kept.note(WORKER + 1, source.id, 9, for_s=30) == 3
    await world.kept.note(WORKER + 1, source.id, 0, for_s=30)
    # a run that its worker has no note for takes a place, too, from everyone but itself
    await world.running(first, worker_id=WORKER + 1)
    await world.running(second, worker_id=WORKER)
    assert await world.kept.note(WORKER, source.id, 9, for_s=30) == 4
    assert await world.kept.note(WORKER + 1, source.id, 9, for_s=30) == 1


async def test_whoever_makes_no_claims_leaves_the_last_place_to_runs(world: World) -> None:
    source = await world.source(max_concurrency=3)
    await world.queue.request((await world.job(data_source_id=source.id)).id)
    assert await world.kept.note(-1, source.id, 9, for_s=30) == 2
    assert await world.kept.note(-2, source.id, 1, for_s=30) == 0
    assert await world.kept.note(-1, source.id, 1, for_s=30) == 1
    assert await world.kept.note(-2, source.id, 1, for_s=30) == 1
    [claim] = await world.queue.claim(WORKER, limit=9)
    await world.queue.succeed(claim.hold, success())
    assert await world.kept.note(WORKER, source.id, 9, for_s=30) == 1
    assert await world.kept.note(-1, source.id, 2, for_s=30) == 0


async def test_notes_made_anew_leave_no_run_without_a_worker_that_may_start_it(world: World) -> None:
    """A worker whose notes were dropped while it was silent finds its places given to others."""
    source = await world.source(max_concurrency=4)
    for _ in range(4):
        await world.queue.request((await world.job(data_source_id=source.id)).id)
    assert await world.kept.note(WORKER, source.id, 3, for_s=30) == 3
    await world.advance(30)
    claims = await world.queue.claim(WORKER + 1, limit=9)
    assert await world.kept.note(WORKER + 1, source.id, 4, for_s=30) == 4
    for claim in claims:
        await world.queue.succeed(claim.hold, success())
    assert await world.kept.note(WORKER, source.id, 3, for_s=30) == 0
    await world.queue.request((await world.job(data_source_id=source.id)).id)
    assert await world.queue.claim(WORKER, limit=9) == []
    assert len(await world.queue.claim(WORKER + 1, limit=9)) == 1


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_happens_there_are_never_too_many_and_never_none(world: World, seed: int) -> None:
    """Over any course of claims, notes, ends and expiries."""
    rng, most = random.Random(seed), 4
    source = await world.source(max_concurrency=most)
    jobs = [await world.job(data_source_id=source.id) for _ in range(12)]
    workers = (WORKER, WORKER + 1, WORKER + 2)
    holds: dict[int, list[Hold]] = {worker: [] for worker in workers}
    notes: dict[int, tuple[int, float]] = {}
    waiting, now = 0, 0.0
    for _ in range(60):
        worker = rng.choice(workers)
        match rng.randrange(5):
            case 0:
                await world.queue.request(rng.choice(jobs).id)
                waiting += 1
            case 1:
                taken = await world.queue.claim(worker, limit=rng.randint(1, 4))
                holds[worker] += [claim.hold for claim in taken]
                waiting -= len(taken)
            case 2:
                granted = await world.kept.note(worker, source.id, rng.randint(0, 5), for_s=30)
                notes[worker] = (granted, now + 30)
            case 3 if holds[worker]:
                await world.queue.succeed(holds[worker].pop(), success())
            case _:
                step = rng.choice((0.0, 1.0, 9.0))
                await world.advance(step)
                now += step
                for each in workers:
                    await world.queue.renew(each, holds[each])
        used = {w: max(len(holds[w]), notes[w][0] if notes.get(w, (0, 0.0))[1] > now else 0) for w in workers}
        assert sum(used.values()) <= most
    for worker in workers:
        for hold in holds[worker]:
            await world.queue.succeed(hold, success())
    await world.queue.request(jobs[0].id)
    assert any([await world.queue.claim(worker, limit=1) for worker in workers])


async def test_sources_take_turns_however_long_their_lines_are(world: World) -> None:
    busy, quiet = [await world.source(max_concurrency=100) for _ in range(2)]
    for _ in range(6):
        await world.queue.request((await world.job(data_source_id=busy.id, enabled=False)).id)
    await world.advance(1)
    late = [
        (await world.queue.request((await world.job(data_source_id=quiet.id, enabled=False)).id)).id
        for _ in range(2)
    ]
    first = await world.queue.claim(WORKER, limit=3)
    assert [claim.source.id for claim in first].count(quiet.id) == 1
    # the busy source has two places of this worker by now, the quiet one has one
    [second] = await world.queue.claim(WORKER, limit=1)
    assert second.source.id == quiet.id
    assert {claim.hold.run_id for claim in (*first, second) if claim.source.id == quiet.id} == set(late)


async def test_what_is_planned_can_be_taken_at_once(world: World) -> None:
    ready, later = await world.job(), await world.job()
    waiting = planned(later.anchor_at, ready_at=await world.clock.now() + MINUTE)
    plans = {ready.id: plan(planned(ready.anchor_at)), later.id: plan(waiting)}
    done = await world.queue.plan_and_claim(lambda job, *_: plans[job.id], WORKER, jobs=10, runs=10)
    assert (done.jobs, done.queued) == (2, 2)
    [claim] = done.claims
    assert (claim.job.id, claim.attempt, claim.worker_id) == (ready.id, 1, WORKER)
    assert (await world.run(claim.hold.run_id)).status is RunStatus.RUNNING
    assert await world.queue.renew(WORKER, [claim.hold]) == Renewal()


async def test_planning_takes_what_waits_no_more_than_asked_and_nothing_without_room(world: World) -> None:
    source = await world.source(max_concurrency=2)
    for _ in range(4):
        await world.job(data_source_id=source.id)

    async def plan_and_claim(jobs: int, runs: int) -> Planned:
        return await world.queue.plan_and_claim(
            lambda job, *_: plan(planned(job.anchor_at)), WORKER, jobs=jobs, runs=runs
        )

    done = await plan_and_claim(3, 0)
    assert (done.jobs, done.queued, len(done.claims)) == (3, 3, 0)
    done = await plan_and_claim(9, 1)
    assert (done.jobs, len(done.claims)) == (1, 1)
    done = await plan_and_claim(9, 9)
    assert (done.jobs, len(done.claims)) == (0, 1)
