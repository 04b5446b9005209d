"""Reading over HTTP: queries, runs and results as dashboards ask for them."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator

import httpx
import pytest
from http_fixtures import DOCUMENT, Rows, api_over
from postgres_fixtures import Database

RUN_FIELDS = [
    "id",
    "query_id",
    "scheduled_at",
    "job_timezone",
    "run_started_at",
    "run_finished_at",
    "duration_ms",
    "status",
    "rows_returned",
    "error_message",
    "error_code",
    "attempt",
    "trigger",
    "truncated",
    "params",
    "param_values",
]


@pytest.fixture
def rows(database: Database) -> Rows:
    return Rows(conninfo=database.conninfo)


@pytest.fixture
def api(database: Database) -> Iterator[httpx.Client]:
    with api_over(database) as client:
        yield client


def problem(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == answer.status_code
    assert body.keys() >= {"type", "title", "detail", "code"}
    assert "Traceback" not in answer.text
    return answer.status_code, body["code"]


def ids(answer: httpx.Response) -> list[int]:
    assert answer.status_code == 200, answer.text
    return [item["id"] for item in answer.json()["items"]]


def test_queries_are_listed_by_name_with_total_and_last_run(api: httpx.Client, rows: Rows) -> None:
    second, first = rows.query("zebra"), rows.query("ant")
    run = rows.run(first, 0)
    rows.run(first, 1, "skipped")
    rows.query("hidden", visibility="restricted")
    told = api.get("/api/queries").json()
    assert (told["total"], told["limit"], told["offset"]) == (2, 50, 0)
    assert [item["id"] for item in told["items"]] == [first, second]
    assert told["items"][0]["last_run"]["id"] == run
    assert list(told["items"][0]["last_run"]) == RUN_FIELDS
    assert told["items"][1]["last_run"] is None
    assert not {"sql_text", "data_source_id"} & told["items"][0].keys()
    page = api.get("/api/queries?limit=1&offset=1").json()
    assert ([item["id"] for item in page["items"]], page["total"]) == ([second], 2)


def test_query_is_found_by_name_and_by_id(api: httpx.Client, rows: Rows) -> None:
    query = rows.query("orders", title="Orders", next_run_at="2026-01-01T00:00:00.5Z")
    by_name, by_id = api.get("/api/queries/orders").json(), api.get(f"/api/queries/{query}").json()
    assert by_name == by_id
    assert (by_name["title"], by_name["next_run_at"]) == ("Orders", "2026-01-01T00:00:00.500000Z")


@pytest.mark.parametrize(
    "key", ["nothing", "0", "99", "-1", str(2**63), "9" * 30, "a%00b", "%D9%A3", "a%20b", "a%ED"]
)
def test_query_that_is_not_there_is_not_found(api: httpx.Client, key: str) -> None:
    for path in (f"/api/queries/{key}", f"/api/queries/{key}/runs", f"/api/queries/{key}/runs/latest"):
        assert problem(api.get(path)) == (404, "not_found")


@pytest.mark.parametrize("visibility", ["users", "restricted"])
def test_what_may_not_be_seen_is_not_found(api: httpx.Client, rows: Rows, visibility: str) -> None:
    query = rows.query("secret", visibility=visibility)
    run, other = rows.run(query, 0), rows.run(query, 1)
    hidden = api.get("/api/queries/secret")
    assert problem(hidden) == (404, "not_found")
    assert hidden.json()["detail"] == "there is no query secret"
    for path in (
        f"/api/queries/{query}/runs",
        f"/api/queries/{query}/runs/latest",
        f"/api/queries/{query}/runs/{run}/next",
        f"/api/queries/{query}/runs/{other}/prev",
        f"/api/runs/{run}",
    ):
        assert problem(api.get(path)) == (404, "not_found"), path


def test_public_queries_need_a_login_when_public_read_is_off(database: Database, rows: Rows) -> None:
    run = rows.run(rows.query("orders"))
    with api_over(database, PUBLIC_READ=0) as api:
        assert api.get("/api/queries").json()["items"] == []
        assert problem(api.get(f"/api/runs/{run}")) == (404, "not_found")
        assert api.get("/").status_code == 200


def test_latest_is_the_newest_success_with_its_stored_result(api: httpx.Client, rows: Rows) -> None:
    query = rows.query("orders")
    newest = rows.run(query, 5)
    rows.run(query, 3)
    failed = rows.run(query, 6, "error")
    answer = api.get("/api/queries/orders/runs/latest")
    told = answer.json()
    assert list(told) == [*RUN_FIELDS, "result"]
    assert (told["id"], told["result"]) == (newest, DOCUMENT)
    assert told["scheduled_at"] == "2026-01-01T00:05:00Z"
    assert told["run_finished_at"] == "2026-01-01T00:05:00.017250Z"
    assert answer.headers["content-type"] == "application/json"
    for status in ("any", "error"):
        other = api.get(f"/api/queries/{query}/runs/latest?status={status}").json()
        assert (other["id"], other["result"]) == (failed, None)
        assert other["error_message"] == "no such column"
    assert problem(api.get("/api/queries/orders/runs/latest?status=cancelled")) == (404, "not_found")
    assert problem(api.get("/api/queries/orders/runs/latest?status=done")) == (400, "invalid_request")


def test_latest_without_a_success_is_not_found(api: httpx.Client, rows: Rows) -> None:
    rows.run(rows.query("orders"), 0, "error")
    assert problem(api.get("/api/queries/orders/runs/latest")) == (404, "not_found")


def test_result_is_read_by_pandas(api: httpx.Client, rows: Rows) -> None:
    import pandas

    run = rows.run(rows.query())
    result = api.get(f"/api/runs/{run}").json()["result"]
    frame = pandas.read_json(io.StringIO(json.dumps(result)), orient="table")
    assert list(frame["product"]) == ["tea", "<b>"]


def test_formats_other_than_table_answer_the_rows_alone(api: httpx.Client, rows: Rows) -> None:
    path = f"/api/runs/{rows.run(rows.query())}"
    assert api.get(f"{path}?format=records").json() == DOCUMENT["data"]
    columns = api.get(f"{path}?format=columns")
    assert columns.json() == {"product": ["tea", "<b>"], "sold": [9007199254740993, None]}
    for lines in (
        api.get(f"{path}?format=ndjson"),
        api.get(path, headers={"Accept": "application/x-ndjson"}),
    ):
        assert lines.headers["content-type"] == "application/x-ndjson"
        assert [json.loads(line) for line in lines.text.splitlines()] == DOCUMENT["data"]
    assert problem(api.get(path, headers={"Accept": "image/png"})) == (406, "format_unavailable")
    assert problem(api.get(f"{path}?format=xml")) == (400, "invalid_request")


def test_run_is_shown_whatever_its_status(api: httpx.Client, rows: Rows) -> None:
    query = rows.query()
    for minute, status in enumerate(["queued", "running", "error", "cancelled", "skipped"]):
        run = rows.run(query, minute, status)
        told = api.get(f"/api/runs/{run}").json()
        assert (told["id"], told["status"], told["result"]) == (run, status, None)
    for key in ("0", "999", str(2**63), "latest", "-1"):
        assert problem(api.get(f"/api/runs/{key}")) == (404, "not_found")


def test_neighbours_are_found_in_both_directions(api: httpx.Client, rows: Rows) -> None:
    query, other = rows.query("orders"), rows.query("other")
    late, early, same = rows.run(query, 2), rows.run(query, 0), rows.run(query, 2, "error", trigger="manual")
    stranger = rows.run(other, 1)
    path = f"/api/queries/{query}/runs"
    assert api.get(f"{path}/{early}/next").json()["id"] == late
    assert api.get(f"{path}/{late}/next").json()["id"] == same
    assert api.get(f"{path}/{same}/prev").json()["result"] == DOCUMENT
    assert api.get(f"/api/queries/orders/runs/{late}/prev").json()["id"] == early
    for end in (f"{early}/prev", f"{same}/next", f"{stranger}/next", "999/prev", f"{2**63}/next", "x/next"):
        assert problem(api.get(f"{path}/{end}")) == (404, "not_found"), end


def test_runs_are_paged_from_the_newest(api: httpx.Client, rows: Rows) -> None:
    query = rows.query("orders")
    runs = [rows.run(query, minute, "error" if minute % 2 else "success") for minute in range(7)]
    newest = runs[::-1]
    path = "/api/queries/orders/runs"
    whole = api.get(path).json()
    assert ([item["id"] for item in whole["items"]], whole["next_before"], whole["prev_after"]) == (
        newest,
        None,
        None,
    )
    assert list(whole["items"][0]) == RUN_FIELDS
    walked, page = [], api.get(f"{path}?limit=3").json()
    while True:
        walked += [item["id"] for item in page["items"]]
        if page["next_before"] is None:
            break
        page = api.get(f"{path}?limit=3&before={page['next_before']}").json()
    assert walked == newest
    assert ids(api.get(f"{path}?limit=2&after={runs[0]}")) == [runs[2], runs[1]]
    assert ids(api.get(f"{path}?status=error")) == [runs[5], runs[3], runs[1]]
    assert ids(api.get(f"{path}?status=any&limit=1")) == [runs[6]]
    window = "start=2026-01-01T00:02:00Z&end=2026-01-01T01:04:00%2B01:00"
    assert ids(api.get(f"{path}?{window}")) == [runs[3], runs[2]]
    assert ids(api.get(f"{path}?start=2026-01-01T02:05:00+02:00")) == [runs[6], runs[5]]
    assert problem(api.get(f"{path}?before=999")) == (404, "not_found")
    assert problem(api.get(f"{path}?before={10**30}")) == (404, "not_found")


def test_runs_carry_results_when_asked(api: httpx.Client, rows: Rows) -> None:
    query = rows.query()
    rows.run(query, 0)
    rows.run(query, 1, "error")
    told = api.get(f"/api/queries/{query}/runs?include=result").json()["items"]
    assert [item["result"] for item in told] == [None, DOCUMENT]


@pytest.mark.parametrize(
    "parameters",
    [
        "limit=0",
        "limit=501",
        "limit=x",
        "start=2026-01-01T00:00:00",
        "end=tomorrow",
        "status=done",
        "include=rows",
        "before=x",
        "after=",
    ],
)
def test_bad_parameters_are_named(api: httpx.Client, rows: Rows, parameters: str) -> None:
    answer = api.get(f"/api/queries/{rows.query()}/runs?{parameters}")
    assert problem(answer) == (400, "invalid_request")
    assert [fault["field"] for fault in answer.json()["errors"]] == [parameters.partition("=")[0]]


def test_unknown_parameters_are_ignored(api: httpx.Client, rows: Rows) -> None:
    rows.query()
    for path in ("/api/queries?nonsense=1&%FF=%FF", "/api/queries/1/runs?offset=x&_=17"):
        assert api.get(path).status_code == 200


def test_finished_run_is_not_sent_twice(api: httpx.Client, rows: Rows) -> None:
    query = rows.query("orders")
    run = rows.run(query, 0)
    answer = api.get("/api/queries/orders/runs/latest")
    tag = answer.headers["etag"]
    assert tag.startswith('"')
    assert answer.headers["cache-control"] == "private, no-cache"
    assert answer.headers["vary"] == "Accept, Accept-Encoding"
    for known in (tag, f"W/{tag}", f'"x", {tag}', "*"):
        again = api.get("/api/queries/orders/runs/latest", headers={"If-None-Match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
        assert again.headers["access-control-allow-origin"] == "*"
    assert api.get(f"/api/runs/{run}", headers={"If-None-Match": tag}).status_code == 304
    assert api.get(f"/api/runs/{run}?format=records", headers={"If-None-Match": tag}).status_code == 200
    rows.run(query, 1)
    fresh = api.get("/api/queries/orders/runs/latest", headers={"If-None-Match": tag})
    assert fresh.status_code == 200
    assert fresh.headers["etag"] != tag


def test_restriction_acts_although_the_tag_is_known(
    api: httpx.Client, rows: Rows, database: Database
) -> None:
    run = rows.run(rows.query("orders"))
    tag = api.get(f"/api/runs/{run}").headers["etag"]
    database.execute("update query_job set visibility = 'restricted'")
    assert problem(api.get(f"/api/runs/{run}", headers={"If-None-Match": tag})) == (404, "not_found")


def test_unfinished_run_has_no_tag(api: httpx.Client, rows: Rows) -> None:
    run = rows.run(rows.query(), 0, "running")
    answer = api.get(f"/api/runs/{run}", headers={"If-None-Match": "*"})
    assert answer.status_code == 200
    assert "etag" not in answer.headers
    assert answer.headers["cache-control"] == "private, no-cache"


def test_head_has_the_headers_of_get_and_no_body(api: httpx.Client, rows: Rows) -> None:
    run = rows.run(rows.query())
    got, head = api.get(f"/api/runs/{run}"), api.head(f"/api/runs/{run}")
    assert head.content == b""
    assert head.status_code == 200
    for name in ("content-length", "content-type", "etag"):
        assert head.headers[name] == got.headers[name]
    assert api.head("/api/runs/999").status_code == 404
