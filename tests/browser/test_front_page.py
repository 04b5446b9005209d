"""The front page in a real Chromium, over real rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from http_fixtures import Rows, served, services_over

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from postgres_fixtures import Database

pytestmark = pytest.mark.browser


def document(columns: dict[str, str], rows: list[tuple[object, ...]]) -> dict[str, object]:
    fields = [{"name": name, "type": type_} for name, type_ in columns.items()]
    return {"schema": {"fields": fields}, "data": [dict(zip(columns, row, strict=True)) for row in rows]}


def fill(rows: Rows) -> None:
    """A small shop's dashboard: successes, an error, a paused query, one without runs."""
    soon = "2026-01-01T00:10:00Z"
    by_hour = rows.query(
        "orders-by-hour",
        title="Orders and revenue by hour",
        description="The last day, newest hour first.",
        schedule_expr="PT10S",
        next_run_at=soon,
    )
    hours = [
        (f"2026-01-01T{hour:02}:00:00Z", 40 + hour * 7 % 23, f"{1234.5 + hour * 317:.2f}")
        for hour in range(24)
    ]
    rows.run(
        by_hour,
        9,
        document=document({"hour": "datetime", "orders": "integer", "revenue": "string"}, hours[::-1])
        | {
            "schema": {
                "fields": [
                    {"name": "hour", "type": "datetime"},
                    {"name": "orders", "type": "integer"},
                    {"name": "revenue", "type": "number"},
                ]
            }
        },
    )
    top = rows.query(
        "top-products",
        title="Top products this week",
        schedule_type="cron",
        schedule_expr="*/5 * * * *",
        timezone="Europe/Berlin",
        next_run_at=soon,
    )
    rows.run(
        top,
        5,
        document=document(
            {"product": "string", "sold": "integer", "last_sold": "datetime"},
            [
                ("Darjeeling First Flush 100 g", 412, "2026-01-01T00:04:51Z"),
                ("Sencha", 377, "2026-01-01T00:04:12Z"),
                ("Gift box <large>", 12, None),
            ],
        ),
    )
    low = rows.query(
        "stock-low",
        title="Stock that runs low",
        description="Fewer than ten left.",
        schedule_expr="PT30S",
        next_run_at=soon,
    )
    rows.run(
        low,
        7,
        document=document(
            {
                "sku": "string",
                "product": "string",
                "left": "integer",
                "supplier": "string",
                "ordered_on": "string",
                "attributes": "any",
            },
            [
                (
                    "T-100",
                    "Assam",
                    3,
                    "Hamburg Tea Trading Company",
                    "2025-12-28",
                    {"organic": True, "origin": "IN"},
                ),
                ("T-230", "Rooibos", 0, "Cape", None, None),
            ],
        ),
    )
    cache = rows.query("cache-hits", title="Cache hit ratio", schedule_expr="PT15S", next_run_at=soon)
    rows.run(cache, 9, document=document({"database": "string", "hit_ratio": "number"}, [("shop", 0.9987)]))
    size = rows.query("database-size", title="Database size", schedule_expr="PT1M", next_run_at=soon)
    rows.run(size, 8)
    rows.run(size, 9, "error", error_public='relation "pg_databse" does not exist')
    rows.query(
        "biggest-tables",
        title="Biggest tables",
        schedule_type="cron",
        schedule_expr="0 6 * * *",
        next_run_at=soon,
    )
    paused = rows.query(
        "connections",
        title="Connections by state",
        enabled=False,
        paused_at=soon,
        pause_reason="paused after 5 failures in a row: source unreachable",
    )
    rows.run(paused, 2, "error", error_public="the source cannot be reached")


@pytest.fixture(scope="module")
def url(database: Database) -> Iterator[str]:
    fill(Rows(conninfo=database.conninfo))
    with served(lambda: services_over(database.conninfo)) as url:
        yield url


@pytest.fixture
def faults(page: Page) -> list[str]:
    """What the browser complains of: blocked contents, failed requests, errors."""
    found: list[str] = []
    page.on(
        "console",
        lambda message: found.append(message.text) if message.type in ("error", "warning") else None,
    )
    page.on("pageerror", lambda error: found.append(str(error)))
    page.on("requestfailed", lambda request: found.append(request.url))
    return found


def test_front_page_shows_every_query_in_its_state(page: Page, url: str, faults: list[str]) -> None:
    page.goto(url)
    cards = page.locator("article")
    assert cards.count() == 7
    orders = page.locator("#orders-by-hour")
    assert orders.locator(".status").inner_text() == "success"
    assert orders.locator("tbody tr").count() == 10
    assert "10 of 24 rows" in orders.inner_text()
    assert page.locator("#database-size .status").inner_text() == "error"
    assert "does not exist" in page.locator("#database-size").inner_text()
    assert page.locator("#biggest-tables .status").inner_text() == "no run yet"
    assert page.locator("#connections .status").all_inner_texts() == ["paused", "error"]
    assert faults == []


def test_front_page_is_styled_and_numbers_stand_to_the_right(page: Page, url: str) -> None:
    page.goto(url)
    alignment = "element => getComputedStyle(element).textAlign"
    cells = page.locator("#orders-by-hour tbody tr").first.locator("td")
    assert [cells.nth(index).evaluate(alignment) for index in range(3)] == ["left", "right", "right"]
    assert (
        page.locator("article").first.evaluate("element => getComputedStyle(element).borderRadius") != "0px"
    )


@pytest.mark.parametrize("width", [360, 768, 1280, 1920])
def test_front_page_never_scrolls_sideways(page: Page, url: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    for path in ("/", "/schema"):
        page.goto(url + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path


def test_front_page_links_to_the_json(page: Page, url: str) -> None:
    page.goto(url)
    with page.expect_response(lambda answer: answer.url.endswith("/runs/latest")) as caught:
        page.locator("#top-products").get_by_role("link", name="latest JSON").click()
    assert caught.value.json()["result"]["data"][0]["sold"] == 412


def test_front_page_loads_itself_again(page: Page, url: str) -> None:
    page.goto(url)
    content = page.locator("meta[http-equiv=refresh]").get_attribute("content")
    assert content is not None
    with page.expect_navigation(timeout=(int(content) + 5) * 1000):
        pass
    assert page.locator("article").count() == 7


def test_schema_page_opens_without_complaint(page: Page, url: str, faults: list[str]) -> None:
    page.goto(f"{url}/schema")
    assert page.locator("section.operation").count() > 9
    assert faults == []
