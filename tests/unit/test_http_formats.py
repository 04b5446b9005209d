"""Formats: how one is chosen."""

from __future__ import annotations

import sys

import pytest

from pgsched.adapters.formats.shape import MEDIA_TYPES, Format
from pgsched.entrypoints.http.app import openapi_document
from pgsched.entrypoints.http.formats import chosen
from pgsched.entrypoints.http.problems import FormatUnavailable


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
        (None, "text/csv, application/json;q=0.1", Format.CSV),
        (None, "text/csv;q=0.2, application/json;q=0.1", Format.CSV),
        (None, "text/*", Format.CSV),
        (None, "application/vnd.apache.parquet", Format.PARQUET),
        (None, "application/vnd.apache.arrow.stream, */*;q=0.1", Format.ARROW),
        (None, "application/json;q=nan, text/csv;q=0.5", Format.TABLE),
        (None, "application/json;q=0, */*", Format.NDJSON),
        ("records", "application/x-ndjson", Format.RECORDS),
        ("table", "image/png", Format.TABLE),
    ],
)
def test_format_is_chosen(parameter: str | None, accept: str | None, format_: Format) -> None:
    assert chosen(None if parameter is None else Format(parameter), accept) is format_


@pytest.mark.parametrize("accept", ["image/png", "*/*;q=0", "text/plain, application/xml"])
def test_accept_that_names_nothing_to_be_had_says_what_is(accept: str) -> None:
    with pytest.raises(FormatUnavailable, match="table, records, columns, csv, ndjson"):
        chosen(None, accept)


@pytest.mark.parametrize("format_", ["parquet", "arrow"])
def test_without_pyarrow_typed_files_are_not_to_be_had(monkeypatch: pytest.MonkeyPatch, format_: str) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(FormatUnavailable, match="extra arrow"):
        chosen(Format(format_), None)
    with pytest.raises(FormatUnavailable):
        chosen(None, "application/vnd.apache.parquet")
    assert chosen(None, "application/vnd.apache.parquet, text/csv;q=0.1") is Format.CSV


def test_document_tells_of_every_format() -> None:
    paths = openapi_document("0")["paths"]
    for path in ("/api/runs/{run_id}", "/api/queries/{qid}/runs/latest"):
        answer = paths[path]["get"]["responses"]["200"]
        assert set(answer["content"]) == set(MEDIA_TYPES.values())
        assert len(answer["content"]["application/json"]["schema"]["anyOf"]) == 3
        assert "X-Total-Count" in answer["headers"]
