"""Statements sent together, and successes recorded together: one that fails harms no other."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import psycopg
import pytest
from factories import job_spec, new_source, success

from pgsched.adapters.postgres.database import Database
from pgsched.adapters.postgres.jobs import PostgresJobs
from pgsched.adapters.postgres.runs import PostgresRunQueue
from pgsched.adapters.postgres.sources import PostgresSources
from pgsched.domain.errors import DatabaseUnavailable, LeaseLost, ResultRejected, SchemaMismatch

INSERT = "insert into t values (%(a)s::integer)"


@asynccontextmanager
async def opened(fixture, **options):
    database = Database(fixture.conninfo, application_name="test", **options)
    await database.open()
    try:
        yield database
    finally:
        await database.close()


def terminate(fixture, *, which: str = "true") -> None:
    fixture.server.execute(
        f"select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = %s and {which}",
        [fixture.dbname],
    )


async def together(database: Database, *statements: tuple[str, object]) -> list[int]:
    async with database.pipeline() as pipeline:
        answers = [pipeline.send(statement, {"a": value}) for statement, value in statements]
    return [answer.count for answer in answers]


@pytest.fixture
def table(empty_database):
    empty_database.execute("create table t (a integer check (a < 100) unique deferrable initially deferred)")
    return empty_database


async def test_a_statement_that_fails_takes_all_with_it_and_the_connection_serves_on(table):
    async with opened(table, max_size=1) as database:
        # twice: the first time the good statement behind the bad one was prepared, or not
        for _ in range(2):
            with pytest.raises(psycopg.errors.CheckViolation):
                await together(database, (INSERT, 1), (INSERT, 100), ("select %(a)s::integer as a", 5))
            assert await together(database, ("select a from t where a = %(a)s", 1)) == [0]
        for bad, error in (
            ("select nothing from t where a = %(a)s", SchemaMismatch),
            ("select broken(", psycopg.errors.SyntaxError),
        ):
            with pytest.raises(error):
                await together(database, (INSERT, 2), (bad, 1), (INSERT, 3))
        assert await together(database, (INSERT, 2), (INSERT, 3)) == [1, 1]
    assert table.execute("select count(*) from t") == [(2,)]


async def test_an_error_at_commit_is_raised_and_nothing_was_done(table):
    async with opened(table, max_size=1) as database:
        with pytest.raises(psycopg.errors.UniqueViolation):
            await together(database, (INSERT, 1), (INSERT, 1))
        assert await together(database, (INSERT, 1)) == [1]
    assert table.execute("select count(*) from t") == [(1,)]


async def test_a_fault_of_the_callers_rolls_back_what_was_sent(table):
    async with opened(table, max_size=1) as database:

        async def use() -> None:
            async with database.pipeline(in_steps=True) as pipeline:
                pipeline.send(INSERT, {"a": 1})
                await pipeline.answers()
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await use()
        assert await together(database, (INSERT, 2)) == [1]
    assert table.execute("select a from t") == [(2,)]


@pytest.mark.parametrize("in_steps", [False, True])
async def test_what_a_rollback_deallocates_is_prepared_anew(table, in_steps):
    # Regression: psycopg deallocates every statement when it rolls back, those of pipelines too.
    async with opened(table, max_size=1) as database:

        async def insert(*values: int) -> None:
            async with database.pipeline(in_steps=in_steps) as pipeline:
                for value in values:
                    pipeline.send(INSERT, {"a": value})

        await insert(1)
        for _ in range(7):
            async with database.connection() as connection:
                # often enough for psycopg to prepare it
                await connection.execute("select count(*) from t where a > %s", [0])

        async def roll_back() -> None:
            async with database.transaction() as connection:
                await connection.execute("select 1")
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await roll_back()
        await insert(2)
        with pytest.raises(psycopg.errors.UniqueViolation):
            await insert(3, 3)
        await insert(4)
    assert table.execute("select a from t order by a") == [(1,), (2,), (4,)]


async def test_a_caller_that_is_cancelled_rolls_back_and_gives_its_connection_back(table):
    async with opened(table, max_size=1) as database:
        asleep = ("select pg_sleep(60) where %(a)s::integer > 0", 1)
        task = asyncio.create_task(together(database, (INSERT, 1), asleep))
        waits = "select 1 from pg_stat_activity where datname = %s and wait_event = 'PgSleep'"
        while not table.server.execute(waits, [table.dbname]):  # noqa: ASYNC110 (the server sets no event)
            await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.wait_for(together(database, (INSERT, 2)), 20) == [1]
    assert table.execute("select a from t") == [(2,)]


async def test_a_connection_lost_on_the_way_is_told_and_the_next_one_serves(table):
    async with opened(table, max_size=1) as database:

        async def use() -> None:
            async with database.pipeline(in_steps=True) as pipeline:
                pipeline.send(INSERT, {"a": 1})
                await pipeline.answers()
                await asyncio.to_thread(terminate, table)
                pipeline.send(INSERT, {"a": 2})

        with pytest.raises(DatabaseUnavailable):
            await use()
        # what was prepared on the lost connection is prepared anew
        assert await together(database, (INSERT, 3)) == [1]
    assert table.execute("select a from t") == [(3,)]


# successes recorded together


@asynccontextmanager
async def held(database_fixture, count: int):
    """A queue and so many runs that it holds."""
    async with opened(database_fixture, max_size=4) as database:
        source = await PostgresSources(database).add(new_source(max_concurrency=100))
        jobs, queue = PostgresJobs(database), PostgresRunQueue(database)
        for number in range(count):
            job = await jobs.add(job_spec(source.id, name=f"q{number}", enabled=False))
            await queue.request(job.id)
        yield queue, [claim.hold for claim in await queue.claim(1, limit=count)]


def statuses(database, holds) -> list[str]:
    found = dict(database.execute("select id, status from query_run"))
    return [found[hold.run_id] for hold in holds]


BAD = success({"a": 1}, data=b'{"a":"\\u0000"}')


async def test_a_result_that_is_refused_spoils_no_other_of_its_batch(database):
    async with held(database, 6) as (queue, holds):
        stale = holds[1].__class__(run_id=holds[1].run_id, token=holds[1].token - 1000)
        given = [success({"a": n}) for n in range(6)]
        given[3] = BAD
        ends = await asyncio.gather(
            *map(queue.succeed, [holds[0], stale, *holds[2:]], given), return_exceptions=True
        )
        assert [type(end).__name__ for end in ends] == [
            *("Run", "LeaseLost", "Run", "ResultRejected", "Run", "Run")
        ]
        assert isinstance(ends[1], LeaseLost)
        assert isinstance(ends[3], ResultRejected)
        assert statuses(database, holds) == [
            *("success", "running", "success", "running", "success", "success")
        ]
        await queue.succeed(holds[1], success())
        assert database.execute("select count(*) from query_run_blob") == [(5,)]


DEEP = success({"a": 1}, data=b'{"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}")


async def test_a_result_that_is_too_deep_for_the_server_is_refused_alone(database):
    async with held(database, 4) as (queue, holds):
        given = [
            success({"a": 1}),
            DEEP,
            success({"a": 1}),
            success({"a": 1}, data=b'{"a":"%b"}' % (b"x" * 9000)),
        ]
        ends = await asyncio.gather(*map(queue.succeed, holds, given), return_exceptions=True)
        assert [type(end).__name__ for end in ends] == ["Run", "ResultRejected", "Run", "Run"]
        with pytest.raises(ResultRejected):
            await queue.stage(holds[1], 0, DEEP.data)


REFUSALS = {
    "53200": DatabaseUnavailable,
    "57014": DatabaseUnavailable,
    "40001": DatabaseUnavailable,
    "XX000": psycopg.errors.InternalError_,
    "22P05": ResultRejected,
    "54000": ResultRejected,
    "23514": psycopg.errors.CheckViolation,
}


@pytest.mark.parametrize(("sqlstate", "expected"), REFUSALS.items(), ids=REFUSALS.keys())
async def test_whatever_one_result_is_refused_for_concerns_its_run_alone(database, sqlstate, expected):
    async with held(database, 4) as (queue, holds):
        database.execute(
            "create function refuse() returns trigger language plpgsql as"
            f" $$ begin raise exception 'no' using errcode = '{sqlstate}'; end $$"
        )
        database.execute(
            "create trigger refuse before insert on query_run_blob for each row"
            f" when (new.run_id = {holds[2].run_id}) execute function refuse()"
        )
        ends = await asyncio.gather(
            *(queue.succeed(hold, success({"a": 1})) for hold in holds), return_exceptions=True
        )
        assert [isinstance(end, Exception) for end in ends] == [False, False, True, False]
        assert isinstance(ends[2], expected)
        # what passes is tried again, and lands then
        database.execute("drop trigger refuse on query_run_blob")
        await queue.succeed(holds[2], success({"a": 1}))
        assert statuses(database, holds) == ["success"] * 4


async def test_a_caller_that_leaves_its_batch_harms_no_other(database):
    async with held(database, 5) as (queue, holds):
        with psycopg.connect(database.conninfo) as blocker:
            blocker.execute("select from query_run where id = %s for update", [holds[0].run_id])
            first = asyncio.create_task(queue.succeed(holds[0], success()))
            waits = "select 1 from pg_stat_activity where datname = %s and wait_event_type = 'Lock'"
            while not database.server.execute(waits, [database.dbname]):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            others = [asyncio.create_task(queue.succeed(hold, success())) for hold in holds[1:]]
            await asyncio.sleep(0.05)
            # one that is on its way, and one that waits for the next batch
            first.cancel()
            others[1].cancel()
            blocker.rollback()
        ends = await asyncio.gather(first, *others, return_exceptions=True)
        left = [type(end).__name__ for end in ends]
        assert left == ["CancelledError", "Run", "CancelledError", "Run", "Run"]
        # who left before anything was sent has not succeeded
        assert statuses(database, holds)[2] == "running"
        assert set(statuses(database, holds)) - {"running"} == {"success"}
        assert (await queue.succeed(holds[2], success())).status == "success"


@pytest.mark.parametrize("is_left", [False, True])
async def test_who_comes_while_one_is_recorded_at_once_is_recorded_after_it(database, is_left):
    async with held(database, 6) as (queue, holds):
        # what ends without company is recorded without a task of its own from then on
        await queue.succeed(holds[0], success())
        with psycopg.connect(database.conninfo) as blocker:
            blocker.execute("select from query_run where id = %s for update", [holds[1].run_id])
            first = asyncio.create_task(queue.succeed(holds[1], success()))
            waits = "wait_event_type = 'Lock'"
            found = f"select 1 from pg_stat_activity where datname = %s and {waits}"
            while not database.server.execute(found, [database.dbname]):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            others = [asyncio.create_task(queue.succeed(hold, success())) for hold in holds[2:5]]
            await asyncio.sleep(0.05)
            assert not any(other.done() for other in others)
            if is_left:
                first.cancel()
            else:
                await asyncio.to_thread(terminate, database, which=waits)
            ends = await asyncio.gather(first, *others, return_exceptions=True)
        end = "CancelledError" if is_left else "DatabaseUnavailable"
        assert [type(each).__name__ for each in ends] == [end, "Run", "Run", "Run"]
        assert (await queue.succeed(holds[5], success())).status == "success"
        assert statuses(database, holds)[2:] == ["success"] * 4


async def test_a_batch_whose_connection_is_lost_is_told_to_all_and_can_be_recorded_again(database):
    async with held(database, 4) as (queue, holds):
        with psycopg.connect(database.conninfo) as blocker:
            blocker.execute("select from query_run where id = %s for update", [holds[0].run_id])
            tasks = [asyncio.create_task(queue.succeed(hold, success())) for hold in holds]
            waits = "wait_event_type = 'Lock'"
            found = f"select 1 from pg_stat_activity where datname = %s and {waits}"
            while not database.server.execute(found, [database.dbname]):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            await asyncio.to_thread(terminate, database, which=waits)
            ends = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(end) for end in ends} == {DatabaseUnavailable}
        assert set(statuses(database, holds)) == {"running"}
        again = await asyncio.gather(*(queue.succeed(hold, success()) for hold in holds))
        assert {run.status for run in again} == {"success"}
