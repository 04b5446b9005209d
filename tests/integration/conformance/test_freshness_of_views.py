"""What the views say about how old a query's newest result is."""

from __future__ import annotations

from datetime import timedelta

import pytest
from worlds import World

from pgsched.domain.audience import EVERYTHING
from pgsched.domain.jobs import Visibility
from pgsched.domain.runs import RunStatus


async def test_card_says_how_old_the_newest_result_is(world: World) -> None:
    job = await world.job(fresh_for="PT1M", enabled=False)
    await world.succeeded(job)
    await world.advance(60)
    card = await world.query_view.card(EVERYTHING, job.id)
    assert (card.fresh_for, card.is_stale, card.age_s) == ("PT1M", False, 60)
    await world.advance(1)
    card = await world.query_view.card(EVERYTHING, job.id)
    assert (card.is_stale, card.age_s) == (True, 61)
    assert card.fresh_until == await world.clock.now() - timedelta(seconds=1)


async def test_query_that_never_ran_grows_stale(world: World) -> None:
    job = await world.job(fresh_for="PT1M", enabled=False)
    card = await world.query_view.card(EVERYTHING, job.id)
    assert card.age_s is None
    assert card.fresh_until == card.created_at + timedelta(minutes=1)


async def test_query_without_a_bound_is_never_stale(world: World) -> None:
    job = await world.job()
    await world.advance(10_000_000)
    card = await world.query_view.card(EVERYTHING, job.id)
    assert (card.fresh_for, card.fresh_until, card.is_stale) == (None, None, False)


async def test_latest_success_alone_tells_its_freshness(world: World) -> None:
    job = await world.job(fresh_for="PT1M", enabled=False)
    await world.succeeded(job)
    await world.advance(90)
    found = await world.run_view.latest(EVERYTHING, job.id)
    assert found.freshness is not None
    assert (found.freshness.age_s, found.freshness.is_stale) == (90, True)
    for status in (None, RunStatus.SUCCESS):
        stored = await world.run_view.latest(EVERYTHING, job.id, status=status)
        assert (stored.freshness is None) == (status is None)
    assert (await world.run_view.one(EVERYTHING, found.run.id)).freshness is None


@pytest.mark.parametrize("visibility", list(Visibility))
async def test_readiness_names_stale_queries_although_nothing_ran(
    world: World, visibility: Visibility
) -> None:
    # the real clock made them; the world's clock stands elsewhere and only moves on by hand
    job = await world.job(fresh_for="PT1S", visibility=visibility)
    await world.job(fresh_for="PT1S", enabled=False)
    await world.job()
    card = await world.query_view.card(EVERYTHING, job.id)
    lag = (card.created_at - await world.clock.now()).total_seconds()
    await world.advance(lag + 5)
    named = job.spec.name if visibility is Visibility.PUBLIC else str(job.id)
    assert (await world.health.readiness()).stale == (named,)
