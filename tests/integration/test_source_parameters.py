"""Parameters bound at a source, and a query's sets from its schedule to its results."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from factories import job_spec
from source_fixtures import address_of, keep_any

from pgsched.adapters.source.sources import PsycopgSources
from pgsched.application.statements import statement_of
from pgsched.domain.errors import QueryFailed
from pgsched.domain.sources import DataSource

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


def source() -> DataSource:
    given = {"name": "shop", "host": "h", "port": 1, "dbname": "d", "username": "u", "password": None}
    return DataSource(id=1, created_at=AT, updated_at=AT, **given)


@pytest.fixture
async def sources():
    sources = PsycopgSources()
    yield sources
    await sources.close()


async def run(sources, source_db, params="", **changes):
    """Run a query's statement for one set, twice: the second time its columns are known."""
    spec = job_spec(1, **changes)
    wanted = statement_of(spec, source(), params=params, scheduled_at=AT, application_name="pgsched:1/1")
    found = []
    for _ in range(2):
        async with sources.execute(address_of(source_db), wanted, keep=keep_any) as stream:
            data = b",".join([batch.data async for batch in stream])
        found.append((data.decode(), dict(stream.arguments)))
    assert found[0] == found[1]
    return found[0]


async def test_values_are_bound_with_their_types(sources, source_db):
    parameters = [
        {"name": "n", "type": "bigint", "default": 41},
        {"name": "word", "type": "text", "default": "it's; -- $1 \\"},
        {"name": "days", "type": "date[]", "default": ["2026-01-01", None]},
        {"name": "nothing", "type": "int", "default": None},
        {"name": "note", "type": "jsonb", "default": {"a": [1]}},
    ]
    sql = (
        "select :n + 1 as n, :word as word, :days as days, :nothing as nothing, :note->'a' as note,"
        " :scheduled_at at time zone 'UTC' as at, pg_typeof(:n)::text as t, ':n' as lit -- :n"
    )
    data, values = await run(sources, source_db, sql_text=sql, parameters=parameters)
    assert data == (
        '{"n":42,"t":"bigint","at":"2026-03-01T12:00:00.000000","lit":":n","days":["2026-01-01",null],'
        '"note":[1],"word":"it\'s; -- $1 \\\\","nothing":null}'
    )
    assert values == {
        "n": "41",
        "word": "it's; -- $1 \\",
        "days": '{"2026-01-01",NULL}',
        "nothing": None,
        "note": '{"a": [1]}',
    }


async def test_expressions_are_evaluated_at_the_source_in_the_querys_zone(sources, source_db):
    parameters = [
        {"name": "since", "type": "timestamptz", "default": {"sql": ":scheduled_at - interval '1 day' -- x"}},
        {"name": "zone", "type": "text", "default": {"sql": "current_setting('TimeZone')"}},
        {"name": "n", "type": "int", "default": 7},
    ]
    data, values = await run(
        sources,
        source_db,
        sql_text="select :since as since, :zone as zone, :n as n",
        parameters=parameters,
        timezone="Asia/Tokyo",
    )
    assert data == '{"n":7,"zone":"Asia/Tokyo","since":"2026-02-28T12:00:00.000000Z"}'
    assert values == {"n": "7", "zone": "Asia/Tokyo", "since": "2026-02-28 21:00:00+09"}


async def test_a_failing_expression_says_so_and_a_bad_statement_keeps_its_position(sources, source_db):
    failing = [{"name": "n", "type": "int", "default": {"sql": "1 / 0"}}]
    with pytest.raises(QueryFailed, match="a parameter's expression failed: division by zero"):
        await run(sources, source_db, sql_text="select :n as n", parameters=failing)
    known = [{"name": "long_name", "type": "int", "default": 1}]
    with pytest.raises(QueryFailed) as failed:
        await run(sources, source_db, sql_text="select :long_name, nope", parameters=known)
    assert failed.value.position == len("select :long_name, ") + 1
