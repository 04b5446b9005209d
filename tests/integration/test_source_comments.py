"""Statements that are sent without their comments give what they give with them."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import psycopg
import pytest
from dependency_injector import providers
from factories import job_spec, new_source
from postgres_fixtures import fresh_source
from source_fixtures import address_of, run_at

from pgsched.adapters.guard.grammar import PostgresGrammarGuard
from pgsched.adapters.memory.runs import MemoryRunQueue
from pgsched.adapters.memory.source import Answer
from pgsched.adapters.source.sources import PsycopgSources
from pgsched.application.run_job import RunJob
from pgsched.application.statements import judge, statement_of
from pgsched.domain.audit import Actor
from pgsched.domain.runs import RunStatus
from pgsched.domain.sources import DataSource
from pgsched.domain.sql_comments import without_comments
from pgsched.entrypoints.in_memory import in_memory

GUARD = PostgresGrammarGuard()
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
SOURCE = DataSource(
    id=1, created_at=AT, updated_at=AT, name="s", host="h", port=1, dbname="d", username="u", password=None
)

STATEMENTS = [
    "select 1 as a where 1 not -- it's\n in (2)",
    "select 1 as a where 'x' not /* c */ like 'y'",
    "select a from (values (2), (null), (1)) v(a) order by 1 nulls /* é /* d */ */ first",
    "select * from unnest(array[7]) with /* c */ ordinality as u(a, b)",
    "select pg_typeof(now()::timestamp without /* c */ time zone)::text as a",
    "select U&'d!0061' /* c */ uescape '!' as a",
    "select 'x' -- c\n 'y' as a",
    r"select E'x' -- c" "\n" r" 'y\', nextval(' -- s' ) as a" "\n as a",
]
PIECES = [
    "'x'", "'y\\\\'", "''", "E'z\\'", "E'", "'", " -- c\n", " -- d\r", "--", "\n", "\r", "/* c */", "/*",
    "*/", " || ", "1", "+", "-", " not ", "1 not /**/ in (2)", "$$", "$t$", "a$t$", " as a", ",", "(", ")",
    '"q"', "U&'!0061'", " uescape '!'", "\\'", "é", "* ", "/", "\f",
]  # fmt: skip


@pytest.fixture
def anywhere(any_pg_server):
    with fresh_source(any_pg_server) as source:
        yield source


async def sent(sql: str):
    spec = job_spec(1, sql_text=sql)

    async def check(text: str, *, places: int):
        return GUARD.check(text, places=places)

    instead = await judge(check, spec)
    return statement_of(
        spec, SOURCE, params="", scheduled_at=AT, application_name="pgsched:1/1", instead=instead
    )


async def test_a_comment_the_parser_takes_for_an_error_makes_no_difference(anywhere):
    sources = PsycopgSources()
    try:
        for sql in STATEMENTS:
            wanted = await sent(sql)
            assert wanted.sql == without_comments(sql)
            outcome = await run_at(sources, address_of(anywhere), wanted)
            assert [tuple(row.values()) for row in outcome.data] == anywhere.execute(sql), sql
    finally:
        await sources.close()


async def test_runs_and_dry_runs_send_what_was_judged():
    world = in_memory()
    container = world.container
    container.guard.override(providers.Object(GUARD))
    sql, bare = "select 1 as n where 1 not /* c */ in (2)", "select 1 as n where 1 not         in (2)"
    # the source answers this text alone
    world.source.answers[bare] = Answer(rows=({"n": 1},))
    source = await container.sources().add(new_source())
    job = await container.jobs().add(job_spec(source.id, sql_text=sql))
    queue = MemoryRunQueue(world.store)
    await queue.request(job.id)
    (claim,) = await queue.claim(1, limit=1)
    run_job = RunJob(queue, container.vault(), container.guard(), world.source, container.kept())
    assert (await run_job(claim)).status is RunStatus.SUCCESS
    assert (await container.dry_run()(job.id, Actor(name="ann"))).rows_returned == 1
    assert [statement.sql for _, statement in world.source.executed] == [bare, bare]


def test_a_server_reads_a_text_the_same_without_what_we_take_for_comments(anywhere):
    draw = random.Random(20261126)
    alike = 0
    with psycopg.connect(anywhere.conninfo, autocommit=True) as connection:

        def answer(sql: str):
            try:
                return connection.execute(sql).fetchall()
            except psycopg.Error as error:
                return error.sqlstate

        for _ in range(5_000):
            sql = "select " + "".join(draw.choices(PIECES, k=draw.randint(2, 9)))
            bare = without_comments(sql)
            if bare is not None:
                found = answer(sql)
                assert found == answer(bare), sql
                alike += isinstance(found, list)
    assert alike > 100
