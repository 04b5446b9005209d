"""Writing results: the stored digits survive every format."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgsched.adapters.formats.integers import with_strings
from pgsched.adapters.formats.shape import Format, Shape
from pgsched.adapters.formats.writing import written
from pgsched.adapters.memory.store import MemoryStore
from pgsched.adapters.memory.views import MemoryRunView
from pgsched.application.ports.views import StoredRun
from pgsched.domain.errors import InvalidInput, NotFound
from pgsched.domain.runs import Run, RunStatus, Trigger

JSON_AND_CSV = (Format.TABLE, Format.RECORDS, Format.COLUMNS, Format.NDJSON, Format.CSV)
T = datetime(2026, 1, 1, 6, tzinfo=UTC)
DOCUMENT = (
    b'{"data": [{"n": 9007199254740993, "a\\nb": "x"}, {"n": 0.10, "a\\nb": null}],'
    b' "schema": {"fields": [{"name": "a\\nb", "type": "string"}, {"name": "n", "type": "number"}]}}'
)


async def rendered(run: StoredRun, format_: Format, **shape: object) -> bytes:
    pieces = written(MemoryRunView(MemoryStore()), run, Shape(format=format_, **shape))
    return b"".join([piece async for piece in pieces])


def stored(result: bytes | None = DOCUMENT, **changes: object) -> StoredRun:
    values: dict[str, object] = {
        "id": 7,
        "query_id": 3,
        "scheduled_at": T,
        "job_timezone": "Europe/Berlin",
        "status": RunStatus.SUCCESS,
        "trigger": Trigger.SCHEDULE,
    }
    return StoredRun(run=Run(**{**values, **changes}), result=result)  # type: ignore[arg-type]


async def test_table_is_the_contracts_run_with_the_stored_rows_inside() -> None:
    body = await rendered(
        stored(run_started_at=T, run_finished_at=T.replace(microsecond=120), duration_ms=3, rows_returned=2),
        Format.TABLE,
    )
    assert b'{"n": 9007199254740993, "a\\nb": "x"}, {"n": 0.10, "a\\nb": null}' in body
    told = json.loads(body)
    del told["result"]
    assert told == {
        "id": 7,
        "query_id": 3,
        "scheduled_at": "2026-01-01T06:00:00Z",
        "job_timezone": "Europe/Berlin",
        "run_started_at": "2026-01-01T06:00:00Z",
        "run_finished_at": "2026-01-01T06:00:00.000120Z",
        "duration_ms": 3,
        "status": "success",
        "rows_returned": 2,
        "error_message": None,
        "error_code": None,
        "attempt": 0,
        "trigger": "schedule",
        "truncated": False,
        "params": None,
        "param_values": None,
    }


async def test_run_without_a_result_has_null() -> None:
    assert json.loads(await rendered(stored(None), Format.TABLE))["result"] is None


async def test_records_are_the_stored_rows_byte_for_byte() -> None:
    assert await rendered(stored(), Format.RECORDS) == (
        b'[{"n": 9007199254740993, "a\\nb": "x"}, {"n": 0.10, "a\\nb": null}]'
    )


async def test_columns_follow_the_schema_and_keep_every_digit() -> None:
    assert await rendered(stored(), Format.COLUMNS) == b'{"a\\nb":["x",null],"n":[9007199254740993,0.10]}'


async def test_columns_of_no_rows_are_empty_lists() -> None:
    empty = b'{"data": [], "schema": {"fields": [{"name": "a"}, {"name": "b"}]}}'
    assert json.loads(await rendered(stored(empty), Format.COLUMNS)) == {"a": [], "b": []}


async def test_ndjson_is_an_object_a_line() -> None:
    pretty = b'{"data": [{"a":\n 1},\n {"a": "\\n"}], "schema": {"fields": []}}'
    lines = (await rendered(stored(pretty), Format.NDJSON)).splitlines()
    assert [json.loads(line) for line in lines] == [{"a": 1}, {"a": "\n"}]


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.text(),
    st.integers(),
    st.decimals(allow_nan=False, allow_infinity=False).map(float),
)
TABLES = st.lists(st.text(), min_size=1, max_size=4, unique=True).flatmap(
    lambda names: st.tuples(
        st.just(names), st.lists(st.fixed_dictionaries(dict.fromkeys(names, VALUES)), max_size=4)
    )
)


@given(TABLES)
async def test_every_format_holds_the_same_values(table: tuple[list[str], list[dict[str, object]]]) -> None:
    names, rows = table
    document = json.dumps({"schema": {"fields": [{"name": name} for name in names]}, "data": rows})
    run = stored(document.encode())

    def exact(text: bytes) -> object:
        return json.loads(text, parse_float=Decimal)

    wanted = exact(json.dumps(rows).encode())
    assert exact(await rendered(run, Format.RECORDS)) == wanted
    assert [exact(line) for line in (await rendered(run, Format.NDJSON)).split(b"\n")[:-1]] == wanted
    columns = exact(await rendered(run, Format.COLUMNS))
    assert list(columns) == names
    assert [dict(zip(names, values, strict=True)) for values in zip(*columns.values(), strict=True)] == wanted


async def test_large_results_are_written_alike() -> None:
    row = b'{"a": "' + b"x" * 1000 + b'"}'
    large = b'{"data": [' + b", ".join([row] * 400) + b'], "schema": {"fields": [{"name": "a"}]}}'
    assert len(json.loads(await rendered(stored(large), Format.COLUMNS))["a"]) == 400


async def test_rows_alone_of_a_run_without_result_are_not_found() -> None:
    with pytest.raises(NotFound, match="error"):
        await rendered(stored(None, status=RunStatus.ERROR), Format.RECORDS)


def document(rows: list[dict[str, object]], **types: str) -> bytes:
    """A document whose columns have these Postgres types; those that JSON has no number for are strings."""
    kinds = {"json": "any", "jsonb": "any", "text": "string", "boolean": "boolean"}
    fields = [
        {"name": name, "type": "any" if type_.endswith("[]") else kinds.get(type_, "number"), "pgType": type_}
        for name, type_ in types.items()
    ]
    return json.dumps({"schema": {"fields": fields}, "data": rows}, ensure_ascii=False).encode()


# a part of it


async def test_columns_are_picked_in_the_order_asked_for() -> None:
    run = stored(document([{"a": 1, "b": 2, "c": 3}], a="integer", b="integer", c="integer"))
    picked = {format_: await rendered(run, format_, columns=("c", "a")) for format_ in JSON_AND_CSV}
    assert picked[Format.RECORDS] == b'[{"c":3,"a":1}]'
    assert picked[Format.COLUMNS] == b'{"c":[3],"a":[1]}'
    assert picked[Format.NDJSON] == b'{"c":3,"a":1}\n'
    assert picked[Format.CSV] == b"c,a\r\n3,1\r\n"
    result = json.loads(picked[Format.TABLE])["result"]
    assert ([field["name"] for field in result["schema"]["fields"]], result["data"]) == (
        ["c", "a"],
        [{"c": 3, "a": 1}],
    )


@pytest.mark.parametrize("format_", list(Format))
async def test_column_that_is_not_there_is_invalid(format_: Format) -> None:
    with pytest.raises(InvalidInput) as caught:
        await rendered(stored(), format_, columns=("n", "N"))
    assert caught.value.faults[0].field == "columns"
    assert "'N'" in caught.value.faults[0].message


async def test_rows_are_a_slice() -> None:
    run = stored(document([{"a": n} for n in range(10)], a="integer"))
    for offset, limit, wanted in (
        (0, 3, [0, 1, 2]),
        (8, 5, [8, 9]),
        (10, 1, []),
        (4, 0, []),
        (7, None, [7, 8, 9]),
    ):
        assert json.loads(await rendered(run, Format.COLUMNS, offset=offset, limit=limit)) == {"a": wanted}
        table = json.loads(await rendered(run, Format.TABLE, offset=offset, limit=limit))
        assert table["result"]["data"] == [{"a": n} for n in wanted]


# bigint=string


async def test_integers_beyond_2_to_the_53_are_strings_when_asked() -> None:
    run = stored(
        document(
            [
                {
                    "i": 9007199254740993,
                    "j": {"9007199254740993": [-9007199254740993, "9007199254740993", 1.5]},
                    "d": 9007199254740994.0,
                    "t": '"9007199254740993',
                },
                {"i": 9007199254740992, "j": 12345678901234567890, "d": 1e17, "t": "\\"},
            ],
            i="bigint",
            j="jsonb",
            d="double precision",
            t="text",
        )
    )
    wanted = [
        {
            "i": "9007199254740993",
            "j": {"9007199254740993": ["-9007199254740993", "9007199254740993", 1.5]},
            "d": 9007199254740994.0,
            "t": '"9007199254740993',
        },
        {"i": 9007199254740992, "j": "12345678901234567890", "d": 1e17, "t": "\\"},
    ]
    told = {format_: await rendered(run, format_, bigint_as_string=True) for format_ in JSON_AND_CSV}
    assert json.loads(told[Format.TABLE])["result"]["data"] == wanted
    assert json.loads(told[Format.RECORDS]) == wanted
    assert [json.loads(line) for line in told[Format.NDJSON].splitlines()] == wanted
    assert json.loads(told[Format.COLUMNS]) == {key: [row[key] for row in wanted] for key in "ijdt"}
    assert told[Format.CSV] == await rendered(run, Format.CSV)


@given(
    st.one_of(st.integers(), st.integers(2**52, 2**70), st.decimals(allow_nan=False, allow_infinity=False))
)
def test_only_integers_that_a_double_cannot_hold_become_strings(number: int | Decimal) -> None:
    text = format(number, "f")
    told = with_strings(f'{{"a":[{text}],"b":"{text}"}}'.encode())
    whole = number == int(number) and "." not in text
    big = whole and abs(int(number)) > 2**53
    assert told == f'{{"a":[{chr(34) + text + chr(34) if big else text}],"b":"{text}"}}'.encode()


def test_fraction_that_only_keeps_documents_readable_is_left_out_of_strings() -> None:
    assert with_strings(b"[100000000000000000000000.0]") == b'["100000000000000000000000"]'
    assert with_strings(b"[1000000000000000.0, 1234567890123456.5, 0.12345678901234567]") == (
        b"[1000000000000000.0, 1234567890123456.5, 0.12345678901234567]"
    )


# csv


async def test_csv_tells_null_from_an_empty_text() -> None:
    rows = [{"a": None, "b": ""}, {"a": "", "b": None}]
    assert await rendered(stored(document(rows, a="text", b="text")), Format.CSV) == b'a,b\r\n,""\r\n"",\r\n'


async def test_csv_writes_values_as_they_are_stored() -> None:
    document_ = (
        b'{"data": [{"n": 0.10, "j": {"a": "x,y"}, "t": "a\\"b\\n\\u00e4", "o": true}],'
        b' "schema": {"fields": [{"name": "n", "type": "number"}, {"name": "j", "type": "any"},'
        b' {"name": "t", "type": "string"}, {"name": "o", "type": "boolean"}]}}'
    )
    told = await rendered(stored(document_), Format.CSV)
    assert told == 'n,j,t,o\r\n0.10,"{""a"": ""x,y""}","a""b\nä",true\r\n'.encode()


async def test_csv_has_no_fraction_that_only_keeps_json_readable() -> None:
    cells = ("100000000000000000000000.0", "18446744073709551616.0", "-9223372036854775809.0")
    own = (
        "1234567890123456789.0",
        "18446744073709551615.0",
        "0.10",
        "1.0",
        "99999999999999999999999.05",
        "null",
    )
    rows = ",".join(f'{{"n":{cell},"z":{cell},"s":{cell},"d":{cell}}}' for cell in (*cells, *own))
    types = {"n": "numeric", "z": "numeric(30,0)", "s": "numeric(30,1)", "d": "double precision"}
    fields = [{"name": name, "type": "number", "pgType": type_} for name, type_ in types.items()]
    run = stored(f'{{"schema":{{"fields":{json.dumps(fields)}}},"data":[{rows}]}}'.encode())
    told = (await rendered(run, Format.CSV)).decode().split("\r\n")
    bare = [cell.removesuffix(".0") for cell in cells]
    assert told[1:4] == [f"{n},{n},{cell},{cell}" for n, cell in zip(bare, cells, strict=True)]
    assert told[4:-1] == [",".join([cell.replace("null", "")] * 4) for cell in own]


async def test_csv_for_spreadsheets_leaves_numbers_in_json_alone() -> None:
    rows = [{"j": -5, "a": [-5]}, {"j": "=cmd", "a": ["=cmd"]}, {"j": None, "a": None}]
    told = await rendered(stored(document(rows, j="jsonb", a="text[]")), Format.CSV, csv_safe=True)
    assert told.decode().split("\r\n")[1:] == ["-5,[-5]", '"""=cmd""","[""=cmd""]"', ",", ""]


FORMULAS = ["=1+1", "+1", "-1", "@a", "\tx", "\rx", '=HYPERLINK("http://x,y")', "\nx"]


async def test_csv_for_spreadsheets_holds_no_formulas() -> None:
    rows = [{"=t": formula, "n": -1} for formula in FORMULAS]
    run = stored(document(rows, **{"=t": "text", "n": "integer"}))
    told = list(
        csv.reader(io.StringIO((await rendered(run, Format.CSV, csv_safe=True)).decode(), newline=""))
    )
    assert told == [["'=t", "n"], *([f"'{formula}", "-1"] for formula in FORMULAS)]
    plain = list(csv.reader(io.StringIO((await rendered(run, Format.CSV)).decode(), newline="")))
    assert plain == [["=t", "n"], *([formula, "-1"] for formula in FORMULAS)]


@given(st.lists(st.tuples(st.text(), st.text()), max_size=5))
async def test_csv_is_read_as_it_was_stored(rows: list[tuple[str, str]]) -> None:
    run = stored(document([{"a": a, "b": b} for a, b in rows], a="text", b="text"))
    told = (await rendered(run, Format.CSV)).decode()
    assert list(csv.reader(io.StringIO(told, newline=""))) == [["a", "b"], *map(list, rows)]
