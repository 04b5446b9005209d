"""The age of an answer, told beside it: by the database and out of memory alike."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import httpx
import pytest
from http_fixtures import Rows, served, services_over
from postgres_fixtures import Database
from processes import eventually


def two_hours_ago(database: Database) -> datetime:
    ((at,),) = database.execute("select clock_timestamp() - interval '2 hours'")
    return at.astimezone(UTC)


@pytest.mark.parametrize("remembering", [False, True])
def test_latest_tells_its_age_and_whether_it_is_stale(database: Database, remembering: bool) -> None:
    rows = Rows(conninfo=database.conninfo)
    ended = two_hours_ago(database)
    ids = {
        fresh_for: rows.query(visibility="public", enabled=False, fresh_for=fresh_for)
        for fresh_for in ("PT1H", "PT3H", None)
    }
    for query_id in ids.values():
        rows.run(query_id, run_started_at=ended, run_finished_at=ended)
    with (
        served(lambda: services_over(database.conninfo, remembering=remembering)) as url,
        httpx.Client(base_url=url) as client,
    ):
        for _ in range(3):
            for fresh_for, query_id in ids.items():
                answer = client.get(f"/api/queries/{query_id}/runs/latest")
                assert 7200 <= int(answer.headers["Pgsched-Age"]) < 7260
                assert answer.headers["Pgsched-Stale"] == ("1" if fresh_for == "PT1H" else "0")
                assert len(answer.headers.get_list("Pgsched-Age")) == 1
                assert not {"age", "age_s", "is_stale"} & answer.json().keys()
                again = client.get(answer.request.url, headers={"If-None-Match": answer.headers["ETag"]})
                assert again.status_code == 304
                assert again.headers["Pgsched-Stale"] == answer.headers["Pgsched-Stale"]
        one = client.get(f"/api/runs/{answer.json()['id']}")
        assert "Pgsched-Age" not in one.headers
        card = client.get(f"/api/queries/{ids['PT1H']}").json()
        assert (card["fresh_for"], card["is_stale"]) == ("PT1H", True)
        assert card["fresh_until"] == (ended + timedelta(hours=1)).isoformat().replace("+00:00", "Z")
        # a changed bound holds for what is in memory too
        database.execute("update query_job set fresh_for = 'PT1H' where id = %s", [ids[None]])
        eventually(
            lambda: client.get(f"/api/queries/{ids[None]}/runs/latest").headers["Pgsched-Stale"] == "1",
            within_s=5,
        )


def test_readyz_names_what_is_stale_although_nothing_ran(database: Database) -> None:
    rows = Rows(conninfo=database.conninfo)
    rows.query("open", fresh_for="PT1H", created_at=two_hours_ago(database))
    closed = rows.query("closed", fresh_for="PT1H", visibility="users", created_at=two_hours_ago(database))
    rows.query("fresh", fresh_for="PT3H", created_at=two_hours_ago(database))
    with served(lambda: services_over(database.conninfo)) as url:
        answer = httpx.get(f"{url}/readyz")
    assert (answer.status_code, answer.json()["stale_queries"]) == (200, ["open", str(closed)])
    assert answer.json()["warnings"][0] == "2 queries have no result as new as their fresh_for"
