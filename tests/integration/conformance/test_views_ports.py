"""The clauses of the ports ``QueryView`` and ``RunView``."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from factories import SCHEMA, failure, plan, planned, success
from worlds import World

from pgsched.application.ports.views import RunFilter, RunPage
from pgsched.domain.audience import EVERYTHING, Audience, anonymous
from pgsched.domain.errors import NotFound
from pgsched.domain.jobs import Job, Visibility
from pgsched.domain.runs import Run, RunStatus, SkipReason
from pgsched.domain.schedules import ScheduleType

PUBLIC = anonymous(public_read=True)
NOBODY = anonymous(public_read=False)
USERS = Audience(visibilities=frozenset({Visibility.PUBLIC, Visibility.USERS}))
MINUTE = timedelta(minutes=1)
UNKNOWN = [4711, 2**63, 0, -1, "nowhere", "", "a\x00b", "\ud800", "käse"]


async def history(world: World, job: Job) -> list[int]:
    """Seven runs, oldest first: four instants, the third of them skipped, then three by hand."""
    at = job.anchor_at
    await world.plan(
        plan(
            planned(at),
            planned(at - MINUTE, skipped=SkipReason.MISFIRE),
            planned(at - 2 * MINUTE),
            planned(at - 3 * MINUTE),
        )
    )
    await world.queue.succeed((await world.claim()).hold, success({"n": 1}))
    await world.queue.fail((await world.claim()).hold, failure(), retry_in_s=None)
    await world.queue.succeed((await world.claim()).hold, success({"n": 3}))
    await world.advance(60)
    await world.succeeded(job, {"n": 4})
    await world.advance(60)
    claim = await world.running(job)
    await world.queue.fail(claim.hold, failure(), retry_in_s=None)
    await world.queue.request(job.id)
    return [run.id for run in await world.runs(job)]


def ids(page: RunPage) -> list[int]:
    return [item.run.id for item in page.items]


async def two_at_one_instant(world: World, job: Job) -> list[Run]:
    return [await world.succeeded(job, {"n": 1}), await world.succeeded(job, {"n": 2})]


# queries


async def test_card_tells_what_a_dashboard_may_know(world: World) -> None:
    job = await world.job(
        name="orders",
        title="Orders",
        description="by hour",
        schedule_type=ScheduleType.CRON,
        schedule_expr="0 * * * *",
        timezone="Europe/Berlin",
    )
    card = await world.query_view.card(PUBLIC, "orders")
    assert (card.id, card.name, card.title, card.description) == (job.id, "orders", "Orders", "by hour")
    assert (card.schedule_type, card.schedule_expr) == ("cron", "0 * * * *")
    assert (card.timezone, card.enabled, card.visibility) == ("Europe/Berlin", True, Visibility.PUBLIC)
    assert (card.next_run_at, card.pause_reason, card.last_run) == (job.next_run_at, None, None)
    assert (card.created_at, card.updated_at) == (job.created_at, job.updated_at)
    assert card == await world.query_view.card(PUBLIC, job.id)


async def test_card_shows_the_newest_run_that_was_not_skipped(world: World) -> None:
    job = await world.job()
    at = job.anchor_at
    await world.plan(plan(planned(at - MINUTE), planned(at, skipped=SkipReason.OVERLAP)))
    assert (await world.query_view.card(PUBLIC, job.id)).last_run.scheduled_at == at - MINUTE
    claim = await world.claim()
    assert (await world.query_view.card(PUBLIC, job.id)).last_run.status is RunStatus.RUNNING
    await world.queue.fail(claim.hold, failure(message="whole", public="part"), retry_in_s=None)
    assert (await world.query_view.card(PUBLIC, job.id)).last_run.error_message == "part"
    assert (await world.query_view.card(EVERYTHING, job.id)).last_run.error_message == "whole"


async def test_card_says_why_a_query_is_paused(world: World) -> None:
    job = await world.job(pause_after_failures=1)
    await world.queue.fail((await world.running(job)).hold, failure(public="no table"), retry_in_s=None)
    assert "no table" in (await world.query_view.card(PUBLIC, job.id)).pause_reason


async def test_queries_come_by_name_in_pages_with_their_number(world: World) -> None:
    for name in ("b", "d", "a", "c"):
        await world.job(name=name)
    await world.job(name="hidden", visibility=Visibility.RESTRICTED)
    cards, total = await world.query_view.page(PUBLIC, limit=2, offset=1)
    assert ([card.name for card in cards], total) == (["b", "c"], 4)
    cards, total = await world.query_view.page(EVERYTHING, limit=50, offset=0)
    assert ([card.name for card in cards], total) == (["a", "b", "c", "d", "hidden"], 5)
    assert await world.query_view.page(PUBLIC, limit=2, offset=4) == ([], 4)
    assert await world.query_view.page(PUBLIC, limit=2, offset=10**30) == ([], 4)


@pytest.mark.parametrize("audience", [PUBLIC, USERS, NOBODY, EVERYTHING])
async def test_audience_sees_the_queries_of_its_visibilities_and_no_others(
    world: World, audience: Audience
) -> None:
    for visibility in Visibility:
        job = await world.job(name=visibility.value, visibility=visibility)
        run = await world.succeeded(job, {"n": 1})
        key = visibility.value
        reads = [
            lambda key=key: world.query_view.card(audience, key),
            lambda key=key: world.run_view.latest(audience, key),
            lambda key=key: world.run_view.page(audience, key, RunFilter()),
            lambda run=run: world.run_view.one(audience, run.id),
        ]
        for read in reads:
            if visibility in audience.visibilities:
                assert await read()
            else:
                with pytest.raises(NotFound):
                    await read()
        with pytest.raises(NotFound):
            await world.run_view.neighbour(audience, key, run.id, newer=True)
    cards, total = await world.query_view.page(audience, limit=50, offset=0)
    assert {card.visibility for card in cards} == audience.visibilities
    assert total == len(audience.visibilities)


@pytest.mark.parametrize("key", UNKNOWN)
async def test_unknown_query_is_not_found(world: World, key: str | int) -> None:
    run = await world.succeeded(await world.job(), {"n": 1})
    for read in (
        world.query_view.card(EVERYTHING, key),
        world.run_view.latest(EVERYTHING, key),
        world.run_view.page(EVERYTHING, key, RunFilter()),
        world.run_view.neighbour(EVERYTHING, key, run.id, newer=False),
    ):
        with pytest.raises(NotFound) as caught:
            await read
        assert caught.value.noun == "query"


# one run


async def test_run_comes_with_its_result(world: World) -> None:
    run = await world.succeeded(await world.job(), {"n": 1})
    stored = await world.run_view.one(PUBLIC, run.id)
    assert stored.run == run
    assert json.loads(stored.result) == {"schema": SCHEMA, "data": [{"n": 1}]}


async def test_run_without_a_result_has_none(world: World) -> None:
    claim = await world.running()
    assert (await world.run_view.one(PUBLIC, claim.hold.run_id)).result is None


@pytest.mark.parametrize("run_id", [4711, 2**63, 0, -1])
async def test_unknown_run_is_not_found(world: World, run_id: int) -> None:
    job = await world.job()
    await world.succeeded(job, {"n": 1})
    for read in (
        world.run_view.one(EVERYTHING, run_id),
        world.run_view.page(EVERYTHING, job.id, RunFilter(before=run_id)),
        world.run_view.page(EVERYTHING, job.id, RunFilter(after=run_id)),
        world.run_view.neighbour(EVERYTHING, job.id, run_id, newer=True),
    ):
        with pytest.raises(NotFound):
            await read


async def test_error_is_whole_for_those_who_may_read_it_whole(world: World) -> None:
    job = await world.job()
    claim = await world.running(job)
    await world.queue.fail(claim.hold, failure(message="whole", public="part"), retry_in_s=None)
    run_id = claim.hold.run_id
    for audience, message in ((EVERYTHING, "whole"), (PUBLIC, "part")):
        view = world.run_view
        assert (await view.one(audience, run_id)).run.error_message == message
        assert (await view.latest(audience, job.id, status=None)).run.error_message == message
        [item] = (await view.page(audience, job.id, RunFilter())).items
        assert item.run.error_message == message


async def test_messages_of_the_program_itself_are_for_everyone(world: World) -> None:
    job = await world.job()
    await world.plan(plan(planned(job.anchor_at, skipped=SkipReason.MISFIRE)))
    await world.queue.request_cancel((await world.queue.request(job.id)).id)
    whole = await world.runs(job)
    public = [(await world.run_view.one(PUBLIC, run.id)).run for run in whole]
    assert public == whole
    assert all(run.error_message for run in public)


# latest


async def test_latest_is_the_highest_success(world: World) -> None:
    job = await world.job()
    runs = await history(world, job)
    latest = await world.run_view.latest(PUBLIC, job.spec.name)
    assert latest.run.id == runs[4]
    assert json.loads(latest.result)["data"] == [{"n": 4}]


async def test_latest_tells_a_query_without_such_a_run_from_none_that_may_be_seen(world: World) -> None:
    shown, hidden = await world.job(), await world.job(visibility=Visibility.RESTRICTED)
    for job, noun in ((shown, "success run of query"), (hidden, "query")):
        with pytest.raises(NotFound) as caught:
            await world.run_view.latest(PUBLIC, job.spec.name)
        assert caught.value.noun == noun


async def test_latest_of_another_status(world: World) -> None:
    job = await world.job()
    runs = await history(world, job)
    found = {
        status: (await world.run_view.latest(PUBLIC, job.id, status=status)).run.id
        for status in (None, RunStatus.ERROR, RunStatus.SKIPPED, RunStatus.QUEUED)
    }
    assert found == {
        None: runs[6],
        RunStatus.ERROR: runs[5],
        RunStatus.SKIPPED: runs[2],
        RunStatus.QUEUED: runs[6],
    }
    assert (await world.run_view.latest(PUBLIC, job.id, status=None)).result is None
    with pytest.raises(NotFound):
        await world.run_view.latest(PUBLIC, job.id, status=RunStatus.CANCELLED)


async def test_latest_of_two_at_one_instant_is_the_one_with_the_higher_id(world: World) -> None:
    job = await world.job()
    runs = await two_at_one_instant(world, job)
    assert runs[0].scheduled_at == runs[1].scheduled_at
    assert (await world.run_view.latest(PUBLIC, job.id)).run.id == max(run.id for run in runs)


async def test_latest_of_a_query_without_runs_is_not_found(world: World) -> None:
    job = await world.job()
    for status in (None, RunStatus.SUCCESS):
        with pytest.raises(NotFound):
            await world.run_view.latest(PUBLIC, job.id, status=status)


# pages


async def test_page_is_newest_first_by_instant_then_id(world: World) -> None:
    job = await world.job()
    await history(world, job)
    page = await world.run_view.page(PUBLIC, job.id, RunFilter())
    places = [(item.run.scheduled_at, item.run.id) for item in page.items]
    assert places == sorted(places, reverse=True)
    assert len(places) == 7
    assert (page.next_before, page.prev_after) == (None, None)


async def test_pages_older_and_older_hold_every_run_once(world: World) -> None:
    job = await world.job()
    runs = await history(world, job)
    seen, before = [], None
    while True:
        page = await world.run_view.page(PUBLIC, job.id, RunFilter(limit=2, before=before))
        assert page.prev_after == (None if before is None else ids(page)[0])
        seen += ids(page)
        before = page.next_before
        if before is None:
            break
        assert before == seen[-1]
    assert seen == runs[::-1]


async def test_pages_newer_and_newer_are_the_nearest_ones(world: World) -> None:
    job = await world.job()
    runs = await history(world, job)
    page = await world.run_view.page(PUBLIC, job.id, RunFilter(limit=2, after=runs[0]))
    assert ids(page) == [runs[2], runs[1]]
    assert (page.next_before, page.prev_after) == (runs[1], runs[2])
    page = await world.run_view.page(PUBLIC, job.id, RunFilter(limit=9, after=runs[2]))
    assert ids(page) == runs[:2:-1]
    assert (page.next_before, page.prev_after) == (runs[3], None)


async def test_page_between_two_runs_excludes_both(world: World) -> None:
    job = await world.job()
    runs = await history(world, job)
    page = await world.run_view.page(PUBLIC, job.id, RunFilter(before=runs[5], after=runs[1]))
    assert ids(page) == [runs[4], runs[3], runs[2]]


async def test_page_of_runs_at_one_instant_goes_by_id(world: World) -> None:
    job = await world.job()
    lower, higher = sorted(run.id for run in await two_at_one_instant(world, job))
    assert ids(await world.run_view.page(PUBLIC, job.id, RunFilter(before=higher))) == [lower]
    assert ids(await world.run_view.page(PUBLIC, job.id, RunFilter(after=lower))) == [higher]
    assert ids(await world.run_view.page(PUBLIC, job.id, RunFilter(before=lower))) == []


async def test_page_from_start_inclusive_to_end_exclusive(world: World) -> None:
    job = await world.job()
    runs = await history(world, job)
    at = job.anchor_at

    async def between(start: datetime | None, end: datetime | None) -> list[int]:
        return ids(await world.run_view.page(PUBLIC, job.id, RunFilter(start=start, end=end)))

    assert await between(at - 2 * MINUTE, at) == [runs[2], runs[1]]
    assert await between(at, None) == runs[:2:-1]
    assert await between(None, at - 2 * MINUTE) == [runs[0]]
    assert await between(at, at) == []


async def test_page_of_one_status_points_within_that_status(world: World) -> None:
    job = await world.job()
    runs = await history(world, job)
    page = await world.run_view.page(PUBLIC, job.id, RunFilter(status=RunStatus.SUCCESS, limit=2))
    assert ids(page) == [runs[4], runs[3]]
    assert (page.next_before, page.prev_after) == (runs[3], None)
    page = await world.run_view.page(PUBLIC, job.id, RunFilter(status=RunStatus.SUCCESS, before=runs[3]))
    assert ids(page) == [runs[0]]
    assert (page.next_before, page.prev_after) == (None, runs[0])


async def test_edge_of_a_page_need_not_have_the_status(world: World) -> None:
    job = await world.job()
    runs = await history(world, job)
    page = await world.run_view.page(PUBLIC, job.id, RunFilter(status=RunStatus.ERROR, before=runs[3]))
    assert ids(page) == [runs[1]]


async def test_pages_point_within_start_and_end(world: World) -> None:
    job = await world.job()
    runs = await history(world, job)
    wanted = RunFilter(start=job.anchor_at - MINUTE, end=job.anchor_at + MINUTE)
    page = await world.run_view.page(PUBLIC, job.id, wanted)
    assert ids(page) == [runs[3], runs[2]]
    assert (page.next_before, page.prev_after) == (None, None)


async def test_page_carries_results_only_when_asked(world: World) -> None:
    job = await world.job()
    await history(world, job)
    bare = await world.run_view.page(PUBLIC, job.id, RunFilter())
    assert {item.result for item in bare.items} == {None}
    full = await world.run_view.page(PUBLIC, job.id, RunFilter(), with_result=True)
    data = [item.result and json.loads(item.result)["data"] for item in full.items]
    assert data == [None, None, [{"n": 4}], [{"n": 3}], None, None, [{"n": 1}]]
    assert [item.run for item in full.items] == [item.run for item in bare.items]


async def test_page_of_a_query_without_runs_is_empty(world: World) -> None:
    page = await world.run_view.page(PUBLIC, (await world.job()).id, RunFilter())
    assert (list(page.items), page.next_before, page.prev_after) == ([], None, None)


async def test_page_begins_at_no_run_of_another_query(world: World) -> None:
    job, other = await world.job(), await world.job()
    run = await world.succeeded(other)
    for wanted in (RunFilter(before=run.id), RunFilter(after=run.id)):
        with pytest.raises(NotFound):
            await world.run_view.page(EVERYTHING, job.id, wanted)


# neighbours


async def test_neighbours_are_of_any_status_with_their_result(world: World) -> None:
    job = await world.job()
    runs = await history(world, job)
    for older, newer in pairwise(runs):
        above = await world.run_view.neighbour(PUBLIC, job.spec.name, older, newer=True)
        below = await world.run_view.neighbour(PUBLIC, job.id, newer, newer=False)
        assert (above.run.id, below.run.id) == (newer, older)
        assert above == await world.run_view.one(PUBLIC, newer)


async def test_neighbour_beyond_the_ends_is_not_found(world: World) -> None:
    job = await world.job()
    runs = await history(world, job)
    for run_id, newer in ((runs[0], False), (runs[-1], True)):
        with pytest.raises(NotFound):
            await world.run_view.neighbour(PUBLIC, job.id, run_id, newer=newer)


async def test_neighbour_of_a_run_of_another_query_is_not_found(world: World) -> None:
    job, other = await world.job(), await world.job()
    await two_at_one_instant(world, job)
    run = (await two_at_one_instant(world, other))[0]
    with pytest.raises(NotFound):
        await world.run_view.neighbour(EVERYTHING, job.id, run.id, newer=True)


async def test_neighbours_at_one_instant_go_by_id(world: World) -> None:
    job = await world.job()
    lower, higher = sorted(run.id for run in await two_at_one_instant(world, job))
    assert (await world.run_view.neighbour(PUBLIC, job.id, lower, newer=True)).run.id == higher
    assert (await world.run_view.neighbour(PUBLIC, job.id, higher, newer=False)).run.id == lower
