"""Changing and removing sources and jobs: the clauses of ``Sources`` and ``Jobs`` about it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from factories import failure, gap, job_spec, new_source, plan, planned, success
from worlds import World

from pgsched.application.ports.repositories import Resealed
from pgsched.domain.errors import HasRuns, InUse, LeaseLost, NameTaken, NotFound, Stale
from pgsched.domain.jobs import OverlapPolicy
from pgsched.domain.runs import RunStatus, Trigger
from pgsched.domain.schedules import ScheduleType
from pgsched.domain.sources import SealedPassword

LATER = datetime(2140, 1, 1, 6, tzinfo=UTC)


# sources


async def test_changed_source_keeps_its_identity_and_has_a_later_version(world: World) -> None:
    before = await world.source(name="shop")
    after = await world.sources.change(before, new_source(name="store", port=1))
    assert (after.id, after.name, after.port) == (before.id, "store", 1)
    assert after.created_at == before.created_at
    assert after.updated_at > before.updated_at
    assert after == await world.sources.get("store")


async def test_source_that_was_changed_since_is_not_changed(world: World) -> None:
    before = await world.source(name="shop")
    after = await world.sources.change(before, new_source(name="shop", port=1))
    with pytest.raises(Stale):
        await world.sources.change(before, new_source(name="shop", port=2))
    assert await world.sources.get("shop") == after


async def test_source_whose_password_was_sealed_again_since_is_not_changed(world: World) -> None:
    old = SealedPassword(ciphertext=b"old", algo="a", key_version=1)
    before = await world.source(password=old)
    new = SealedPassword(ciphertext=b"new", algo="a", key_version=2)
    await world.sources.reseal([Resealed(source_id=before.id, old=old, new=new)])
    with pytest.raises(Stale):
        await world.sources.change(before, new_source(password=old))
    assert (await world.sources.get(before.id)).password == new


async def test_source_is_not_renamed_to_anothers_name(world: World) -> None:
    before = await world.source(name="shop")
    await world.source(name="other")
    with pytest.raises(NameTaken):
        await world.sources.change(before, new_source(name="other"))
    assert await world.sources.get(before.id) == before


async def test_source_is_removed_once_and_not_while_queries_run_there(world: World) -> None:
    source = await world.source()
    job = await world.job(data_source_id=source.id)
    with pytest.raises(InUse, match=source.name):
        await world.sources.remove(source.id)
    await world.jobs.remove(job.id)
    await world.sources.remove(source.id)
    for attempt in (world.sources.remove(source.id), world.sources.change(source, new_source())):
        with pytest.raises(NotFound):
            await attempt


# jobs


async def test_changed_job_keeps_its_identity_and_has_a_later_version(world: World) -> None:
    before = await world.job(name="orders")
    spec = replace(before.spec, name="sales", title="Sales", max_rows=5)
    after = await world.jobs.change(before, spec)
    assert (after.id, after.spec, after.created_at) == (before.id, spec, before.created_at)
    assert after.updated_at > before.updated_at
    assert (after.anchor_at, after.next_run_at) == (before.anchor_at, before.next_run_at)
    assert after == await world.jobs.get("sales")


async def test_job_that_was_changed_since_is_not_changed(world: World) -> None:
    before = await world.job()
    after = await world.jobs.change(before, replace(before.spec, title="one"))
    with pytest.raises(Stale):
        await world.jobs.change(before, replace(before.spec, title="two"))
    assert await world.jobs.get(before.id) == after


async def test_planning_makes_no_new_version(world: World) -> None:
    before = await world.job()
    await world.plan()
    after = await world.jobs.change(before, replace(before.spec, title="one"))
    assert after.next_run_at != before.next_run_at


async def test_job_is_not_renamed_to_anothers_name_nor_moved_nowhere(world: World) -> None:
    before, other = await world.job(), await world.job()
    with pytest.raises(NameTaken):
        await world.jobs.change(before, replace(before.spec, name=other.spec.name))
    for nowhere in (4711, 2**63, 0):
        with pytest.raises(NotFound, match="data source"):
            await world.jobs.change(before, replace(before.spec, data_source_id=nowhere))
    assert await world.jobs.get(before.id) == before


async def test_another_schedule_has_a_new_anchor_and_is_due_by_it(world: World) -> None:
    before = await world.job(schedule_expr="PT6H")
    await world.plan()
    await world.advance(90.5)
    now = await world.clock.now()
    after = await world.jobs.change(
        await world.jobs.get(before.id), replace(before.spec, schedule_expr="PT5M")
    )
    assert after.anchor_at == after.next_run_at == now.replace(microsecond=0)
    await world.plan()
    again = await world.jobs.change(after, after.spec, start_at=LATER)
    assert again.anchor_at == again.next_run_at == LATER


async def test_cron_begins_with_the_first_instant_from_its_start_on(world: World) -> None:
    before = await world.job(enabled=False)
    cron = replace(before.spec, schedule_type=ScheduleType.CRON, schedule_expr="0 * * * *", enabled=True)
    now = await world.clock.now()
    after = await world.jobs.change(before, cron)
    assert after.next_run_at == now.replace(hour=now.hour + 1, minute=0, second=0, microsecond=0)
    assert (await world.jobs.change(after, cron, start_at=LATER)).next_run_at == LATER


async def test_due_instants_of_the_former_plan_come_before_a_change_of_plan(world: World) -> None:
    job = await world.job()
    with pytest.raises(Stale):
        await world.jobs.change(job, replace(job.spec, enabled=False))
    # what has nothing to do with the plan does not wait for it
    job = await world.jobs.change(job, replace(job.spec, title="other"))
    await world.plan()
    job = await world.jobs.change(job, replace(job.spec, enabled=False))
    assert job.next_run_at is None
    assert [run.status for run in await world.runs(job)] == [RunStatus.QUEUED]


async def test_enabling_again_keeps_the_anchor_and_goes_on_from_now(world: World) -> None:
    job = await world.job(enabled=False, schedule_expr="PT1M")
    await world.advance(150)
    job = await world.jobs.change(job, replace(job.spec, enabled=True), resume=True)
    assert job.next_run_at == job.anchor_at + timedelta(minutes=3)


async def test_enabling_ends_a_pause_and_forgets_failures(world: World) -> None:
    job = await world.job(pause_after_failures=1)
    await world.queue.fail((await world.running(job)).hold, failure(), retry_in_s=None)
    await world.plan()
    job = await world.jobs.get(job.id)
    assert job.paused_at is not None
    job = await world.jobs.change(job, replace(job.spec, title="x"))
    assert job.paused_at is not None
    job = await world.jobs.change(job, job.spec, resume=True)
    assert (job.paused_at, job.pause_reason, job.consecutive_failures) == (None, None, 0)
    assert job.next_run_at is not None


async def test_what_waits_goes_with_its_query_to_another_source(world: World) -> None:
    job = await world.job()
    full = await world.source(max_concurrency=1)
    await world.running(await world.job(data_source_id=full.id, name="busy"))
    run = await world.queue.request(job.id)
    await world.jobs.change(job, replace(job.spec, data_source_id=full.id))
    assert list(await world.queue.claim(1, limit=5)) == []
    await world.sources.change(full, new_source(name=full.name, max_concurrency=2))
    [claim] = await world.queue.claim(1, limit=5)
    assert (claim.hold.run_id, claim.source.id) == (run.id, full.id)


@pytest.mark.parametrize("ends", ["retry", "hand back", "lost"])
async def test_what_runs_waits_at_the_new_source_when_it_is_tried_again(world: World, ends: str) -> None:
    job = await world.job()
    claim = await world.running(job)
    other = await world.source()
    await world.jobs.change(job, replace(job.spec, data_source_id=other.id))
    await world.sources.remove(job.spec.data_source_id)
    match ends:
        case "retry":
            await world.queue.fail(claim.hold, failure(), retry_in_s=0)
        case "hand back":
            await world.queue.hand_back([claim.hold])
        case "lost":
            await world.advance(31)
            await world.queue.reap()
    assert (await world.claim()).source.id == other.id


# removal


async def test_job_without_runs_is_removed_once(world: World) -> None:
    job = await world.job()
    await world.jobs.remove(job.id)
    for attempt in (
        world.jobs.get(job.id),
        world.jobs.remove(job.id),
        world.jobs.remove(job.id, with_runs=True),
        world.jobs.wind_down(job.id),
        world.jobs.change(job, job.spec),
        world.queue.request(job.id),
    ):
        with pytest.raises(NotFound):
            await attempt


async def test_job_with_runs_is_removed_only_with_them(world: World) -> None:
    job, other = await world.job(), await world.job()
    run = await world.succeeded(job, {"n": 1})
    kept = await world.succeeded(other, {"n": 1})
    with pytest.raises(HasRuns):
        await world.jobs.remove(job.id)
    assert await world.jobs.get(job.id) == job
    await world.jobs.remove(job.id, with_runs=True)
    with pytest.raises(NotFound):
        await world.stored(run.id)
    assert (await world.stored(kept.id)).result is not None


async def test_removed_job_takes_its_gaps_along(world: World) -> None:
    job = await world.job()
    now = await world.clock.now()
    await world.plan(plan(planned(now), gaps=(gap(now - timedelta(hours=2), now),)))
    assert await world.gaps(job)
    await world.jobs.remove(job.id, with_runs=True)
    assert await world.gaps(job) == []


async def test_winding_down_cancels_what_waits_and_asks_what_runs(world: World) -> None:
    job = await world.job(overlap_policy=OverlapPolicy.ALLOW)
    claim = await world.running(job)
    waiting = await world.queue.request(job.id)
    untouched = await world.queue.request((await world.job()).id)
    assert await world.jobs.wind_down(job.id) == 1
    stopped = await world.jobs.get(job.id)
    assert (stopped.spec.enabled, stopped.next_run_at) == (False, None)
    assert ((await world.run(waiting.id)).status, (await world.run(waiting.id)).trigger) == (
        RunStatus.CANCELLED,
        Trigger.MANUAL,
    )
    assert (await world.queue.renew(1, [claim.hold])).cancel == {claim.hold.run_id}
    await world.queue.cancelled(claim.hold)
    assert await world.jobs.wind_down(job.id) == 0
    assert (await world.run(untouched.id)).status is RunStatus.QUEUED


async def test_worker_of_a_removed_job_finds_that_it_lost_its_run(world: World) -> None:
    claim = await world.running(job := await world.job())
    await world.jobs.remove(job.id, with_runs=True)
    for attempt in (
        world.queue.succeed(claim.hold, success({"n": 1})),
        world.queue.fail(claim.hold, failure(), retry_in_s=1),
        world.queue.fail(claim.hold, failure(), retry_in_s=None),
        world.queue.cancelled(claim.hold),
        world.queue.stage(claim.hold, 0, b'{"n":1}'),
    ):
        with pytest.raises(LeaseLost):
            await attempt
    assert (await world.queue.renew(1, [claim.hold])).lost == {claim.hold.run_id}
    assert await world.queue.hand_back([claim.hold]) == 0


async def test_runs_are_forgotten_oldest_first_in_bounded_numbers(world: World) -> None:
    job = await world.job()
    runs = []
    for _ in range(5):
        runs.append((await world.succeeded(job, {"n": 1})).id)
        await world.advance(1)
    assert await world.jobs.forget_runs(job.id, limit=2) == 2
    assert [run.id for run in await world.runs(job)] == runs[2:]
    assert await world.jobs.forget_runs(job.id, limit=9) == 3
    assert await world.jobs.forget_runs(job.id, limit=9) == 0


# pages


async def test_jobs_come_in_pages_by_name_with_their_number(world: World) -> None:
    for name in ("b", "c", "a"):
        await world.job(name=name)
    found, total = await world.jobs.page(limit=2, offset=1)
    assert ([job.spec.name for job in found], total) == (["b", "c"], 3)
    assert await world.jobs.page(limit=2, offset=2**62) == ([], 3)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("ALES", ["one"]),
        ("ne", ["one"]),
        ("ÜBERSICHT", ["two"]),
        ("50%", ["two"]),
        ("0%_", []),
        ("_", []),
        ("\x00", []),
        ("\ud800", []),
        ("", ["one", "two"]),
    ],
)
async def test_jobs_are_found_by_a_part_of_their_texts(world: World, text: str, names: list[str]) -> None:
    await world.job(name="one", title="Sales")
    await world.job(name="two", description="Die Übersicht\nof 50% and more")
    found, total = await world.jobs.page(text=text, limit=9, offset=0)
    assert ([job.spec.name for job in found], total) == (names, len(names))


async def test_jobs_are_found_by_being_enabled(world: World) -> None:
    on, off = await world.job(), await world.job(enabled=False)
    assert list((await world.jobs.page(enabled=True, limit=9, offset=0))[0]) == [on]
    assert list((await world.jobs.page(enabled=False, limit=9, offset=0))[0]) == [off]
    spec = job_spec(on.spec.data_source_id, name="third")
    await world.jobs.add(spec)
    assert (await world.jobs.page(limit=9, offset=0))[1] == 3
