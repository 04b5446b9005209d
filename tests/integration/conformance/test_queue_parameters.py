"""The port ``RunQueue`` with queries that have parameter sets."""

from __future__ import annotations

import pytest
from factories import success
from worlds import WORKER, World

from pgsched.domain.audience import EVERYTHING
from pgsched.domain.errors import NotFound
from pgsched.domain.runs import RunStatus

SETS = {
    "parameters": [{"name": "n", "type": "int"}],
    "param_sets": {"one": {"n": 1}, "two": {"n": 2}},
}


async def test_each_set_has_instants_overlaps_and_results_of_its_own(world: World) -> None:
    job = await world.job(sql_text="select :n as n", **SETS)
    assert (await world.plan()).queued == 2
    claims = await world.queue.claim(WORKER, limit=9)
    assert {claim.params for claim in claims} == {"one", "two"}
    for claim in claims:
        await world.queue.succeed(claim.hold, success({"n": 1}, param_values={"n": claim.params}))
    for name in ("one", "two"):
        latest = (await world.run_view.latest(EVERYTHING, job.id, params=name)).run
        assert (latest.params, latest.param_values) == (name, {"n": name})
    assert (await world.plan()).queued == 0
    by_hand = await world.queue.request(job.id, params="two")
    assert by_hand.params == "two"
    assert (await world.queue.request(job.id)).params == "one"
    with pytest.raises(NotFound, match="parameter set three"):
        await world.queue.request(job.id, params="three")
    assert {run.status for run in await world.runs(job)} == {RunStatus.SUCCESS, RunStatus.QUEUED}


async def test_neighbours_can_be_those_of_one_set(world: World) -> None:
    job = await world.job(sql_text="select :n as n", enabled=False, **SETS)
    ones, twos = [], []
    for _ in range(2):
        for name, runs in (("one", ones), ("two", twos)):
            await world.advance(1)
            runs.append((await world.queue.request(job.id, params=name)).id)

    async def neighbour(run_id: int, **asked: object) -> int:
        return (await world.run_view.neighbour(EVERYTHING, job.id, run_id, **asked)).run.id

    assert await neighbour(ones[1], newer=False) == twos[0]
    assert await neighbour(ones[1], newer=False, params="one") == ones[0]
    assert await neighbour(ones[0], newer=True, params="one") == ones[1]
    assert await neighbour(ones[0], newer=True, params="two") == twos[0]
    with pytest.raises(NotFound):
        await neighbour(twos[1], newer=True, params="one")
