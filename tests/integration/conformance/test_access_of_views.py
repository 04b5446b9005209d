"""Who sees which queries, runs and rows: the views say what ``access_to`` decides, whatever the grants."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from random import Random

import pytest
from factories import SCHEMA, encoded, success
from worlds import World

from pgsched.application.ports.views import RunFilter
from pgsched.domain.audience import EVERYTHING, Audience, Grant, access_to
from pgsched.domain.errors import NotFound
from pgsched.domain.jobs import Job, Visibility
from pgsched.domain.row_filters import shows

USERS = frozenset({Visibility.PUBLIC, Visibility.USERS})
FIRST = Audience(visibilities=USERS, user_id=1)
#: every kind of JSON value, and those that are easily taken for one another
VALUES = [
    None,
    True,
    False,
    0,
    1,
    Decimal("1.0"),
    Decimal("0.1"),
    Decimal("0.10000000000000000001"),
    9007199254740992,
    9007199254740993,
    10**25,
    "",
    "1",
    "null",
    "east",
    "käse 🧀",
]
#: as a filter holds them
WANTED = [*VALUES, 1.0, 0.1]
ROWS = [{"a": a, "b": b} for a in VALUES for b in (None, 1, "east")]
#: no scalar, equal to no filter's value
ODD = [{"a": [1], "b": {"x": 1}}, {"a": {}, "b": [[]]}]


def text(row: dict) -> str:
    """A row as JSON with its digits."""
    return (
        json.dumps(row, default=lambda number: f"\0{number}\0")
        .replace('"\\u0000', "")
        .replace('\\u0000"', "")
    )


def rows_of(result: bytes) -> list[dict]:
    return json.loads(result, parse_float=Decimal)["data"]


async def stored(world: World, job: Job, rows: list[dict], *, chunks: int = 0) -> int:
    """A success with these rows, in one document or in chunks; its id."""
    hold = (await world.running(job)).hold
    texts = [text(row).encode() for row in rows]
    size = -(-len(texts) // chunks) if chunks else 0
    for seq in range(chunks):
        await world.queue.stage(hold, seq, b",".join(texts[seq * size : (seq + 1) * size]))
    data = b"" if chunks else b",".join(texts)
    await world.queue.succeed(
        hold, success(rows=len(rows), data=data, chunks=chunks, byte_size=len(b",".join(texts)))
    )
    return hold.run_id


def some_grants(random: Random) -> list[Grant]:
    grantees = [
        *({"user_id": n} for n in (1, 2)),
        *({"role": n} for n in ("viewer", "tenant")),
        *({"token_id": n} for n in (11, 12)),
    ]
    return [
        Grant(**grantee, row_filter=some_filter(random))
        for grantee in random.sample(grantees, random.randint(0, 4))
    ]


def some_filter(random: Random) -> dict | None:
    if random.random() < 0.25:
        return None
    columns = random.sample(["a", "b", "missing"], random.choice([0, 1, 1, 1, 2, 2, 3]))
    return {column: tuple(random.sample(WANTED, random.randint(0, 5))) for column in columns}


def some_audience(random: Random, ids: list[int]) -> Audience:
    return Audience(
        visibilities=random.choice(
            [frozenset(), frozenset({Visibility.PUBLIC}), USERS, frozenset(Visibility)]
        ),
        user_id=random.choice([None, 1, 2, 3]),
        roles=frozenset(random.sample(["viewer", "tenant", "other"], random.randint(0, 3))),
        queries=random.choice([None, None, frozenset(random.sample(ids, random.randint(0, len(ids))))]),
        token_id=random.choice([None, 11, 12, 13]),
    )


@pytest.mark.parametrize("seed", range(3))
async def test_views_show_what_is_decided_and_nothing_else(world: World, seed: int) -> None:
    random = Random(seed)
    jobs: list[Job] = []
    grants: dict[int, list[Grant]] = {}
    runs: dict[int, list[int]] = {}
    rows = [*ROWS, *ODD]
    for number in range(8):
        visibility = Visibility.RESTRICTED if number < 5 else random.choice(list(Visibility))
        job = await world.job(visibility=visibility)
        jobs.append(job)
        grants[job.id] = some_grants(random)
        for grant in grants[job.id]:
            await world.grant(job, grant)
        runs[job.id] = [await stored(world, job, rows, chunks=chunks) for chunks in (0, 3)]
    for _ in range(25):
        audience = some_audience(random, [job.id for job in jobs])
        access = {
            job.id: access_to(
                audience, query_id=job.id, visibility=job.spec.visibility, grants=grants[job.id]
            )
            for job in jobs
        }
        visible = [job for job in jobs if access[job.id].visible]
        cards, total = await world.query_view.page(audience, limit=50, offset=0)
        assert ({card.id for card in cards}, total) == ({job.id for job in visible}, len(visible))
        counts = {card.id: card.last_run.rows_returned for card in cards}
        for job in jobs:
            older = runs[job.id][0]
            view = world.run_view
            reads = [
                world.query_view.card(audience, job.id),
                view.latest(audience, job.spec.name),
                view.one(audience, older),
                view.neighbour(audience, job.id, older, newer=True),
                view.page(audience, job.id, RunFilter()),
                view.page(audience, job.id, RunFilter(), with_result=True),
            ]
            if job not in visible:
                for read in reads:
                    with pytest.raises(NotFound):
                        await read
                continue
            card, latest, one, neighbour, bare, full = [await read for read in reads]
            filters = access[job.id].rows
            shown = rows if filters is None else [row for row in rows if shows(filters, row)]
            for found in (latest, one, neighbour, *full.items):
                assert rows_of(await world.document(found)) == shown, filters
                assert found.run.rows_returned == len(shown)
                assert (found.rows is None) == (filters is None)
            assert [item.run for item in bare.items] == [item.run for item in full.items]
            assert counts[job.id] == card.last_run.rows_returned == len(shown)


async def test_digits_of_the_rows_shown_are_kept(world: World) -> None:
    job = await world.job(visibility=Visibility.RESTRICTED)
    await world.grant(job, Grant(user_id=1, row_filter={"n": (1,)}))
    for chunks in (0, 2):
        hold = (await world.running(job)).hold
        rows = b'{"n": 1.00, "x": 0.10000000000000000000000001}', b'{"n": 2, "x": 12345678901234567890.50}'
        for seq in range(chunks):
            await world.queue.stage(hold, seq, rows[seq])
        data = b"" if chunks else b",".join(rows)
        run = await world.queue.succeed(hold, success(rows=2, data=data, chunks=chunks))
        found = await world.run_view.one(FIRST, run.id)
        document = await world.document(found)
        assert b'"n": 1.00' in document
        assert b'"x": 0.10000000000000000000000001' in document
        assert b"12345678901234567890" not in document
        assert found.run == replace(run, rows_returned=1)


async def test_order_of_the_rows_shown_is_kept(world: World) -> None:
    job = await world.job(visibility=Visibility.RESTRICTED)
    await world.grant(job, Grant(user_id=1, row_filter={"a": (1,)}))
    rows = [{"a": n % 2, "b": n} for n in range(60)]
    for chunks in (0, 4):
        run_id = await stored(world, job, rows, chunks=chunks)
        found = await world.run_view.one(FIRST, run_id)
        assert [row["b"] for row in rows_of(await world.document(found))] == list(range(1, 60, 2))


async def test_grant_counts_for_runs_that_have_no_rows(world: World) -> None:
    job = await world.job(visibility=Visibility.RESTRICTED)
    await world.grant(job, Grant(user_id=1, row_filter={"n": (1,)}))
    run = await world.queue.request(job.id)
    assert (await world.run_view.one(FIRST, run.id)).run == run
    claim = await world.claim()
    await world.queue.succeed(claim.hold, success())
    found = await world.run_view.one(FIRST, run.id)
    assert (rows_of(await world.document(found)), found.run.rows_returned) == ([], 0)


async def test_hostile_columns_and_values_are_only_compared(world: World) -> None:
    job = await world.job(visibility=Visibility.RESTRICTED)
    odd = "a'] || (select 1) -- \" %s %(x)s {0} \\"
    await world.grant(job, Grant(user_id=1, row_filter={odd: (odd,)}))
    hold = (await world.running(job)).hold
    await world.queue.succeed(hold, success(rows=2, data=encoded([{odd: odd}, {odd: "x"}])))
    shown = await world.document(await world.run_view.latest(FIRST, job.id))
    whole = await world.document(await world.run_view.latest(EVERYTHING, job.id))
    assert (rows_of(shown), len(rows_of(whole))) == ([{odd: odd}], 2)


@pytest.mark.parametrize("chunks", [0, 1, 4])
@pytest.mark.parametrize("filters", [None, {"a": (1,)}])
async def test_page_of_rows_is_a_slice_of_those_shown(
    world: World, chunks: int, filters: dict | None
) -> None:
    job = await world.job(visibility=Visibility.RESTRICTED)
    await world.grant(job, Grant(user_id=1, row_filter=filters))
    rows = [{"a": n % 2, "b": n} for n in range(30)]
    run_id = await stored(world, job, rows, chunks=chunks)
    shown = [row["b"] for row in rows if filters is None or row["a"] == 1]
    found = await world.run_view.one(FIRST, run_id, whole=False)
    assert (found.result, json.loads(found.table_schema)) == (None, SCHEMA)
    for offset in (0, 1, 7, 8, 14, 29, 30, 99, 2**62):
        for limit in (None, 0, 1, 7, 8, 9, 16, 25, 29, 30, 2**62):
            arrays = [
                json.loads(part) async for part in world.run_view.rows(found, offset=offset, limit=limit)
            ]
            got = [row["b"] for array in arrays for row in array]
            assert got == shown[offset:][:limit], (offset, limit)


async def test_rows_of_a_run_without_a_result_are_not_found(world: World) -> None:
    run = await world.queue.request((await world.job()).id)
    found = await world.run_view.one(EVERYTHING, run.id)
    assert not found.has_result
    with pytest.raises(NotFound):
        [part async for part in world.run_view.rows(found)]


async def test_result_comes_whole_when_it_is_one_document_and_asked_for(world: World) -> None:
    job = await world.job()
    small, large = [await stored(world, job, [{"n": 1}], chunks=chunks) for chunks in (0, 1)]
    for run_id, whole in ((small, True), (small, False), (large, True)):
        for found in (
            await world.run_view.one(EVERYTHING, run_id, whole=whole),
            await world.run_view.neighbour(
                EVERYTHING, job.id, small + large - run_id, newer=run_id == large, whole=whole
            ),
        ):
            assert found.has_result
            assert (found.result is not None) == (run_id == small and whole)
            assert (found.table_schema is None) == (run_id == small and whole)
            assert rows_of(await world.document(found)) == [{"n": 1}]
    assert (await world.run_view.latest(EVERYTHING, job.id)).table_schema is not None


async def test_page_of_runs_holds_results_up_to_a_bound_and_the_others_by_their_rows(world: World) -> None:
    job = await world.job()
    text = "x" * 1_500_000
    ids = [await stored(world, job, [{"n": text, "id": n}]) for n in range(4)]
    page = await world.run_view.page(EVERYTHING, job.id, RunFilter(), with_result=True)
    assert [item.run.id for item in page.items] == ids[::-1]
    assert [item.result is None for item in page.items] == [False, False, True, True]
    for item, number in zip(page.items, (3, 2, 1, 0), strict=True):
        [row] = rows_of(await world.document(item))
        assert row["id"] == number
