"""Formats: how one is chosen, and that the stored digits survive every one of them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgsched.application.ports.views import StoredRun
from pgsched.domain.errors import InvalidInput, NotFound
from pgsched.domain.runs import Run, RunStatus, Trigger
from pgsched.entrypoints.http import wire
from pgsched.entrypoints.http.formats import Format, chosen, rendered
from pgsched.entrypoints.http.problems import FormatUnavailable

T = datetime(2026, 1, 1, 6, tzinfo=UTC)
DOCUMENT = (
    b'{"data": [{"n": 9007199254740993, "a\\nb": "x"}, {"n": 0.10, "a\\nb": null}],'
    b' "schema": {"fields": [{"name": "a\\nb", "type": "string"}, {"name": "n", "type": "number"}]}}'
)


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


def test_table_is_the_contracts_run_with_the_stored_bytes_inside() -> None:
    body = wire.run_with_result(
        stored(run_started_at=T, run_finished_at=T.replace(microsecond=120), duration_ms=3, rows_returned=2)
    )
    assert DOCUMENT in body
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
    }


def test_run_without_a_result_has_null() -> None:
    assert json.loads(wire.run_with_result(stored(None)))["result"] is None


@pytest.mark.parametrize("with_result", [True, False])
def test_run_list_has_results_only_when_asked(with_result: bool) -> None:
    body = wire.run_list([stored(), stored(None)], next_before=7, prev_after=None, with_result=with_result)
    told = json.loads(body)
    assert (told["next_before"], told["prev_after"]) == (7, None)
    assert ["result" in item for item in told["items"]] == [with_result, with_result]


def test_run_list_may_be_empty() -> None:
    body = wire.run_list([], next_before=None, prev_after=None, with_result=True)
    assert json.loads(body) == {"items": [], "next_before": None, "prev_after": None}


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


@pytest.mark.parametrize(
    ("parameter", "accept", "format_"),
    [
        (None, None, Format.TABLE),
        (None, "*/*", Format.TABLE),
        (None, "application/json", Format.TABLE),
        (None, "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Format.TABLE),
        (None, "application/x-ndjson", Format.NDJSON),
        (None, "application/json;q=0.5, application/x-ndjson", Format.NDJSON),
        (None, "Application/JSON; q=1", Format.TABLE),
        (None, "application/*", Format.TABLE),
        (None, "text/csv, application/json;q=0.1", Format.TABLE),
        (None, "application/json;q=0, */*", Format.NDJSON),
        ("records", "application/x-ndjson", Format.RECORDS),
        ("table", "image/png", Format.TABLE),
    ],
)
def test_format_is_chosen(parameter: str | None, accept: str | None, format_: Format) -> None:
    assert chosen(parameter, accept) is format_


@pytest.mark.parametrize(
    ("parameter", "accept"),
    [
        ("parquet", None),
        ("arrow", "*/*"),
        (None, "image/png"),
        (None, "*/*;q=0"),
        (None, "application/vnd.apache.parquet"),
    ],
)
def test_format_that_is_not_to_be_had_says_which_are(parameter: str | None, accept: str | None) -> None:
    with pytest.raises(FormatUnavailable, match="table, records, columns, ndjson"):
        chosen(parameter, accept)


@pytest.mark.parametrize("parameter", ["", "xml", "TABLE"])
def test_format_of_no_such_name_is_invalid(parameter: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        chosen(parameter, None)
    assert caught.value.faults[0].field == "format"
