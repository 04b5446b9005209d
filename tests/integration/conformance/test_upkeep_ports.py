"""The clauses of the ports ``RunTally``, ``Retention`` and ``FiguresView``."""

from __future__ import annotations

from dataclasses import replace

from factories import encoded, failure, gap, plan, planned, success, worker_info
from worlds import World

from pgsched.domain.audit import Actor, AuditFilter, done
from pgsched.domain.jobs import OverlapPolicy, Visibility
from pgsched.domain.retention import Limits
from pgsched.domain.runs import RunStatus, SkipReason

DAY = 86_400


async def outcomes(world: World) -> dict[tuple[int, str, str], int]:
    figures = await world.figures.figures(queries=100)
    return {(each.query_id, each.status.value, each.reason): each.runs for each in figures.counts}


async def counted(world: World) -> int:
    """Count until all that can be counted is."""
    total = 0
    # a run is counted once every transaction that was under way when it was seen is over
    for _ in range(3):
        total += await world.tally.advance()
    return total


async def days_of(world: World, days: int, **job) -> tuple:
    """A query with one success a day, the last of them today."""
    made = await world.job(**job)
    runs = []
    for day in range(days):
        if day:
            await world.advance(DAY)
        runs.append(await world.succeeded(made, {"n": day}))
    return made, [run.id for run in runs]


async def ids_left(world: World, job) -> list[int]:
    return [run.id for run in await world.runs(job)]


# counting


async def test_figures_show_an_outcome_at_once_and_count_it_once(world: World) -> None:
    job = await world.job()
    await world.succeeded(job, {"n": 1}, {"n": 2})
    await world.queue.fail((await world.running(job)).hold, failure(), retry_in_s=None)
    wanted = {(job.id, "success", ""): 1, (job.id, "error", "query_failed"): 1}
    assert await outcomes(world) == wanted
    assert await counted(world) == 2
    assert await outcomes(world) == wanted
    assert await counted(world) == 0
    await world.succeeded(job, {"n": 3})
    assert await outcomes(world) == wanted | {(job.id, "success", ""): 2}


async def test_run_that_is_not_over_is_counted_when_it_is(world: World) -> None:
    job = await world.job()
    slow = await world.running(job)
    await world.succeeded(await world.job())
    assert await counted(world) == 1
    await world.queue.succeed(slow.hold, success({"n": 1}))
    assert (await outcomes(world))[job.id, "success", ""] == 1
    assert await counted(world) == 1
    assert (await outcomes(world))[job.id, "success", ""] == 1


async def test_figures_add_up_rows_bytes_and_tries(world: World) -> None:
    job = await world.job()
    await world.queue.fail((await world.running(job)).hold, failure(), retry_in_s=0)
    again = await world.claim()
    await world.queue.succeed(again.hold, success({"n": 1}, {"n": 2}))
    for _ in range(2):
        figures = await world.figures.figures(queries=100)
        (count,) = figures.counts
        assert (count.rows, count.attempts, count.losses) == (2, 2, 0)
        assert count.bytes == success({"n": 1}, {"n": 2}).byte_size
        assert sum(figures.durations.counts) == 1
        (query,) = figures.queries
        assert (query.stored_runs, query.stored_bytes) == (1, count.bytes)
        assert query.last_success_at == figures.now
        await counted(world)


async def test_figures_show_lateness_of_scheduled_first_tries(world: World) -> None:
    job = await world.job()
    instant = (await world.clock.now()).replace(microsecond=0)
    await world.plan(plan(planned(instant)))
    await world.advance(3)
    claim = await world.claim()
    await world.queue.succeed(claim.hold, success())
    await world.succeeded(job)
    lateness = (await world.figures.figures(queries=1)).lateness
    assert sum(lateness.counts) == 1
    assert 3 <= lateness.seconds < 4
    recent = (await world.figures.figures(queries=1)).recent_lateness_s
    assert recent is not None
    assert all(3 <= each < 4 for each in recent)


async def test_figures_show_queue_sources_and_workers(world: World) -> None:
    job = await world.job(overlap_policy=OverlapPolicy.QUEUE)
    source = await world.sources.get("shop")
    async with world.workers.enlist(worker_info(host="here", concurrency=4)) as attendance:
        await attendance.beat({"source_connections": 2})
        await world.running(job, worker_id=attendance.worker_id)
        await world.queue.request(job.id)
        await world.advance(5)
        figures = await world.figures.figures(queries=100)
        assert (figures.waiting, figures.later, figures.running, figures.stuck) == (1, 0, 1, 0)
        assert figures.longest_wait_s == 5
        (seen,) = figures.sources
        assert (seen.id, seen.running, seen.waiting) == (source.id, 1, 1)
        (worker,) = figures.workers
        assert (worker.alive, worker.running, worker.figures) == (True, 1, {"source_connections": 2})
        await world.advance(60)
        assert (await world.figures.figures(queries=100)).stuck == 1
    assert (await world.figures.figures(queries=100)).workers == []


async def test_figures_name_the_newest_failures_first(world: World) -> None:
    job = await world.job(name="broken")
    for code in ("query_failed", "query_timeout"):
        await world.queue.fail((await world.running(job)).hold, failure(code=code), retry_in_s=None)
    failures = (await world.figures.figures(queries=100)).failures
    assert [(each.query, each.code, each.message) for each in failures] == [
        ("broken", "query_timeout", "no"),
        ("broken", "query_failed", "no"),
    ]


async def test_figures_of_queries_are_bounded(world: World) -> None:
    jobs = [await world.job() for _ in range(3)]
    figures = await world.figures.figures(queries=2)
    assert [each.job.id for each in figures.queries] == [jobs[0].id, jobs[1].id]
    assert figures.query_count == 3


# retention


async def test_limits_are_the_query_s_own_or_the_general_ones(world: World) -> None:
    plain = await world.job()
    own = await world.job(keep_runs=5)
    assert await world.retention.limited(Limits()) == [(own.id, Limits(keep_runs=5))]
    assert await world.retention.limited(Limits(keep_runs=9, keep_days=3)) == [
        (plain.id, Limits(keep_runs=9, keep_days=3)),
        (own.id, Limits(keep_runs=5, keep_days=3)),
    ]


async def test_newest_runs_are_kept(world: World) -> None:
    job, runs = await days_of(world, 5)
    await counted(world)
    assert await world.retention.delete_some(job.id, Limits(keep_runs=2)) == 3
    assert await ids_left(world, job) == runs[-2:]
    assert await world.retention.delete_some(job.id, Limits(keep_runs=2)) == 0


async def test_runs_of_so_many_days_are_kept(world: World) -> None:
    job, runs = await days_of(world, 5)
    await counted(world)
    await world.advance(60)
    assert await world.retention.delete_some(job.id, Limits(keep_days=2)) == 3
    assert await ids_left(world, job) == runs[-2:]


async def test_newest_success_is_always_kept(world: World) -> None:
    job, runs = await days_of(world, 2)
    for _ in range(3):
        await world.queue.fail((await world.running(job)).hold, failure(), retry_in_s=None)
    await world.advance(100 * DAY)
    await counted(world)
    assert await world.retention.delete_some(job.id, Limits(keep_runs=1, keep_days=1)) == 4
    assert await ids_left(world, job) == [runs[-1]]
    assert (await world.stored(runs[-1])).result is not None


async def test_runs_that_are_not_over_or_not_counted_are_kept(world: World) -> None:
    job = await world.job(overlap_policy=OverlapPolicy.ALLOW)
    held = await world.running(job)
    await world.succeeded(job)
    await counted(world)
    fresh = [await world.succeeded(job) for _ in range(2)]
    await world.advance(100 * DAY)
    assert await world.retention.delete_some(job.id, Limits(keep_days=1)) == 1
    assert await ids_left(world, job) == [held.hold.run_id, *(run.id for run in fresh)]


async def test_other_queries_keep_theirs(world: World) -> None:
    job, _ = await days_of(world, 3)
    other = await world.job()
    kept = [await world.succeeded(other) for _ in range(3)]
    await counted(world)
    await world.retention.delete_some(job.id, Limits(keep_runs=1))
    assert await ids_left(world, other) == [run.id for run in kept]


async def test_gaps_go_with_the_runs_around_them(world: World) -> None:
    job, _ = await days_of(world, 4, schedule_expr="PT1S")
    now = await world.clock.now()
    job = await world.jobs.get(job.id)
    old, new = now.replace(microsecond=0), now.replace(microsecond=0)
    await world.plan(
        plan(gaps=[gap(old.replace(year=old.year - 1), old.replace(year=old.year - 1)), gap(new, new)])
    )
    await counted(world)
    await world.retention.delete_some(job.id, Limits(keep_runs=2))
    assert [each[0] for each in await world.gaps(job)] == [new]


async def test_sizes_are_of_what_is_kept(world: World) -> None:
    job, _ = await days_of(world, 3)
    empty = await world.job()
    one = success({"n": 0}).byte_size
    sizes = await world.figures.sizes()
    assert (sizes[job.id].runs, sizes[job.id].bytes) == (3, 3 * one)
    assert empty.id not in sizes
    await counted(world)
    await world.retention.delete_some(job.id, Limits(keep_runs=1))
    sizes = await world.figures.sizes()
    assert (sizes[job.id].runs, sizes[job.id].bytes) == (1, one)


async def test_what_was_deleted_is_told(world: World) -> None:
    job, runs = await days_of(world, 3)
    before = await world.run(runs[1])
    await counted(world)
    await world.retention.delete_some(job.id, Limits(keep_runs=1))
    (query,) = (await world.figures.figures(queries=100)).queries
    assert query.deleted_to == before.scheduled_at
    assert (query.stored_runs, query.stored_bytes) == (1, success({"n": 2}).byte_size)
    assert (await outcomes(world))[job.id, "success", ""] == 3


async def test_skipped_instants_count_by_their_reason(world: World) -> None:
    job = await world.job()
    instant = (await world.clock.now()).replace(microsecond=0)
    await world.plan(plan(planned(instant, skipped=SkipReason.MISFIRE)))
    assert await outcomes(world) == {(job.id, RunStatus.SKIPPED.value, "misfire"): 1}


# numbers of results


async def told(world: World) -> list[tuple[int, str, list[tuple[str, float]]]]:
    return [
        (each.query_id, each.params, [(value.row, value.number) for value in each.values])
        for each in await world.figures.exposed()
    ]


async def test_public_queries_tell_the_numbers_of_their_newest_success(world: World) -> None:
    job = await world.job(expose_metrics=True)
    await world.succeeded(await world.job(), {"n": 9})
    assert await told(world) == []
    await world.succeeded(job, {"n": 1}, {"n": 2})
    assert await told(world) == [(job.id, "", [("0", 1.0), ("1", 2.0)])]
    await world.advance(1)
    await world.succeeded(job, {"n": 5})
    await world.queue.fail((await world.running(job)).hold, failure(), retry_in_s=None)
    for _ in range(2):
        assert await told(world) == [(job.id, "", [("0", 5.0)])]
    hidden = replace(job.spec, expose_metrics=False, visibility=Visibility.RESTRICTED)
    await world.jobs.change(job, hidden, start_at=None, resume=False)
    assert await told(world) == []


async def test_each_parameter_set_tells_its_own(world: World) -> None:
    sets = [{"name": name, "values": {}} for name in ("us", "eu")]
    job = await world.job(expose_metrics=True, param_sets=sets)
    for name, number in (("eu", 1), ("us", 2)):
        await world.queue.request(job.id, params=name)
        await world.queue.succeed((await world.claim()).hold, success({"n": number}))
    assert await told(world) == [(job.id, "eu", [("0", 1.0)]), (job.id, "us", [("0", 2.0)])]


async def test_large_result_tells_its_first_rows(world: World) -> None:
    job = await world.job(expose_metrics=True)
    hold = (await world.running(job)).hold
    for seq, start in enumerate((0, 150)):
        await world.queue.stage(hold, seq, encoded([{"n": n} for n in range(start, start + 150)]))
    await world.queue.succeed(hold, success(rows=300, data=b"", chunks=2))
    ((one),) = await world.figures.exposed()
    assert [value.number for value in one.values] == [float(n) for n in range(len(one.values))]
    assert len(one.values) + one.rows_left_out == 300


async def test_audit_trail_is_kept_for_so_many_days(world: World) -> None:
    for number in range(3):
        await world.audit.record(Actor(name="ada"), done("session.create", str(number), "ada"))
        await world.advance(86_400)
    assert await world.retention.delete_events(9) == 0
    assert await world.retention.delete_events(2) == 1
    assert await world.retention.delete_events(2) == 0
    left, total = await world.audit.page(AuditFilter(), limit=10, offset=0)
    assert (total, [event.noun_id for event in left]) == (2, ["2", "1"])
