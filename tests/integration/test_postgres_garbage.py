"""What was sent or refused is let go at once: the worker looks for garbage seldom, results may be large."""

from __future__ import annotations

import asyncio
import gc
import sys

import pytest
from factories import success
from processes import eventually
from test_postgres_pipeline import held

from pgsched.adapters.postgres import runs
from pgsched.adapters.postgres.finishing import LARGE_BYTES, SMALL_BYTES
from pgsched.domain.errors import ResultRejected


@pytest.fixture(autouse=True)
def without_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def refused(size: int) -> bytes:
    """Rows that jsonb refuses, about so large."""
    return b'{"a":"\\u0000%b"}' % (b"x" * size)


@pytest.mark.parametrize("size", [10, SMALL_BYTES + 1, LARGE_BYTES + 1])
async def test_results_that_are_refused_are_let_go(database, size):
    async with held(database, 3) as (queue, holds):
        data = refused(size)
        unused = sys.getrefcount(data)
        ends = await asyncio.gather(
            *(queue.succeed(hold, success(data=data)) for hold in holds), return_exceptions=True
        )
        assert {type(end) for end in ends} == {ResultRejected}
        del ends
        # the task that recorded them ends
        await asyncio.sleep(0.1)
        assert sys.getrefcount(data) == unused


async def test_a_chunk_that_is_refused_is_let_go(database):
    async with held(database, 1) as (queue, holds):
        data = refused(100_000)
        unused = sys.getrefcount(data)
        with pytest.raises(ResultRejected) as told:
            await queue.stage(holds[0], 0, data)
        del told
        assert sys.getrefcount(data) == unused


@pytest.mark.parametrize("rows", [b'{"n":1},{"n":2}', refused(20)])
async def test_a_connection_does_not_serve_on_after_a_huge_chunk(database, monkeypatch, rows):
    monkeypatch.setattr(runs, "HUGE_BYTES", len(rows) - 1)
    here = "select pid from pg_stat_activity where application_name = 'test' and datname = current_database()"
    async with held(database, 1) as (queue, holds):
        before = set(database.execute(here))
        await queue.stage(holds[0], 0, b'{"n":0}')
        assert set(database.execute(here)) == before
        try:
            await queue.stage(holds[0], 1, rows)
        except ResultRejected:
            assert b"u0000" in rows
        await asyncio.to_thread(eventually, lambda: not before <= set(database.execute(here)))
        await queue.succeed(holds[0], success(chunks=1))
