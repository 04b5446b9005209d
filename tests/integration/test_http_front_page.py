"""The page at /: what it shows, and that nothing in it can do harm."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from http_fixtures import Rows, api_over, numbered
from postgres_fixtures import Database


@pytest.fixture
def rows(database: Database) -> Rows:
    return Rows(conninfo=database.conninfo)


@pytest.fixture
def api(database: Database) -> Iterator[httpx.Client]:
    with api_over(database) as client:
        yield client


def test_front_page_says_how_to_begin(api: httpx.Client) -> None:
    page = api.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "pgsched queries add" in page.text


def test_front_page_shows_queries_with_runs_and_rows(api: httpx.Client, rows: Rows) -> None:
    query = rows.query("orders", title="Orders by hour", next_run_at="2026-01-01T00:10:00Z")
    rows.run(query, 3)
    rows.query("hidden", title="Hidden", visibility="restricted")
    page = api.get("/").text
    for shown in (
        "Orders by hour",
        "2026-01-01 00:03:00",
        "12 ms",
        "2026-01-01 00:10:00",
        "9007199254740993",
        "2 rows",
    ):
        assert shown in page, shown
    assert 'href="/api/queries/orders/runs/latest"' in page
    assert page.index(">product<") < page.index(">sold<")
    assert "Hidden" not in page


def test_front_page_keeps_the_last_success_beside_an_error(api: httpx.Client, rows: Rows) -> None:
    query = rows.query("orders")
    rows.run(query, 3)
    rows.run(query, 4, "error")
    page = api.get("/").text
    assert "no such column" in page
    assert "secret" not in page
    assert "the last success" in page
    assert "9007199254740993" in page


def test_front_page_follows_new_runs(api: httpx.Client, rows: Rows) -> None:
    query = rows.query("orders")
    rows.run(query, 3)
    assert "00:03:00" in api.get("/").text
    rows.run(query, 4)
    assert "00:04:00" in api.get("/").text


def test_front_page_escapes_everything(api: httpx.Client, rows: Rows) -> None:
    evil = "<script>alert(1)</script>\"'"
    query = rows.query("orders", title=evil, description=evil, schedule_expr=evil)
    fields = [{"name": evil, "type": "string"}]
    rows.run(query, 0, document={"schema": {"fields": fields}, "data": [{evil: evil * 50}, {evil: None}]})
    rows.run(query, 1, "error", error_public=evil)
    answer = api.get("/")
    assert "<script" not in answer.text
    assert "&lt;script&gt;" in answer.text
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src" not in policy


def test_front_page_shows_the_first_rows_of_large_results(api: httpx.Client, rows: Rows) -> None:
    rows.run(rows.query("large"), 0, document=numbered(2500), chunks=3)
    page = api.get("/").text
    assert "2,500 rows" in page
    assert ("row 9<" in page, "row 10<" in page) == (True, False)


def test_front_page_is_paged(api: httpx.Client, rows: Rows) -> None:
    for number in range(51):
        rows.query(f"query-{number:02}", title=f"Title {number:02}")
    assert "Title 50" not in (first := api.get("/").text)
    assert 'href="/?offset=50"' in first
    second = api.get("/?offset=50").text
    assert "Title 50" in second
    assert 'href="/?offset=0"' in second


def test_pages_use_nothing_from_elsewhere(api: httpx.Client, rows: Rows) -> None:
    rows.run(rows.query("orders"))
    for path in ("/", "/schema"):
        page = api.get(path).text
        assert "<script" not in page
        assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
        assert "https://" not in page
    style = api.get("/style.css")
    assert style.headers["content-type"].startswith("text/css")
    assert "url(" not in style.text


def test_schema_page_names_every_operation(api: httpx.Client) -> None:
    document = api.get("/schema/openapi.json")
    assert document.headers["content-type"] == "application/json"
    page = api.get("/schema").text
    assert "<td>RunWithResult | object[] | object, string, any</td>" in page
    for path in document.json()["paths"]:
        assert path in page
