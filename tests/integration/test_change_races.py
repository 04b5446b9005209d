"""Changes of queries raced with what workers and planners do: two real connections, no deadlock, no loss."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from factories import failure, success
from http_fixtures import container_over

from pgsched.domain.audit import Actor
from pgsched.domain.errors import LeaseLost, NotFound
from pgsched.domain.planning import plan_due
from pgsched.entrypoints.container import Container, opened

BY = Actor(name="test")
SOURCE = {"name": "shop", "host": "localhost", "dbname": "shop", "username": "reader"}
ROUNDS = 25


@pytest.fixture
async def containers(database) -> AsyncIterator[tuple[Container, Container]]:
    """Two processes' worth of everything over one database, with a source."""
    one, other = container_over(database.conninfo), container_over(database.conninfo)
    async with opened(one), opened(other):
        await one.add_source()(SOURCE, BY)
        yield one, other


def job(**changes: object) -> dict[str, object]:
    given = {
        "name": "sales",
        "title": "Sales",
        "sql_text": "select 1 as n",
        "data_source": "shop",
        "schedule_type": "interval",
        "schedule_expr": "PT1S",
    }
    return given | changes


async def test_run_that_ends_while_its_query_is_deleted_is_stored_or_lost(containers, database) -> None:
    one, other = containers
    for number in range(ROUNDS):
        made = await one.add_job()(job(name=f"q{number}", enabled=False), BY)
        # an earlier failure: a worker that ends a run writes to the query too
        database.execute("update query_job set consecutive_failures = 1 where id = %s", [made.id])
        await one.queue().request(made.id)
        [claim] = await one.queue().claim(1, limit=1)

        async def ends(hold=claim.hold, number=number) -> None:
            try:
                if number % 2:
                    await other.queue().succeed(hold, success({"n": 1}))
                else:
                    await other.queue().fail(hold, failure(), retry_in_s=None)
            except LeaseLost:
                pass

        await asyncio.gather(ends(), one.remove_job()(made.id, BY, force=True))
        with pytest.raises(NotFound):
            await one.jobs().get(made.id)
    for table in ("query_run", "query_run_blob", "query_job"):
        assert database.execute(f"select count(*) from {table}") == [(0,)]


async def test_instants_due_before_a_change_have_their_outcome_and_none_has_two(containers, database) -> None:
    one, other = containers
    made = await one.add_job()(job(overlap_policy="queue_all", misfire_policy="all"), BY)
    ago = "update query_job set anchor_at = anchor_at - interval %s, next_run_at = next_run_at - interval %s"
    database.execute(ago.replace("%s", "'20 s'"))
    stop = asyncio.Event()

    async def plans() -> None:
        while not stop.is_set():
            await other.queue().plan_due(plan_due)

    planning = asyncio.create_task(plans())
    await one.change_job()(made.id, {"enabled": False}, BY)
    for number in range(ROUNDS):
        await one.change_job()(made.id, {"enabled": not number % 2, "title": f"Sales {number}"}, BY)
    await one.change_job()(made.id, {"enabled": False}, BY)
    stop.set()
    await planning
    anchored = await one.jobs().get(made.id)
    [(runs, instants, first)] = database.execute(
        "select count(*), count(distinct scheduled_at), min(scheduled_at) from query_run"
    )
    assert runs == instants >= 21
    assert first == anchored.anchor_at
    # the twenty seconds before the change, without a hole
    [(missing,)] = database.execute(
        "select count(*) from generate_series(0, 20) n where not exists (select from query_run"
        " where scheduled_at = (select anchor_at from query_job) + n * interval '1 s')"
    )
    assert missing == 0


async def test_source_is_not_deleted_under_a_query_that_comes(containers, database) -> None:
    one, other = containers
    for number in range(ROUNDS):
        await one.add_source()(SOURCE | {"name": f"s{number}"}, BY)
        added, removed = await asyncio.gather(
            one.add_job()(job(name=f"q{number}", data_source=f"s{number}"), BY),
            other.remove_source()(f"s{number}", BY),
            return_exceptions=True,
        )
        assert isinstance(added, Exception) != isinstance(removed, Exception)
    assert database.execute(
        "select count(*) from query_job j where not exists"
        " (select from data_source s where s.id = j.data_source_id)"
    ) == [(0,)]
