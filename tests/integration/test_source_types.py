"""Every type a source may send: exact in the stored JSON, readable by pandas after its trip through jsonb."""

from __future__ import annotations

import io
import json
from decimal import Decimal

import pandas
import pytest
from postgres_fixtures import SourceDatabase, fresh_source
from source_fixtures import run, through_jsonb

from pgsched.adapters.source.sources import PsycopgSources
from pgsched.domain.errors import QueryFailed
from pgsched.domain.results import _ARRAYS, _BUILT_IN, built_in_type


@pytest.fixture
async def sources():
    sources = PsycopgSources()
    yield sources
    await sources.close()


@pytest.fixture(scope="module")
def any_source(any_pg_server):
    with fresh_source(any_pg_server) as source:
        source.execute(
            "create type mood as enum ('sad', 'ok'); create domain small as int check (value < 10);"
            "create type pair as (a int, b text); create domain ints as int[]"
        )
        yield source


def frame(source, text, **options):
    result = json.loads(through_jsonb(source, text))
    return pandas.read_json(io.StringIO(json.dumps(result)), orient="table", **options)


#: expression, its JSON text in data, Table Schema type, Postgres type
VALUES = [
    ("9007199254740993::bigint", "9007199254740993", "integer", "bigint"),
    ("(-9223372036854775808)::bigint", "-9223372036854775808", "integer", "bigint"),
    ("1::smallint", "1", "integer", "smallint"),
    ("4294967295::oid", "4294967295", "integer", "oid"),
    ("1.10::numeric(38,10)", "1.1000000000", "number", "numeric(38,10)"),
    ("7::numeric", "7", "number", "numeric"),
    ("18446744073709551615::numeric", "18446744073709551615", "number", "numeric"),
    ("18446744073709551616::numeric", "18446744073709551616.0", "number", "numeric"),
    ("-9223372036854775809::numeric", "-9223372036854775809.0", "number", "numeric"),
    ("12345678901234567890.123::numeric", "12345678901234567890.123", "number", "numeric"),
    ("1200::numeric(6,-2)", "1200", "number", "numeric(6,-2)"),
    ("'NaN'::numeric", "null", "number", "numeric"),
    ("(1::float8/3)", "0.3333333333333333", "number", "double precision"),
    ("1e20::float8", "100000000000000000000.0", "number", "double precision"),
    ("1e-7::float8", "1e-07", "number", "double precision"),
    ("2::float8", "2.0", "number", "double precision"),
    ("'-0'::float8", "-0.0", "number", "double precision"),
    ("'Infinity'::float8", "null", "number", "double precision"),
    ("1.1::real", "1.1", "number", "real"),
    ("1e30::real", "1000000000000000000000000000000.0", "number", "real"),
    ("true", "true", "boolean", "boolean"),
    ("'a\"b\\c'||chr(9)||'é'", '"a\\"b\\\\c\\té"', "string", "text"),
    ("'ab'::char(4)", '"ab  "', "string", "character(4)"),
    ("'ab'::varchar(4)", '"ab"', "string", "character varying(4)"),
    ("timestamptz '2026-01-01 01:00:00.1234+01'", '"2026-01-01T00:00:00.123400Z"', "datetime",
     "timestamp with time zone"),
    ("timestamp '2026-01-01 01:00:00'", '"2026-01-01T01:00:00.000000"', "datetime",
     "timestamp without time zone"),
    ("timestamp(3) '2026-01-01 01:00:00.123456'", '"2026-01-01T01:00:00.123000"', "datetime",
     "timestamp(3) without time zone"),
    ("date '2026-01-01'", '"2026-01-01"', "string", "date"),
    ("time '24:00'", '"24:00:00"', "string", "time without time zone"),
    ("timetz '10:00:00.5+02'", '"10:00:00.5+02"', "string", "time with time zone"),
    ("interval '1 day 02:03:04.5'", '"1 day 02:03:04.5"', "string", "interval"),
    ("interval '5' day", '"5 days"', "string", "interval day"),
    ("'0a6d1b4e-0000-4000-8000-000000000001'::uuid", '"0a6d1b4e-0000-4000-8000-000000000001"', "string",
     "uuid"),
    ("'\\x00ff'::bytea", '"\\\\x00ff"', "string", "bytea"),
    ("'{\"a\": [1, null]}'::jsonb", '{"a": [1, null]}', "any", "jsonb"),
    ("'{\"a\":1,  \"b\":2}'::json", '{"a":1,  "b":2}', "any", "json"),
    ("'null'::jsonb", "null", "any", "jsonb"),
    ("'100000000000000000000'::jsonb", "100000000000000000000.0", "any", "jsonb"),
    ("array[1,null,3]", "[1,null,3]", "any", "integer[]"),
    ("'[2:3]={1,2}'::int[]", "[1,2]", "any", "integer[]"),
    ("array[[1.50,2],[3,'NaN']]::numeric(9,2)[]", "[[1.50,2.00],[3.00,null]]", "any", "numeric(9,2)[]"),
    ("array['a,b','c\"d\\e',null,'NULL','',' x{}']",
     '["a,b","c\\"d\\\\e",null,"NULL",""," x{}"]', "any", "text[]"),
    ("array[true,false,null]", "[true,false,null]", "any", "boolean[]"),
    ("array[timestamptz '2026-01-01 00:00Z']", '["2026-01-01T00:00:00.000000Z"]', "any",
     "timestamp with time zone[]"),
    ("array['{\"a\": \"}\"}'::jsonb, null]", '[{"a": "}"},null]', "any", "jsonb[]"),
    ("array[box '(1,1),(0,0)', box '(2,2),(0,0)']", '["(1,1),(0,0)","(2,2),(0,0)"]', "any", "box[]"),
    ("'{}'::text[]", "[]", "any", "text[]"),
    ("array['sad','ok']::public.mood[]", '["sad","ok"]', "any", "mood[]"),
    ("array[1,2]::public.small[]", "[1,2]", "any", "small[]"),
    ("1::public.small", "1", "integer", "integer"),
    ("'{1,2}'::public.ints", "[1,2]", "any", "integer[]"),
    ("row(1,'x y')::public.pair", '"(1,\\"x y\\")"', "string", "pair"),
    ("'sad'::public.mood", '"sad"', "string", "mood"),
    ("'10.0.0.1/8'::inet", '"10.0.0.1/8"', "string", "inet"),
    ("12.5::money", '"$12.50"', "string", "money"),
    ("int4range(1,5)", '"[1,5)"', "string", "int4range"),
    ("point(1,2)", '"(1,2)"', "string", "point"),
    ("b'101'::bit(3)", '"101"', "string", "bit(3)"),
    ("'a b'::tsvector", '"\'a\' \'b\'"', "string", "tsvector"),
    ("'pg_class'::regclass", '"pg_class"', "string", "regclass"),
    ("'5'::xid8", '"5"', "string", "xid8"),
]  # fmt: skip


async def test_values_are_exact_typed_and_read_by_pandas(any_source, sources):
    columns = ", ".join(f"{expression} as c{number}" for number, (expression, *_) in enumerate(VALUES))
    outcome = await run(sources, any_source, f"select {columns}")
    row = outcome.text.split('"data":[', 1)[1]
    for number, (expression, json_text, kind, pg_type) in enumerate(VALUES):
        described = outcome.fields[number]
        assert f'"c{number}":{json_text}{"," if number < len(VALUES) - 1 else "}"}' in row, expression
        assert (described["name"], described["type"], described["pgType"]) == (f"c{number}", kind, pg_type)
    assert len(frame(any_source, outcome.text)) == 1
    assert len(frame(any_source, outcome.text, precise_float=True)) == 1


async def test_nulls_are_read_as_what_they_stand_among(any_source, sources):
    sql = (
        "select * from (values (9007199254740993::bigint, true, now(), 1.5::float8, 'x', '{1}'::int[]),"
        "(null,null,null,null,null,null)) v(i,b,t,f,s,a)"
    )
    outcome = await run(sources, any_source, sql)
    read = frame(any_source, outcome.text)
    assert [str(read[name].dtype) for name in "ibtf"] == [
        "Int64",
        "boolean",
        "datetime64[ns, UTC]",
        "float64",
    ]
    assert read.isna().iloc[1].all()
    assert '"i":9007199254740993' in outcome.text
    assert outcome.data[1] == dict.fromkeys("ibtfsa")


async def test_not_a_number_and_infinity_are_null_and_counted(any_source, sources):
    outcome = await run(
        sources, any_source,
        "select * from (values (1.5::float8, 1::numeric, '{NaN,1}'::float8[]), ('NaN', 'NaN', null),"
        "('-Infinity', 'Infinity', '{Infinity}')) v(f,n,a)",
    )  # fmt: skip
    assert [row["f"] for row in outcome.data] == [1.5, None, None]
    assert [field["nonFinite"] for field in outcome.fields] == [2, 2, 2]
    assert frame(any_source, outcome.text).f.isna().tolist() == [False, True, True]


DOUBLES = ["0.1", "1e300", "1.7976931348623157e308", "2.2250738585072014e-308", "123456789012345680",
           "9007199254740993", "5e-7", "-1e16", "1e15", "0.30000000000000004"]  # fmt: skip


async def test_doubles_come_back_to_the_last_bit(any_source, sources):
    values = ",".join(f"('{text}'::float8)" for text in DOUBLES)
    outcome = await run(sources, any_source, f"select v from (values {values}) t(v)")
    assert frame(any_source, outcome.text, precise_float=True).v.tolist() == [float(text) for text in DOUBLES]


async def test_numerics_keep_every_digit_in_the_stored_json(any_source, sources):
    outcome = await run(
        sources,
        any_source,
        "select v::numeric(38,10) v from unnest(array['1234567890123456789012345678.0123456789','0.10']) v",
    )
    stored = json.loads(through_jsonb(any_source, outcome.text), parse_float=Decimal)
    assert [str(row["v"]) for row in stored["data"]] == [
        "1234567890123456789012345678.0123456789",
        "0.1000000000",
    ]


@pytest.mark.parametrize("zone", ["UTC", "Europe/Paris", "Asia/Kolkata", "America/St_Johns", "Pacific/Apia"])
async def test_timestamps_are_utc_whatever_the_sessions_zone(any_source, sources, zone):
    sql = (
        "select t, extract(epoch from t)::numeric(30,6) * 1000000 us "
        "from (select timestamptz '1700-01-01 00:00Z' + g * interval '93 days 05:17:11.000123' t"
        " from generate_series(0,1500) g) x"
    )
    outcome = await run(sources, any_source, sql, timezone=zone)
    read = pandas.to_datetime([row["t"] for row in outcome.data], format="%Y-%m-%dT%H:%M:%S.%fZ")
    microseconds = [int(value) for value in read.astype("datetime64[us]").astype("int64")]
    assert microseconds == [int(row["us"]) for row in outcome.data]


@pytest.mark.parametrize("type_name", ["timestamp", "timestamptz"])
@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("infinity", "infinity"),
        ("-infinity", "-infinity"),
        ("0044-03-15 12:00:00 BC", "0044-03-15 12:00:00{z} BC"),
        ("10000-01-01 00:00:00", "10000-01-01 00:00:00{z}"),
        ("12345-01-01 00:00:00.5", "12345-01-01 00:00:00.5{z}"),
        ("9999-12-31 23:59:59", "9999-12-31T23:59:59.000000{Z}"),
        ("0001-01-01 00:00:00", "0001-01-01T00:00:00.000000{Z}"),
    ],
)
async def test_timestamps_beyond_pandas_make_their_column_text(
    any_source, sources, type_name, value, written
):
    outcome = await run(
        sources, any_source,
        f"select t, d::text from (values ('{value}'::{type_name}, 1), ('2026-01-01 00:00', 2)) v(t, d)",
    )  # fmt: skip
    zoned = type_name == "timestamptz"
    expected = written.format(z="+00" if zoned else "", Z="Z" if zoned else "")
    assert outcome.data[0]["t"] == expected
    assert outcome.fields[0]["type"] == "string"
    assert outcome.fields[0]["pgType"].startswith("timestamp with")
    assert frame(any_source, outcome.text).t.tolist()[0] == expected


@pytest.mark.parametrize("zone", ["Asia/Kathmandu", "Europe/Amsterdam", "America/New_York"])
async def test_moments_of_every_age_are_in_utc_whatever_the_zone(any_source, sources, zone):
    sql = """
        select t, (t at time zone 'UTC')::text utc from unnest(array['infinity', '4714-11-24 00:00:00+00 BC',
            '0044-03-15 12:00:00.25+00 BC', '0001-01-01 00:00:00+00', '9999-12-31 23:59:59+00',
            '10000-01-01 00:00:00+00', '294276-12-31 23:59:59.999999+00', '2026-01-01 00:00:00+00'
        ]::timestamptz[]) t
    """
    outcome = await run(sources, any_source, sql, timezone=zone)
    assert [row["t"] for row in outcome.data] == [
        "infinity",
        *(f"{row['utc'].removesuffix(' BC')}+00 BC" for row in outcome.data[1:3]),
        "0001-01-01T00:00:00.000000Z",
        "9999-12-31T23:59:59.000000Z",
        *(f"{row['utc']}+00" for row in outcome.data[5:7]),
        "2026-01-01T00:00:00.000000Z",
    ]


async def test_dates_of_every_age_stay_text(any_source, sources):
    outcome = await run(
        sources, any_source,
        "select d from unnest('{2026-01-01,infinity,10000-01-01,0044-03-15 BC}'::date[]) d",
    )  # fmt: skip
    assert frame(any_source, outcome.text).d.tolist() == [
        "2026-01-01",
        "infinity",
        "10000-01-01",
        "0044-03-15 BC",
    ]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (r'{"a":"\u0000"}', r'{"a":"\u0000"}'),
        (r'"\ud800"', r'"\ud800"'),
        (r'"\ud83d\ude00 \\u0000"', "\U0001f600 \\u0000"),
        ("1e400000", "1e400000"),
        ("1e-20000", "1e-20000"),
        ("[1e20, 18446744073709551616, 1.5e3]", [1e20, 18446744073709551616.0, 1500]),
        ("[" * 300 + "]" * 300, "[" * 300 + "]" * 300),
        ('{"a":1,"a":2}', {"a": 2}),
        (" [1 ,\n2 ] ", [1, 2]),
    ],
)
async def test_json_that_jsonb_refuses_becomes_its_text(any_source, sources, value, expected):
    literal = value.replace("'", "''")
    outcome = await run(sources, any_source, f"select '{literal}'::json j")
    stored = json.loads(through_jsonb(any_source, outcome.text))
    assert stored["data"][0]["j"] == expected
    frame(any_source, outcome.text)


async def test_duplicate_and_odd_column_names_stay_apart(any_source, sources):
    outcome = await run(
        sources, any_source,
        'select 1 a, 2 a, 3 a_1, 4 "index", 5, 6, 7 "q""\\u{}%s", 8 "é", 9 level_0, 10 a',
    )  # fmt: skip
    names = ["a", "a_2", "a_1", "index", "?column?", "?column?_1", 'q"\\u{}%s', "é", "level_0", "a_3"]
    assert [field["name"] for field in outcome.fields] == names
    assert outcome.data == [dict(zip(names, range(1, 11), strict=True))]
    assert list(frame(any_source, outcome.text).columns) == names


@pytest.mark.parametrize(
    ("sql", "shape"),
    [
        ("select 1::bigint a, now() t, true b, 'x' s, '{}'::int[] l where false", (0, 5)),
        ("select", (1, 0)),
        ("select from generate_series(1,3)", (3, 0)),
        ("select from pg_class where false", (0, 0)),
    ],
)
async def test_no_rows_and_no_columns_are_results_too(any_source, sources, sql, shape):
    outcome = await run(sources, any_source, sql)
    assert outcome.rows == shape[0]
    assert frame(any_source, outcome.text).shape == shape


async def test_a_row_may_have_1600_columns(any_source, sources):
    columns = ", ".join(f"{n} as c{n}, 'x{n}' as t{n}" for n in range(800))
    outcome = await run(sources, any_source, f"select {columns} from generate_series(1, 2)")
    assert (outcome.rows, len(outcome.fields)) == (2, 1600)
    assert outcome.data[1] == {f"c{n}": n for n in range(800)} | {f"t{n}": f"x{n}" for n in range(800)}
    assert frame(any_source, outcome.text).shape == (2, 1600)
    with pytest.raises(QueryFailed) as caught:
        await run(sources, any_source, "select " + ", ".join(["1"] * 1665))
    assert caught.value.sqlstate == "54011"


async def test_types_and_columns_may_change_between_runs(any_source, sources):
    any_source.execute("drop view if exists moving; create view moving as select 1::int as a, 'x' as b")
    any_source.execute("grant select on moving to reader")
    seen = []
    for changed in (
        None,
        "drop view moving; create view moving as select 1.50::numeric as a",
        "drop view moving; create view moving as select now() as a, null::bool as b, '{1}'::int[] as c",
        "drop view moving; create type mood_now as enum ('ok'); "
        "create view moving as select 'ok'::mood_now as a",
        "drop view moving; drop type mood_now; create type mood_now as (n int); "
        "create view moving as select row(1)::mood_now as a",
        "drop view moving; drop type mood_now; create view moving as select 1::int as a, 'x' as b",
    ):
        if changed is not None:
            any_source.execute(changed)
            any_source.execute("grant select on moving to reader")
        outcome = await run(sources, any_source, "select * from moving")
        seen.append([field["pgType"] for field in outcome.fields])
        assert outcome.rows == 1
    any_source.execute("drop view moving")
    assert seen == [
        ["integer", "text"],
        ["numeric"],
        ["timestamp with time zone", "boolean", "integer[]"],
        ["mood_now"],
        ["mood_now"],
        ["integer", "text"],
    ]


async def test_built_in_names_are_those_of_the_server(any_source):
    modifiers = {1700: [-1, 655366, 4 + (5 << 16)], 1043: [-1, 24], 1042: [-1, 5], 1083: [-1, 0, 6],
                 1114: [-1, 3], 1184: [-1, 3], 1266: [-1, 3]}  # fmt: skip
    asked = [(oid, m) for oid in _BUILT_IN for m in modifiers.get(oid, [-1])]
    asked += [(array, m) for array, oid in _ARRAYS.items() for m in modifiers.get(oid, [-1])]
    for oid, modifier in asked:
        ((name,),) = any_source.execute("select format_type(%s, %s)", [oid, modifier])
        assert built_in_type(oid, modifier).name == name


async def test_bytes_that_are_no_text_are_an_sql_error(any_pg_server, sources):
    any_pg_server.execute(
        "create database ascii_source template template0 encoding 'SQL_ASCII' locale_provider libc locale 'C'"
    )
    source = SourceDatabase(server=any_pg_server, dbname="ascii_source")
    try:
        assert (await run(sources, source, r"select E'\303\251' t")).data == [{"t": "é"}]
        with pytest.raises(QueryFailed) as caught:
            await run(sources, source, r"select E'a\377b' t")
        assert caught.value.sqlstate == "22021"
    finally:
        await sources.close()
        any_pg_server.drop("ascii_source")
