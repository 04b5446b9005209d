"""The port to a query's past: what changed about a schedule, and what stands in the record."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from factories import failure, gap, plan, success, worker_info
from worlds import World

from pgsched.application.ledger import ExplainInstants
from pgsched.domain.errors import InvalidInput, NotFound
from pgsched.domain.ledger import Fate


async def test_new_query_begins_with_one_phase(world: World) -> None:
    job = await world.job(schedule_expr="PT1M")
    past = await world.ledger.past(job.spec.name)
    (phase,) = past.phases
    assert (past.query_id, past.name, past.next_run_at) == (job.id, job.spec.name, job.anchor_at)
    assert (phase.schedule, phase.enabled, phase.pause_reason) == (job.schedule, True, None)
    assert phase.first_at == job.anchor_at
    assert past.now == await world.clock.now()


async def test_planning_begins_no_phase(world: World) -> None:
    job = await world.job(schedule_expr="PT1M")
    for _ in range(3):
        await world.plan()
        await world.advance(60)
    assert len((await world.ledger.past(job.id)).phases) == 1


async def test_pause_begins_a_phase_with_its_reason(world: World) -> None:
    job = await world.job(schedule_expr="PT1M", pause_after_failures=1)
    await world.plan()
    claim = await world.claim()
    await world.advance(5)
    await world.queue.fail(claim.hold, failure(public="no"), retry_in_s=None)
    past = await world.ledger.past(job.id)
    assert [phase.pause_reason for phase in past.phases] == [None, "1 failures in a row, the last: no"]
    assert past.phases[1].since == past.now


async def test_rows_are_those_of_the_range_oldest_first(world: World) -> None:
    job = await world.job(schedule_expr="PT1M", overlap_policy="queue_all")
    for _ in range(5):
        await world.plan()
        await world.advance(60)
    await world.queue.request(job.id)
    minute = timedelta(minutes=1)
    rows, gaps = await world.ledger.rows(job.id, job.anchor_at + minute, job.anchor_at + 4 * minute, limit=10)
    assert [row.run.scheduled_at for row in rows] == [job.anchor_at + n * minute for n in (1, 2, 3)]
    assert not gaps
    rows, _ = await world.ledger.rows(job.id, job.anchor_at, job.anchor_at + 10 * minute, limit=2)
    assert [row.run.scheduled_at for row in rows] == [job.anchor_at, job.anchor_at + minute]


async def test_gaps_are_those_that_reach_into_the_range(world: World) -> None:
    job = await world.job(schedule_expr="PT1M")
    hour = timedelta(hours=1)
    await world.plan(plan(gaps=(gap(job.anchor_at, job.anchor_at + 2 * hour),)))
    for start, end, count in ((-2, 0, 0), (-1, 1, 1), (1, 2, 1), (2, 3, 1), (3, 4, 0)):
        _, gaps = await world.ledger.rows(
            job.id, job.anchor_at + start * hour, job.anchor_at + end * hour, limit=1
        )
        assert len(gaps) == count, (start, end)


async def test_workers_are_known_by_when_they_were_there(world: World) -> None:
    job = await world.job()
    async with world.workers.enlist(worker_info()):
        past = await world.ledger.past(job.id)
        assert any(since <= past.now <= until for since, until in past.attended)
    await world.advance(60)
    past = await world.ledger.past(job.id)
    assert not any(since <= past.now <= until for since, until in past.attended)


@pytest.mark.parametrize("key", ["nothing", 4711, -1])
async def test_unknown_query_is_not_found(world: World, key: str | int) -> None:
    with pytest.raises(NotFound):
        await world.ledger.past(key)


async def test_why_explains_the_last_instant_and_names_the_next(world: World) -> None:
    job = await world.job(schedule_expr="PT1M")
    explain = ExplainInstants(world.ledger)
    assert (await explain.why(job.id)).entry.outcome is Fate.DUE
    await world.plan()
    answer = await explain.why(job.id, job.anchor_at + timedelta(seconds=30))
    assert (answer.entry.at, answer.entry.outcome) == (job.anchor_at, Fate.WAITING)
    assert answer.following == job.anchor_at + timedelta(minutes=1)
    assert (await explain.why(job.id, answer.following)).entry.outcome is Fate.NOT_DUE
    assert (await explain.why(job.id, job.anchor_at - timedelta(days=1))).entry.outcome is Fate.BEFORE


async def test_ledger_tells_a_missed_night(world: World) -> None:
    """The fleet was away for two hours: what was missed is told, and the newest instant ran."""
    job = await world.job(schedule_expr="PT10M")
    await world.advance(7200)
    await world.plan()
    explain = ExplainInstants(world.ledger)
    end = job.anchor_at + timedelta(hours=3)
    first = await explain.ledger(job.id, job.anchor_at, end, limit=10)
    assert [entry.outcome for entry in first.items] == [Fate.MISSED] * 10
    assert first.next_start is not None
    rest = await explain.ledger(job.id, first.next_start, end, limit=10)
    fates = [entry.outcome for entry in rest.items]
    assert fates == [Fate.MISSED, Fate.MISSED, Fate.WAITING, *[Fate.NOT_DUE] * 5]
    assert rest.next_start is None
    with pytest.raises(InvalidInput):
        await explain.ledger(job.id, end, end, limit=10)


SETS = {
    "parameters": [{"name": "n", "type": "int"}],
    "param_sets": {"one": {"n": 1}, "two": {"n": 2}},
}


async def test_each_parameter_set_has_an_outcome_of_its_own(world: World) -> None:
    job = await world.job(schedule_expr="PT1H", sql_text="select :n as n", **SETS)
    explain = ExplainInstants(world.ledger)
    await world.plan()
    claim = await world.claim()
    await world.queue.succeed(claim.hold, success({"n": 1}))
    failed = "two" if claim.params == "one" else "one"
    other = await world.claim()
    await world.queue.fail(other.hold, failure(), retry_in_s=None)
    wanted = {claim.params: Fate.RAN, failed: Fate.FAILED}
    answer = await explain.why(job.id)
    assert {entry.params: entry.outcome for entry in answer.sets} == wanted
    for name, fate in wanted.items():
        answer = await explain.why(job.id, params=name)
        assert [(entry.params, entry.outcome) for entry in answer.sets] == [(name, fate)]
        end = job.anchor_at + timedelta(hours=2)
        told = await explain.ledger(job.id, job.anchor_at, end, limit=9, params=name)
        assert [(entry.params, entry.outcome) for entry in told.items] == [(name, fate), (name, Fate.NOT_DUE)]
    for asked in (explain.why(job.id, params="three"), explain.ledger(job.id, limit=1, params="three")):
        with pytest.raises(NotFound, match="parameter set three"):
            await asked


async def test_gaps_are_each_sets_own(world: World) -> None:
    job = await world.job(schedule_expr="PT1M", sql_text="select :n as n", **SETS)
    end = job.anchor_at + timedelta(hours=2)
    await world.plan(plan(gaps=(gap(job.anchor_at, end),)))
    _, gaps = await world.ledger.rows(job.id, job.anchor_at, end, limit=1)
    assert [each.params for each in gaps] == ["one", "two"]
    _, gaps = await world.ledger.rows(job.id, job.anchor_at, end, limit=1, params="two")
    assert [each.params for each in gaps] == ["two"]
    told = await ExplainInstants(world.ledger).ledger(job.id, job.anchor_at, end, limit=5)
    assert [(entry.params, entry.outcome) for entry in told.items] == [
        ("one", Fate.MISSED),
        ("two", Fate.MISSED),
    ] * 2


async def test_sets_that_come_and_go_begin_phases(world: World) -> None:
    job = await world.job(schedule_expr="PT1H", sql_text="select :n as n", **SETS)
    other_values = replace(job.spec, param_sets={"one": {"n": 5}, "two": {"n": 2}})
    job = await world.jobs.change(job, other_values)
    await world.advance(5)
    job = await world.jobs.change(job, replace(job.spec, param_sets={"two": {"n": 2}, "three": {"n": 3}}))
    past = await world.ledger.past(job.id)
    assert [phase.sets for phase in past.phases] == [("one", "two"), ("two", "three")]
    assert (await world.ledger.past((await world.job()).id)).phases[0].sets == ("",)
