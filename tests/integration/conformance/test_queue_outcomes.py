"""The port ``RunQueue``: how runs end, and that only their holder can end them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from factories import SCHEMA, encoded, failure, success
from worlds import WORKER, World

from pgsched.application.ports.queue import RunQueue
from pgsched.domain.errors import LeaseLost, ResultRejected
from pgsched.domain.runs import LEASE_S, Hold, Run, RunStatus

End = Callable[[RunQueue, Hold], Awaitable[object]]
ENDS: dict[str, End] = {
    "stage": lambda queue, hold: queue.stage(hold, 0, b'{"n":1}'),
    "succeed": lambda queue, hold: queue.succeed(hold, success({"n": 1})),
    "fail": lambda queue, hold: queue.fail(hold, failure(), retry_in_s=None),
    "retry": lambda queue, hold: queue.fail(hold, failure(), retry_in_s=1),
    "cancelled": lambda queue, hold: queue.cancelled(hold),
}


async def document_of(world: World, run: Run) -> object:
    result = await world.document(await world.stored(run.id))
    return None if result is None else json.loads(result)


async def stage(world: World, hold: Hold, *chunks: list[dict]) -> None:
    for seq, rows in enumerate(chunks):
        await world.queue.stage(hold, seq, encoded(rows))


# success


async def test_success_stores_status_and_result_together(world: World) -> None:
    claim = await world.running()
    await world.advance(1.5)
    ended = await world.queue.succeed(claim.hold, success({"n": 1}, {"n": None}, truncated=True))
    assert (ended.status, ended.rows_returned, ended.truncated) == (RunStatus.SUCCESS, 2, True)
    assert (ended.error_code, ended.error_message, ended.duration_ms) == (None, None, 1500)
    assert ended.run_finished_at == await world.clock.now()
    assert ended.run_finished_at - ended.run_started_at == timedelta(seconds=1.5)
    assert ended == await world.run(ended.id)
    assert await document_of(world, ended) == {"schema": SCHEMA, "data": [{"n": 1}, {"n": None}]}
    assert await world.queue.status_of(ended.id) is RunStatus.SUCCESS


async def test_success_without_rows_has_a_result(world: World) -> None:
    ended = await world.succeeded(await world.job())
    assert ended.rows_returned == 0
    assert await document_of(world, ended) == {"schema": SCHEMA, "data": []}


async def test_successes_at_the_same_time_are_each_their_own(world: World) -> None:
    """Small, large and lost ones together: every run has its own result, and the lost one has none."""
    source = await world.source(max_concurrency=6)
    claims = [await world.running(await world.job(data_source_id=source.id)) for _ in range(6)]
    texts = ["plain", 'quo"ted \\ {brace} NULL', "☃ \t", "", "x" * 50_000, "lost"]
    results = [success({"n": text}) for text in texts]
    results[0] = replace(results[0], param_values={"day": 'a "day"', "none": None})
    lost = claims[5].hold
    claims[5] = replace(claims[5], hold=replace(lost, token=lost.token + 1))
    ended = await asyncio.gather(
        *(world.queue.succeed(claim.hold, result) for claim, result in zip(claims, results, strict=True)),
        return_exceptions=True,
    )
    assert isinstance(ended.pop(), LeaseLost)
    assert await world.queue.status_of(lost.run_id) is RunStatus.RUNNING
    assert [run.id for run in ended] == [claim.hold.run_id for claim in claims[:5]]
    assert [await document_of(world, run) for run in ended] == [
        {"schema": SCHEMA, "data": [{"n": text}]} for text in texts[:5]
    ]
    assert [run.param_values for run in ended] == [{"day": 'a "day"', "none": None}, None, None, None, None]
    assert [run for run in ended if run != await world.run(run.id)] == []


async def test_numbers_of_a_result_keep_their_digits(world: World) -> None:
    claim = await world.running()
    numbers = b'{"a":9007199254740993,"b":0.10000000000000000000000000000000000001,"c":1.50}'
    await world.queue.succeed(claim.hold, success(rows=1, data=numbers))
    result = await world.document(await world.stored(claim.hold.run_id))
    assert b"9007199254740993" in result
    assert b"0.10000000000000000000000000000000000001" in result
    assert b"1.50" in result


async def test_staged_chunks_are_read_as_one_document_in_order(world: World) -> None:
    claim = await world.running()
    await stage(world, claim.hold, [{"n": 1}, {"n": 2}], [{"n": 3}])
    for seq in range(2, 12):
        await world.queue.stage(claim.hold, seq, encoded([{"n": seq + 2}]))
    ended = await world.queue.succeed(claim.hold, success(rows=13, data=b"", chunks=12))
    assert ended.rows_returned == 13
    assert await document_of(world, ended) == {"schema": SCHEMA, "data": [{"n": n} for n in range(1, 14)]}


async def test_chunk_staged_twice_is_there_once(world: World) -> None:
    """An answer can be lost: whoever stages then asks again."""
    claim = await world.running()
    await stage(world, claim.hold, [{"n": 1}])
    await stage(world, claim.hold, [{"n": 1}])
    ended = await world.queue.succeed(claim.hold, success(rows=1, data=b"", chunks=1))
    assert await document_of(world, ended) == {"schema": SCHEMA, "data": [{"n": 1}]}


async def test_staged_chunks_are_unseen_until_the_run_succeeds(world: World) -> None:
    claim = await world.running()
    await stage(world, claim.hold, [{"n": 1}])
    assert not (await world.stored(claim.hold.run_id)).has_result


async def test_staged_chunks_of_a_lost_claim_never_show(world: World) -> None:
    lost = await world.running()
    await stage(world, lost.hold, [{"n": "stale"}], [{"n": "stale"}])
    await world.advance(LEASE_S)
    await world.queue.reap()
    claim = await world.claim()
    await stage(world, claim.hold, [{"n": "fresh"}])
    ended = await world.queue.succeed(claim.hold, success(rows=1, data=b"", chunks=1))
    assert await document_of(world, ended) == {"schema": SCHEMA, "data": [{"n": "fresh"}]}


async def test_staged_chunks_do_not_show_beside_a_result_in_one_piece(world: World) -> None:
    claim = await world.running()
    await stage(world, claim.hold, [{"n": "left over"}])
    ended = await world.queue.succeed(claim.hold, success({"n": 1}))
    assert await document_of(world, ended) == {"schema": SCHEMA, "data": [{"n": 1}]}


@pytest.mark.parametrize("data", [b'{"n":"\\u0000"}', b'{"n":"\\ud800"}', b'{"n":1e200000}', b'{"n":NaN}'])
async def test_result_that_cannot_be_held_is_rejected_and_nothing_changed(world: World, data: bytes) -> None:
    claim = await world.running()
    before = await world.run(claim.hold.run_id)
    with pytest.raises(ResultRejected):
        await world.queue.succeed(claim.hold, success(rows=1, data=data))
    with pytest.raises(ResultRejected):
        await world.queue.stage(claim.hold, 0, data)
    assert not (await world.stored(claim.hold.run_id)).has_result
    assert await world.run(claim.hold.run_id) == before
    ended = await world.queue.fail(claim.hold, failure(code="result_rejected"), retry_in_s=None)
    assert ended.error_code == "result_rejected"


# failure


async def test_final_failure_says_why(world: World) -> None:
    claim = await world.running()
    await world.advance(2)
    ended = await world.queue.fail(claim.hold, failure(code="query_failed", message="whole"), retry_in_s=None)
    assert (ended.status, ended.error_code, ended.error_message) == (RunStatus.ERROR, "query_failed", "whole")
    assert (ended.duration_ms, ended.rows_returned, ended.attempt) == (2000, None, 1)
    assert ended == await world.run(ended.id)
    assert not (await world.stored(ended.id)).has_result
    assert await world.queue.claim(WORKER, limit=9) == []


async def test_failure_text_may_hold_what_a_database_cannot(world: World) -> None:
    claim = await world.running()
    ended = await world.queue.fail(claim.hold, failure(message="a\x00b", public="\ud800"), retry_in_s=None)
    assert (ended.status, bool(ended.error_message)) == (RunStatus.ERROR, True)


async def test_failure_that_may_pass_waits_and_is_tried_again(world: World) -> None:
    claim = await world.running()
    waiting = await world.queue.fail(claim.hold, failure(), retry_in_s=5)
    assert (waiting.status, waiting.attempt) == (RunStatus.QUEUED, 1)
    assert (waiting.run_started_at, waiting.run_finished_at) == (None, None)
    await world.advance(4.999)
    assert await world.queue.claim(WORKER, limit=9) == []
    await world.advance(0.001)
    again = await world.claim()
    assert (again.hold.run_id, again.attempt) == (claim.hold.run_id, 2)
    assert again.hold.token > claim.hold.token
    ended = await world.queue.succeed(again.hold, success())
    assert (ended.status, ended.error_code, ended.error_message) == (RunStatus.SUCCESS, None, None)


async def test_final_failures_are_counted_and_a_success_starts_anew(world: World) -> None:
    job = await world.job()
    for expected in (1, 2):
        claim = await world.running(job)
        await world.queue.fail(claim.hold, failure(), retry_in_s=None)
        assert (await world.jobs.get(job.id)).consecutive_failures == expected
    waiting = await world.queue.fail((await world.running(job)).hold, failure(), retry_in_s=0)
    assert (await world.jobs.get(job.id)).consecutive_failures == 2
    assert (await world.queue.succeed((await world.claim()).hold, success())).id == waiting.id
    counted = await world.jobs.get(job.id)
    assert (counted.consecutive_failures, counted.paused_at) == (0, None)


async def test_query_pauses_after_so_many_failures_and_says_why(world: World) -> None:
    job = await world.job(pause_after_failures=2)
    for _ in range(2):
        assert (await world.jobs.get(job.id)).paused_at is None
        claim = await world.running(job)
        await world.queue.fail(claim.hold, failure(message="secret", public="no such table"), retry_in_s=None)
    paused = await world.jobs.get(job.id)
    assert paused.paused_at == await world.clock.now()
    assert "no such table" in str(paused.pause_reason)
    assert "secret" not in str(paused.pause_reason)


async def test_pause_keeps_its_time_and_reason(world: World) -> None:
    job = await world.job(pause_after_failures=1)
    await world.queue.fail((await world.running(job)).hold, failure(public="first"), retry_in_s=None)
    before = await world.jobs.get(job.id)
    await world.advance(1)
    await world.queue.fail((await world.running(job)).hold, failure(public="second"), retry_in_s=None)
    after = await world.jobs.get(job.id)
    assert (after.paused_at, after.pause_reason) == (before.paused_at, before.pause_reason)
    await world.succeeded(job)
    assert (await world.jobs.get(job.id)).paused_at == before.paused_at


async def test_paused_query_has_its_instants_recorded(world: World) -> None:
    job = await world.job(pause_after_failures=1)
    await world.queue.fail((await world.running(job)).hold, failure(), retry_in_s=None)
    done = await world.plan()
    assert (done.queued, done.recorded) == (0, 1)
    assert [run.error_code for run in await world.runs(job)] == ["paused", "query_failed"]


async def test_cancelled_run_is_over(world: World) -> None:
    claim = await world.running()
    ended = await world.queue.cancelled(claim.hold)
    assert (ended.status, ended.error_code) == (RunStatus.CANCELLED, "cancelled")
    assert ended.error_message
    assert ended.run_finished_at == await world.clock.now()
    assert (await world.jobs.get(claim.job.id)).consecutive_failures == 0


# whose it is


@pytest.mark.parametrize("end", ENDS)
async def test_stale_token_changes_nothing(world: World, end: str) -> None:
    stale = await world.running()
    await world.queue.hand_back([stale.hold])
    held = await world.claim()
    before = await world.stored(held.hold.run_id), await world.jobs.get(held.job.id)
    with pytest.raises(LeaseLost):
        await ENDS[end](world.queue, stale.hold)
    assert (await world.stored(held.hold.run_id), await world.jobs.get(held.job.id)) == before
    ended = await world.queue.succeed(held.hold, success({"n": "mine"}))
    assert await document_of(world, ended) == {"schema": SCHEMA, "data": [{"n": "mine"}]}


@pytest.mark.parametrize("end", ENDS)
async def test_right_token_after_its_lease_changes_nothing(world: World, end: str) -> None:
    claim = await world.running()
    await world.advance(LEASE_S)
    before = await world.stored(claim.hold.run_id)
    with pytest.raises(LeaseLost):
        await ENDS[end](world.queue, claim.hold)
    assert await world.stored(claim.hold.run_id) == before


@pytest.mark.parametrize("end", ENDS)
async def test_what_is_over_stays_as_it_is(world: World, end: str) -> None:
    claim = await world.running()
    await world.queue.succeed(claim.hold, success({"n": 1}))
    before = await world.stored(claim.hold.run_id)
    with pytest.raises(LeaseLost):
        await ENDS[end](world.queue, claim.hold)
    assert await world.stored(claim.hold.run_id) == before


@pytest.mark.parametrize("end", ENDS)
async def test_run_that_was_never_claimed_is_nobodys(world: World, end: str) -> None:
    run = await world.queue.request((await world.job()).id)
    with pytest.raises(LeaseLost):
        await ENDS[end](world.queue, Hold(run_id=run.id, token=0))
    assert await world.run(run.id) == run
