"""The clauses of the port ``QuerySource`` that a script can keep too; the rest is in test_source_*."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import pytest
from postgres_fixtures import SourceDatabase
from source_fixtures import address_of, run_at, statement

from pgsched.adapters.embedded.ports import free_port
from pgsched.adapters.memory.source import Answer, ScriptedSource
from pgsched.adapters.source.sources import PsycopgSources
from pgsched.application.ports.execution import QuerySource, SourceAddress
from pgsched.domain.errors import IsMetadata, LimitExceeded, QueryFailed, QueryTimeout, SourceUnreachable
from pgsched.domain.results import OnLimit

COUNT = "select n from generate_series(1, 5) n"
NOTHING = "select n from generate_series(1, 0) n"
MANY = "select n from generate_series(1, 3000) n"
DIVIDE = "select 1 / 0 as n"
SLEEP = "select pg_sleep(60)::text as n"

SCRIPT = {
    COUNT: Answer(rows=[{"n": n} for n in range(1, 6)]),
    NOTHING: Answer(types={"n": "integer"}),
    MANY: Answer(rows=[{"n": n} for n in range(1, 3001)]),
    DIVIDE: Answer(error=QueryFailed("division by zero", sqlstate="22012", public="division by zero")),
    SLEEP: Answer(hangs=True),
}


@dataclass(kw_only=True)
class Place:
    """A port, an address that answers, one that does not, and how many statements are under way there."""

    port: QuerySource
    address: SourceAddress
    nowhere: SourceAddress
    busy: Callable[[], int]


@pytest.fixture(params=["scripted", "postgres"])
def ground(request: pytest.FixtureRequest) -> SourceDatabase | None:
    return None if request.param == "scripted" else request.getfixturevalue("source_db")


@pytest.fixture
async def place(ground: SourceDatabase | None) -> AsyncIterator[Place]:
    if ground is None:
        scripted = ScriptedSource(SCRIPT, unreachable=["nowhere"], metadata=["pgsched"])
        address = SourceAddress(host="here", port=5432, dbname="shop", username="reader", password="secret")
        nowhere = SourceAddress(
            host="nowhere", port=5432, dbname="shop", username="reader", password="secret"
        )
        yield Place(port=scripted, address=address, nowhere=nowhere, busy=lambda: scripted.running)
        return
    sources = PsycopgSources()

    def busy() -> int:
        [(count,)] = ground.execute(
            "select count(*) from pg_stat_activity where datname = current_database()"
            " and usename = 'reader' and state = 'active'"
        )
        return count

    nowhere = address_of(ground, port=free_port())
    yield Place(port=sources, address=address_of(ground), nowhere=nowhere, busy=busy)
    await sources.close()


async def until(happens: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not happens():  # noqa: ASYNC110 (the server is asked again and again)
            await asyncio.sleep(0.01)


async def test_rows_come_in_order_with_their_schema_and_totals(place: Place) -> None:
    outcome = await run_at(place.port, place.address, statement(COUNT))
    assert outcome.data == [{"n": n} for n in range(1, 6)]
    assert [field["name"] for field in outcome.fields] == ["n"]
    assert outcome.document["schema"]["pandas_version"] == "1.4.0"
    assert (outcome.rows, outcome.truncated) == (5, False)


async def test_result_without_rows_has_its_columns(place: Place) -> None:
    outcome = await run_at(place.port, place.address, statement(NOTHING))
    assert (outcome.data, outcome.rows, outcome.bytes, outcome.truncated) == ([], 0, 0, False)
    assert [field["name"] for field in outcome.fields] == ["n"]


async def test_batches_are_bounded_and_hold_every_row_once(place: Place) -> None:
    outcome = await run_at(place.port, place.address, statement(MANY))
    assert [row["n"] for row in outcome.data] == list(range(1, 3001))
    assert outcome.batches > 1


@pytest.mark.parametrize("max_rows", [1, 4])
async def test_rows_beyond_the_limit_are_cut_and_told(place: Place, max_rows: int) -> None:
    outcome = await run_at(place.port, place.address, statement(COUNT, max_rows=max_rows))
    assert [row["n"] for row in outcome.data] == list(range(1, max_rows + 1))
    assert (outcome.rows, outcome.truncated) == (max_rows, True)


async def test_result_that_just_fits_is_not_cut(place: Place) -> None:
    whole = await run_at(place.port, place.address, statement(COUNT))
    fits = statement(COUNT, max_rows=5, max_bytes=whole.bytes, on_limit=OnLimit.ERROR)
    outcome = await run_at(place.port, place.address, fits)
    assert (outcome.data, outcome.truncated) == (whole.data, False)


async def test_bytes_beyond_the_limit_are_cut_and_told(place: Place) -> None:
    whole = await run_at(place.port, place.address, statement(COUNT))
    outcome = await run_at(place.port, place.address, statement(COUNT, max_bytes=whole.bytes - 1))
    assert outcome.data == whole.data[:4]
    assert outcome.truncated is True


@pytest.mark.parametrize("limit", [{"max_rows": 4}, {"max_bytes": 20}])
async def test_limit_is_an_error_where_the_query_says_so(place: Place, limit: dict) -> None:
    with pytest.raises(LimitExceeded):
        await run_at(place.port, place.address, statement(COUNT, on_limit=OnLimit.ERROR, **limit))


async def test_sample_is_of_the_size_allowed(place: Place) -> None:
    outcome = await run_at(place.port, place.address, statement(COUNT, on_limit=OnLimit.SAMPLE, max_rows=3))
    assert len({row["n"] for row in outcome.data}) == 3
    assert (outcome.rows, outcome.truncated) == (3, True)


async def test_sql_error_names_its_sqlstate(place: Place) -> None:
    with pytest.raises(QueryFailed, match="division by zero") as caught:
        await run_at(place.port, place.address, statement(DIVIDE))
    assert caught.value.sqlstate == "22012"


async def test_port_serves_on_after_an_error(place: Place) -> None:
    with pytest.raises(QueryFailed):
        await run_at(place.port, place.address, statement(DIVIDE))
    assert (await run_at(place.port, place.address, statement(COUNT))).rows == 5


async def test_timeout_ends_the_statement(place: Place) -> None:
    before = time.monotonic()
    with pytest.raises(QueryTimeout):
        await run_at(place.port, place.address, statement(SLEEP, timeout_ms=200))
    assert 0.19 < time.monotonic() - before < 3
    await until(lambda: place.busy() == 0)


async def test_cancelled_task_cancels_the_statement(place: Place) -> None:
    task = asyncio.create_task(run_at(place.port, place.address, statement(SLEEP)))
    await until(lambda: place.busy() == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, 5)
    await until(lambda: place.busy() == 0)


async def test_unreachable_source_is_told(place: Place) -> None:
    with pytest.raises(SourceUnreachable) as caught:
        await run_at(place.port, place.nowhere, statement(COUNT))
    assert place.address.password not in caught.value.detail


async def test_inspection_reports_and_does_not_raise(place: Place) -> None:
    good = await place.port.inspect(place.address)
    assert (good.ok, good.error_code) == (True, None)
    assert good.latency_ms > 0
    assert good.server_version
    bad = await place.port.inspect(place.nowhere)
    assert (bad.ok, bad.error_code) == (False, "source_unreachable")
    assert bad.error_detail
    assert place.address.password not in bad.error_detail


async def test_metadata_database_is_no_source_unless_allowed(
    place: Place, ground: SourceDatabase | None
) -> None:
    address = place.address
    if ground is None:
        address = SourceAddress(host="here", port=1, dbname="pgsched", username="reader", password="secret")
    else:
        ground.execute("create table query_run(); create table query_run_blob(); create table user_session()")
    with pytest.raises(IsMetadata):
        await run_at(place.port, address, statement(COUNT))
    assert (await place.port.inspect(address)).error_code == "is_metadata"
    assert (await run_at(place.port, address, statement(COUNT, allow_metadata=True))).rows == 5
    assert (await place.port.inspect(address, allow_metadata=True)).ok is True
