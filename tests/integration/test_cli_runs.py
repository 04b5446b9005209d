from __future__ import annotations

import json

import pytest
from postgres_fixtures import fresh_database, fresh_source
from processes import installation


@pytest.fixture(scope="module")
def place(pg_server, migrated_template, tmp_path_factory):
    """Three runs that went well, one that did not."""
    with (
        fresh_database(pg_server, template=migrated_template) as database,
        fresh_source(pg_server) as source,
        installation(tmp_path_factory.mktemp("runs"), database.url) as place,
    ):
        place.add_source(source)
        place.worker()
        place.add_query(
            "good", "select 9007199254740993 as big, 1.10::numeric as price, null::int as nothing"
        )
        place.add_query("bad", "select 1 / (select 0) as a")
        place.ids = [place.json("queries", "run", "good", "--wait")["id"] for _ in range(3)]
        failed = place.run("queries", "run", "bad", "--wait", "--json")
        assert failed.returncode == 1
        place.failed = json.loads(failed.stdout)
        place.said = failed.stderr
        yield place


def test_wait_tells_of_an_error(place):
    assert (place.failed["status"], place.failed["error_code"]) == ("error", "query_failed")
    assert place.said == f"Error: run {place.failed['id']} ended as error: query_failed\n"


FIELDS = {
    "id", "query_id", "scheduled_at", "job_timezone", "run_started_at", "run_finished_at", "duration_ms",
    "status", "rows_returned", "error_message", "error_code", "attempt", "trigger", "truncated",
}  # fmt: skip


def test_runs_list_is_newest_first_and_pages(place):
    listed = place.json("runs", "list", "good")
    assert [run["id"] for run in listed] == place.ids[::-1]
    assert {frozenset(run) for run in listed} == {frozenset(FIELDS)}
    first, second, third = place.ids
    assert [run["id"] for run in place.json("runs", "list", "good", "--limit", "1")] == [third]
    assert [run["id"] for run in place.json("runs", "list", "good", "--before", str(third))] == [
        second,
        first,
    ]
    older = place.json("runs", "list", "good", "--after", str(first), "--limit", "1")
    assert [run["id"] for run in older] == [second]
    assert place.json("runs", "list", "good", "--status", "error") == []
    assert place.json("runs", "list", str(listed[0]["query_id"])) == listed


def test_runs_show_prints_the_stored_result_digit_by_digit(place):
    done = place.run("runs", "show", str(place.ids[0]), "--json")
    run = json.loads(done.stdout, parse_float=str)
    assert set(run) == FIELDS | {"result"}
    assert run["result"]["data"] == [{"big": 9007199254740993, "price": "1.10", "nothing": None}]
    assert [field["name"] for field in run["result"]["schema"]["fields"]] == ["big", "price", "nothing"]
    assert place.json("runs", "show", str(place.failed["id"]))["result"] is None


def test_runs_show_without_json_is_a_card(place):
    lines = place.run("runs", "show", str(place.failed["id"])).stdout.splitlines()
    assert "error_code:      query_failed" in lines
    assert any("division by zero" in line for line in lines)


def test_runs_cancel_of_what_is_over_is_refused(place):
    assert place.refused("runs", "cancel", str(place.ids[0])) == f"run {place.ids[0]} is over: success"


@pytest.mark.parametrize("verb", ["show", "cancel"])
def test_unknown_run_is_told(place, verb):
    assert place.refused("runs", verb, "999999") == "there is no run 999999"
    assert place.refused("runs", verb, "99999999999999999999").startswith("there is no run 9999999")
    assert place.run("runs", verb, "none").returncode == 2


def test_unknown_query_is_told(place):
    assert place.refused("runs", "list", "nothing") == "there is no query nothing"
    assert place.run("runs", "list", "good", "--limit", "501").returncode == 2
    assert place.refused("runs", "list", "good", "--before", "999999") == "there is no run 999999"
