"""Results over HTTP: pages, row filters, files and streams, of results in one document and in chunks."""

from __future__ import annotations

import csv
import io
import json
import logging
import random
from collections.abc import Iterator

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from http_fixtures import Rows, api_over, numbered
from postgres_fixtures import Database, Server, fresh_database

from pgsched.domain.audience import Audience
from pgsched.domain.callers import Caller
from pgsched.domain.jobs import Visibility

#: enough rows for an answer that is streamed
MANY = 60_000
ROWS = numbered(MANY)["data"]
#: of the queries that are made
NUMBERS = iter(range(1, 1000))


class Known:
    """Knows everybody as the account or role that a header names."""

    async def __call__(self, headers: dict, peer: object) -> Caller:
        name = headers.get(b"x-tenant")
        roles = frozenset() if name is None else frozenset({name.decode()})
        return Caller(audience=Audience(visibilities=frozenset({Visibility.PUBLIC}), roles=roles))


@pytest.fixture(scope="module")
def seeded(pg_server: Server, migrated_template: str) -> Iterator[Database]:
    with fresh_database(pg_server, template=migrated_template) as database:
        rows = Rows(conninfo=database.conninfo, names=NUMBERS)
        query, tenants = rows.query("large"), rows.query("tenants", visibility="restricted")
        for chunks in (7, 0):
            rows.run(query, chunks, document=numbered(MANY), chunks=chunks)
            rows.run(tenants, chunks, document=numbered(2000), chunks=chunks)
        for role, shown in (("some", {"n": [3, 4, 1999]}), ("none", {"gone": [None]}), ("all", None)):
            database.execute(
                "insert into query_grant (query_id, role, row_filter) values (%s, %s, %s)",
                [tenants, role, None if shown is None else json.dumps(shown)],
            )
        yield database


@pytest.fixture(scope="module")
def api(seeded: Database) -> Iterator[httpx.Client]:
    with api_over(seeded, authenticate=Known()) as client:
        yield client


@pytest.fixture(params=[1, 2], ids=["document", "chunks"])
def path(request: pytest.FixtureRequest, api: httpx.Client) -> str:
    """The run of the query large in each way of storing it."""
    runs = api.get("/api/queries/large/runs").json()["items"]
    return f"/api/runs/{runs[-request.param]['id']}"


def problem(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


def test_every_format_holds_every_row(api: httpx.Client, path: str) -> None:
    def get(format_: str) -> bytes:
        answer = api.get(path, params={"format": format_})
        assert answer.status_code == 200, answer.text[:200]
        assert answer.headers["x-total-count"] == str(MANY)
        assert ("content-length" in answer.headers) == (len(answer.content) <= 2**20)
        return answer.content

    assert json.loads(get("table"))["result"]["data"] == ROWS
    assert json.loads(get("records")) == ROWS
    assert json.loads(get("columns")) == {key: [row[key] for row in ROWS] for key in ("n", "t")}
    assert [json.loads(line) for line in get("ndjson").splitlines()] == ROWS
    lines = list(csv.reader(io.StringIO(get("csv").decode(), newline="")))
    assert lines == [["n", "t"], *([str(row["n"]), row["t"]] for row in ROWS)]


def test_files_are_typed_and_named(api: httpx.Client, path: str) -> None:
    parquet = api.get(path, headers={"Accept": "application/vnd.apache.parquet"})
    table = pq.read_table(io.BytesIO(parquet.content))
    assert table.schema.types == [pa.int32(), pa.string()]
    assert table.to_pylist() == ROWS
    arrow = api.get(path, params={"format": "arrow"})
    assert pa.ipc.open_stream(arrow.content).read_all().to_pylist() == ROWS
    for answer, end in ((parquet, "parquet"), (arrow, "arrows"), (api.get(f"{path}?format=csv"), "csv")):
        disposition = answer.headers["content-disposition"]
        assert disposition.startswith('attachment; filename="query-')
        assert disposition.endswith(f'.{end}"')
    assert "content-disposition" not in api.get(f"{path}?format=records&rows=0,1").headers


def test_page_of_rows_with_picked_columns(api: httpx.Client, path: str) -> None:
    told = api.get(path, params={"rows": "59990,100", "columns": "t"})
    assert [row["t"] for row in told.json()["result"]["data"]] == [f"row {n}" for n in range(59990, MANY)]
    assert told.json()["rows_returned"] == MANY
    assert told.headers["x-total-count"] == str(MANY)
    assert told.headers["content-length"]
    for format_ in ("records", "csv", "ndjson", "columns", "parquet", "arrow"):
        assert api.get(path, params={"format": format_, "rows": "8568,10"}).status_code == 200
    assert api.get(f"{path}?format=columns&rows=8570,4&columns=n").json() == {"n": [8570, 8571, 8572, 8573]}
    assert api.get(f"{path}?format=records&rows=99999999,1").json() == []


@pytest.mark.parametrize(
    "asked",
    [
        *("rows=1", "rows=", "rows=-1,2", "rows=1,2,3", "rows=a,b", f"rows=0,{2**63}", "rows=1, 2"),
        *("columns=", "columns=n,", "columns=missing", "columns=N", 'columns="n', "columns=a%0Ab"),
        *("bigint=1", "bigint=", "csv_safe=yes", "csv_safe=", "format=", "format=CSV"),
    ],
)
def test_malformed_parameter_is_named(api: httpx.Client, path: str, asked: str) -> None:
    answer = api.get(f"{path}?{asked}")
    assert problem(answer) == (400, "invalid_request")
    assert answer.json()["errors"][0]["field"] == asked.partition("=")[0]


def test_faults_of_the_shape_are_told_with_all_others(api: httpx.Client) -> None:
    asked = {"format": "xls", "rows": "x", "status": "done", "params": "-", "bigint": "1"}
    answer = api.get("/api/queries/large/runs/latest", params=asked)
    assert problem(answer) == (400, "invalid_request")
    told = {fault["field"]: fault["message"] for fault in answer.json()["errors"]}
    assert set(told) == set(asked)
    assert told["format"] == "must be one of table, records, columns, csv, ndjson, parquet, arrow, not xls"
    # before the other thing that is wrong with it
    refused = api.get("/api/queries/large/runs/latest?rows=x", headers={"Accept": "image/png"})
    assert problem(refused) == (400, "invalid_request")


def test_column_whose_name_holds_a_line_break_is_picked(seeded: Database, api: httpx.Client) -> None:
    rows = Rows(conninfo=seeded.conninfo, names=NUMBERS)
    name = "new\r\nline"
    fields = [{"name": name, "type": "integer", "pgType": "integer", "pgOid": 23}]
    document = {"schema": {"fields": fields, "pandas_version": "1.4.0"}, "data": [{name: 1}]}
    run = rows.run(rows.query(), document=document)
    answer = api.get(f"/api/runs/{run}", params={"format": "records", "columns": f'"{name}"'})
    assert answer.json() == [{name: 1}]


def test_conditional_request_reads_no_rows_and_head_sends_none(api: httpx.Client, path: str) -> None:
    for asked in ("", "?format=csv", "?format=parquet", "?rows=5,10", "?format=ndjson&columns=t"):
        first = api.get(path + asked)
        again = api.get(path + asked, headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]
        other = api.get(path + asked, headers={"If-None-Match": '"other"'})
        assert (other.status_code, other.content) == (200, first.content)
        head = api.head(path + asked)
        assert (head.status_code, head.content) == (200, b"")
        for name in ("etag", "content-type", "x-total-count"):
            assert head.headers[name] == first.headers[name]
        # RFC 9110, section 8.6: what a GET would tell, or nothing
        assert head.headers.get("content-length") in (None, first.headers.get("content-length"))


@pytest.mark.parametrize("asked", ["", "?format=csv", "?format=parquet", "?format=columns"])
def test_head_of_what_is_streamed_has_no_length(seeded: Database, api: httpx.Client, asked: str) -> None:
    rows = Rows(conninfo=seeded.conninfo, names=NUMBERS)
    # nothing that Parquet could make small
    texts = [{"n": n, "t": random.Random(n).randbytes(500).hex()} for n in range(4000)]
    path = f"/api/runs/{rows.run(rows.query(), document={**numbered(0), 'data': texts}, chunks=4)}{asked}"
    head = api.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert "content-length" not in head.headers
    # the connection goes on
    assert api.get(path).headers["etag"] == head.headers["etag"]


def test_any_tag_is_not_known_where_there_is_nothing_to_show(
    seeded: Database, api: httpx.Client, path: str
) -> None:
    rows = Rows(conninfo=seeded.conninfo, names=NUMBERS)
    failed = f"/api/runs/{rows.run(rows.query(), status='error')}"
    anything = {"If-None-Match": "*"}
    for asked in (path, f"{path}?format=csv&columns=n", failed):
        assert api.get(asked, headers=anything).status_code == 304
    assert problem(api.get(f"{failed}?format=csv", headers=anything)) == (404, "not_found")
    for asked in ("columns=zz", "format=arrow&columns=n,zz"):
        assert problem(api.get(f"{path}?{asked}", headers=anything)) == (400, "invalid_request")


def test_tenants_see_their_rows_in_every_format_page_and_count(api: httpx.Client) -> None:
    runs = api.get("/api/queries/tenants/runs", headers={"X-Tenant": "all"}).json()["items"]
    assert len(runs) == 2
    assert problem(api.get("/api/queries/tenants")) == (404, "not_found")
    assert problem(api.get("/api/queries/tenants", headers={"X-Tenant": "other"})) == (404, "not_found")
    tags = set()
    for run in runs:
        for tenant, wanted in (("some", [3, 4, 1999]), ("none", []), ("all", list(range(2000)))):
            headers = {"X-Tenant": tenant}
            path = f"/api/runs/{run['id']}"
            told = api.get(path, headers=headers)
            assert [row["n"] for row in told.json()["result"]["data"]] == wanted
            assert told.json()["rows_returned"] == len(wanted)
            assert told.headers["x-total-count"] == str(len(wanted))
            tags.add(told.headers["etag"])
            assert [row["n"] for row in api.get(f"{path}?format=records", headers=headers).json()] == wanted
            page = api.get(f"{path}?format=columns&rows=1,1&columns=n", headers=headers).json()
            assert page == {"n": wanted[1:2]}
            lines = api.get(f"{path}?format=csv", headers=headers).text.splitlines()
            assert lines[1:] == [f"{n},row {n}" for n in wanted]
            parquet = api.get(f"{path}?format=parquet", headers=headers).content
            assert pq.read_table(io.BytesIO(parquet))["n"].to_pylist() == wanted
            listed = api.get("/api/queries/tenants/runs?include=result", headers=headers).json()["items"]
            [item] = [item for item in listed if item["id"] == run["id"]]
            assert [row["n"] for row in item["result"]["data"]] == wanted
            assert item["rows_returned"] == len(wanted)
            bare = api.get("/api/queries/tenants/runs", headers=headers).json()["items"]
            assert {item["rows_returned"] for item in bare} == {len(wanted)}
            card = api.get("/api/queries/tenants", headers=headers).json()
            assert card["last_run"]["rows_returned"] == len(wanted)
    assert len(tags) == 6
    for tenant, wanted in (("some", True), ("none", False), ("all", False), ("some", True)):
        assert ("row 1999<" in api.get("/", headers={"X-Tenant": tenant}).text) == wanted


FACTS = {
    "schema": {
        "fields": [
            {"name": "n", "type": "integer", "extDtype": "float64", "pgType": "bigint", "pgOid": 20},
            {"name": "f", "type": "number", "pgType": "double precision", "pgOid": 701, "nonFinite": 1},
            {"name": "at", "type": "string", "pgType": "timestamp without time zone", "pgOid": 1114},
        ],
        "pandas_version": "1.4.0",
    },
    "data": [
        {"n": 1, "f": 1.5, "at": "2026-01-01T00:00:00.000000"},
        {"n": None, "f": None, "at": "infinity"},
        {"n": 2**63 - 1, "f": 1.5, "at": None},
    ],
}


@pytest.mark.parametrize("chunks", [0, 3])
def test_tenants_learn_nothing_of_hidden_rows_from_types(
    seeded: Database, api: httpx.Client, chunks: int
) -> None:
    rows = Rows(conninfo=seeded.conninfo, names=NUMBERS)
    query = rows.query(visibility="restricted")
    path = f"/api/runs/{rows.run(query, document=FACTS, chunks=chunks)}"
    for role, shown in (("first", {"n": [1]}), ("nobody", {"n": [7]}), ("both", {"f": [None, 1.5]})):
        seeded.execute(
            "insert into query_grant (query_id, role, row_filter) values (%s, %s, %s)",
            [query, role, json.dumps(shown)],
        )
    for role in ("first", "nobody"):
        for asked in ("", "?rows=0,0"):
            fields = api.get(path + asked, headers={"X-Tenant": role}).json()["result"]["schema"]["fields"]
            assert [(field["type"], field.get("extDtype")) for field in fields] == [
                ("integer", "Int64"),
                ("number", None),
                ("datetime", None),
            ]
            assert "nonFinite" not in fields[1]
        arrow = api.get(f"{path}?format=arrow", headers={"X-Tenant": role})
        assert pa.ipc.open_stream(arrow.content).read_all().schema.types[2] == pa.timestamp("us")
    for asked in ("", "?rows=0,1"):
        fields = api.get(path + asked, headers={"X-Tenant": "both"}).json()["result"]["schema"]["fields"]
        assert [field.get("extDtype", field["type"]) for field in fields] == ["float64", "number", "string"]
    picked = api.get(f"{path}?columns=f", headers={"X-Tenant": "first"}).json()["result"]["schema"]
    assert picked["fields"] == [{"name": "f", "type": "number", "pgType": "double precision", "pgOid": 701}]


def test_list_with_large_results_is_whole(api: httpx.Client) -> None:
    items = api.get("/api/queries/large/runs?include=result").json()["items"]
    assert [item["result"]["data"] == ROWS for item in items] == [True, True]


def test_list_with_results_quotes_integers_when_asked(seeded: Database, api: httpx.Client) -> None:
    rows = Rows(conninfo=seeded.conninfo, names=NUMBERS)
    rows.run(rows.query("big"), document=numbered(1, n=2**53 + 1))
    told = api.get("/api/queries/big/runs?include=result&bigint=string").json()
    assert told["items"][0]["result"]["schema"]["fields"] == numbered(0)["schema"]["fields"]
    assert told["items"][0]["result"]["data"] == [{"n": str(2**53 + 1), "t": "row 0"}]
    assert problem(api.get("/api/queries/big/runs?bigint=yes")) == (400, "invalid_request")


def test_answer_is_cut_off_when_its_run_is_deleted_meanwhile(
    seeded: Database, api: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    rows = Rows(conninfo=seeded.conninfo, names=NUMBERS)
    run = rows.run(rows.query("huge"), document=numbered(3000, t="x" * 20_000), chunks=60)
    with api.stream("GET", f"/api/runs/{run}?format=ndjson") as answer:
        assert answer.status_code == 200
        pieces = answer.iter_raw()
        next(pieces)
        seeded.execute("delete from query_run where id = %s", [run])
        with pytest.raises(httpx.RemoteProtocolError):
            list(pieces)
    assert problem(api.get(f"/api/runs/{run}")) == (404, "not_found")
    # Regression: what is no fault of the server's was a traceback in its log.
    told = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.action for record in told if hasattr(record, "action")] == ["http.cut_off"]
    assert not any(record.exc_info for record in told)


def test_readers_that_go_away_hold_nothing(seeded: Database, api: httpx.Client) -> None:
    rows = Rows(conninfo=seeded.conninfo, names=NUMBERS)
    run = rows.run(rows.query("left"), document=numbered(2000, t="x" * 20_000), chunks=40)
    for _ in range(12):  # three times the connections there are
        with api.stream("GET", f"/api/runs/{run}?format=csv") as answer:
            next(answer.iter_raw())
    assert api.get(f"/api/runs/{run}?rows=0,1").status_code == 200
