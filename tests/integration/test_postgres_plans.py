"""That what runs often finds its rows by an index and not by reading all there are."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from factories import job_spec, new_source, success
from postgres_fixtures import Database
from psycopg import sql

from pgsched.adapters.postgres import claiming_sql, runs_sql, views
from pgsched.adapters.postgres.access import audience_parameters
from pgsched.adapters.postgres.clock import PostgresClock
from pgsched.adapters.postgres.database import Database as Pool
from pgsched.adapters.postgres.jobs import PostgresJobs
from pgsched.adapters.postgres.pipeline import _numbered
from pgsched.adapters.postgres.runs import PostgresRunQueue
from pgsched.adapters.postgres.sources import PostgresSources
from pgsched.domain.audience import anonymous
from pgsched.domain.planning import plan_due
from pgsched.domain.runs import RunStatus

_FILL = """
insert into data_source (name, host, port, dbname, username) values ('s', 'h', 5432, 'd', 'u');
insert into query_job (name, title, sql_text, data_source_id, schedule_type, schedule_expr,
    anchor_at, next_run_at)
select 'q' || n, 't', 'select 1', s.id, 'interval', 'PT1H', now(), now() + n * interval '1 minute'
from data_source s, generate_series(1, 2000) n;
insert into query_run (query_id, scheduled_at, job_timezone, status, trigger, data_source_id, ready_at,
    run_started_at, run_finished_at, error_code, error_message)
select j.id, now() - n * interval '1 minute', 'UTC',
    case when n % 100 = 0 then 'error' else 'cancelled' end, 'schedule', s.id, now(), now(), now(), 'x', 'x'
from data_source s, query_job j, generate_series(1, 5000) n where j.name = 'q1';
insert into query_run (query_id, scheduled_at, job_timezone, status, trigger, data_source_id, ready_at)
select j.id, now(), 'UTC', 'queued', 'schedule', s.id, now() + interval '1 hour'
from data_source s, query_job j;
analyze;
"""
_SEEN = {"key": "q1", "limit": 50, "offset": 0, **audience_parameters(anonymous(public_read=True))}


_WORKERS_PINS = (
    "set plan_cache_mode = force_generic_plan",
    "set enable_seqscan = off",
    "set enable_hashjoin = off",
    "set enable_mergejoin = off",
)


@pytest.fixture
def explained(database: Database):
    """Explain a statement on a database with a few thousand jobs and runs; returns its plan as text."""
    with psycopg.connect(database.conninfo) as connection:
        connection.execute(_FILL)
        # what LOCK_SOURCES tells CLAIM
        connection.execute(
            "select set_config('pgsched.sources', array_agg(id)::text, false) from data_source"
        )

        def explain(statement: str, *, generic: bool = False, **parameters: object) -> str:
            explained = "explain (analyze, costs off, timing off)"
            if generic:
                # as a worker's statements are planned: once, whatever is asked for
                for pinned in _WORKERS_PINS:
                    connection.execute(pinned)
                _, text, names = _numbered(statement)
                connection.execute(b"prepare looked_at as " + text)
                values = sql.SQL(", ").join(sql.Literal(parameters[name]) for name in names)
                given = sql.SQL("({})").format(values) if names else sql.SQL("")
                rows = connection.execute(sql.SQL(explained + " execute looked_at {}").format(given))
            else:
                rows = connection.execute(f"{explained} {statement}", parameters)
            return "\n".join(row[0] for row in rows)

        yield explain


@pytest.mark.parametrize(
    ("statement", "bound", "parameters"),
    [
        (runs_sql.LOCK_DUE, "Index Cond: (next_run_at <=", {"limit": 100}),
        (runs_sql.UPCOMING, "Index Cond: (next_run_at <=", {"within_s": 60.0, "limit": 200}),
        (runs_sql.UPCOMING, "(ready_at >", {"within_s": 60.0, "limit": 200}),
        (
            claiming_sql.LOCK_SOURCES,
            "(data_source_id > line.data_source_id)",
            {"worker_id": 1, "why": "late"},
        ),
        (claiming_sql.CLAIM, "(ready_at <=", {"limit": 32, "worker_id": 1}),
    ],
    ids=["due", "upcoming jobs", "upcoming runs", "sources", "claim"],
)
@pytest.mark.parametrize("generic", [False, True])
def test_look_reads_what_is_due_and_no_more(explained, statement, bound, parameters, generic):
    # Regression: compared with the volatile clock itself, every job there is was read at each look.
    plan = explained(statement, generic=generic, **parameters)
    conditions = "\n".join(line for line in plan.splitlines() if "Index Cond" in line)
    assert bound in conditions, plan
    assert "Rows Removed by Filter: 2000" not in plan


_BACKLOG = """
insert into data_source (name, host, port, dbname, username)
select 's' || n, 'h', 5432, 'd', 'u' from generate_series(1, 30) n;
insert into query_job (name, title, sql_text, data_source_id, schedule_type, schedule_expr, anchor_at,
    enabled)
select 'q' || n, 't', 'select 1', s.id, 'interval', 'PT1H', now(), false
from data_source s, generate_series(1, 2000) n where s.name = 's1';
analyze;
insert into query_run (query_id, scheduled_at, job_timezone, status, trigger, data_source_id, ready_at)
select id, now(), 'UTC', 'queued', 'manual', data_source_id, now() from query_job;
"""


@pytest.mark.parametrize("is_analyzed", [False, True])
def test_a_line_at_one_source_is_not_read_for_each_of_the_others(database: Database, is_analyzed):
    # Regression: claims went through all that waited, once for each source: at 33 sources, half the speed.
    with psycopg.connect(database.conninfo) as connection:
        connection.execute(_BACKLOG)
        if is_analyzed:
            connection.execute("analyze query_run")
        connection.execute(
            "select set_config('pgsched.sources', array_agg(id)::text, false) from data_source"
        )
        for statement in (claiming_sql.LOCK_SOURCES, claiming_sql.CLAIM):
            rows = connection.execute(
                f"explain (analyze, costs off, timing off) {statement}",
                {"limit": 8, "worker_id": 1, "why": "late"},
            )
            plan = "\n".join(row[0] for row in rows)
            removed = [
                int(found) for found in re.findall(r"Rows Removed by (?:Index Recheck|Filter): (\d+)", plan)
            ]
            assert max(removed, default=0) <= 30, plan


def test_page_of_cards_looks_up_the_last_runs_of_that_page_alone(explained):
    # Regression: the last run of every query was looked up and the page cut afterwards.
    plan = explained(views._cards(views._PAGE), **_SEEN)
    lookup = next(line for line in plan.splitlines() if "on query_run" in line)
    assert "loops=50" in lookup, plan


@pytest.mark.parametrize("status", [RunStatus.ERROR, RunStatus.SKIPPED])
def test_status_that_is_rare_is_found_by_an_index(explained, status):
    # Regression: a query's whole history was read for its last error.
    plan = explained(
        f"""select id from query_run r where query_id = 1 and {views._status_is("r", status)}
            order by scheduled_at desc, id desc limit 51"""
    )
    assert "query_run_fate_idx" in plan, plan


@pytest.mark.parametrize("sign", ["<", ">"])
def test_whether_there_is_another_page_is_one_step_along_the_index(explained, sign):
    # Regression: the table was read until a run beyond was met, which may be its last row.
    statement = views._is_beyond("r.query_id = %(query_id)s", sign)
    plan = explained(statement, query_id=1, edge_at=datetime(2000, 1, 1, tzinfo=UTC), edge=1)
    assert "query_run_history_idx" in plan, plan
    assert "Seq Scan" not in plan


async def test_a_worker_plans_no_statement_anew_for_each_run(database: Database):
    # Regression: moving a query on was planned for each run, because of an array that had one element.
    pool = Pool(database.conninfo, application_name="test", max_size=1, plans_once=True)
    await pool.open()
    try:
        source = await PostgresSources(pool).add(new_source())
        now = await PostgresClock(pool).now()
        for number in range(8):
            spec = job_spec(source.id, name=f"query{number}")
            await PostgresJobs(pool).add(spec, start_at=now - timedelta(seconds=1))
        queue = PostgresRunQueue(pool)
        while claims := (await queue.plan_and_claim(plan_due, 1, jobs=1, runs=1)).claims:
            await queue.succeed(claims[0].hold, success())
        async with pool.connection() as connection:
            asked = await connection.execute(
                "select statement, custom_plans from pg_prepared_statements where name like 'pgsched%'"
            )
            plans = dict(await asked.fetchall())
    finally:
        await pool.close()
    assert any("set next_run_at" in statement for statement in plans)
    assert [statement for statement, custom in plans.items() if custom] == []


async def test_moving_queries_on_finds_each_by_its_key(explained):
    values = {"ids": [1, 2], "next_run_at": ["2030-01-01", "2030-01-01"]}
    plan = explained(runs_sql.ADVANCE, generic=True, **values)
    assert re.search(r"Index Cond: \(j?\.?id = ", plan), plan


async def test_a_workers_connections_plan_once_and_the_others_as_usual(database: Database):
    pinned = {}
    for plans_once in (True, False):
        pool = Pool(database.conninfo, application_name="test", max_size=1, plans_once=plans_once)
        await pool.open()
        async with pool.connection() as connection:
            asked = await connection.execute(
                "select current_setting('plan_cache_mode'), current_setting('enable_hashjoin')"
            )
            pinned[plans_once] = await asked.fetchone()
        await pool.close()
    assert pinned == {True: ("force_generic_plan", "off"), False: ("auto", "on")}
