from __future__ import annotations

import json

import pytest
from postgres_fixtures import fresh_database, fresh_source
from processes import installation


@pytest.fixture(scope="module")
def place(pg_server, migrated_template, tmp_path_factory):
    with (
        fresh_database(pg_server, template=migrated_template) as database,
        fresh_source(pg_server) as source,
        installation(tmp_path_factory.mktemp("queries"), database.url) as place,
    ):
        place.add_source(source)
        yield place


def add(name: str, *more: str, sql: str = "select 1 as one") -> tuple[str, ...]:
    return ("queries", "add", "--name", name, "--sql", sql, "--data-source", "shop", *more)


def test_query_has_the_documented_defaults(place):
    added = place.json(*add("defaults"))
    assert {name: added[name] for name in DEFAULTS} == DEFAULTS
    assert added["anchor_at"] == added["next_run_at"]
    stored = {"stored_runs": 0, "stored_bytes": 0}
    assert place.json("queries", "show", "defaults") == added | stored
    assert place.json("queries", "show", str(added["id"])) == added | stored


DEFAULTS = {
    "title": "defaults",
    "description": "",
    "data_source": "shop",
    "schedule_type": "interval",
    "schedule_expr": "PT21600S",
    "timezone": "UTC",
    "enabled": True,
    "visibility": "public",
    "overlap_policy": "skip",
    "misfire_policy": "once",
    "misfire_window": "P1D",
    "start_deadline_s": None,
    "jitter_s": 0,
    "max_attempts": 3,
    "retry_backoff_s": 5,
    "timeout_ms": 300_000,
    "max_rows": 10_000,
    "fresh_for": None,
    "expose_metrics": False,
    "max_bytes": 8 * 1024 * 1024,
    "on_limit": "truncate",
    "pause_after_failures": 0,
    "keep_runs": None,
    "keep_days": None,
    "paused_at": None,
    "pause_reason": None,
}


def test_every_policy_has_its_option(place):
    policies = {
        "visibility": "users",
        "overlap_policy": "queue_all",
        "misfire_policy": "all",
        "misfire_window": "PT2H",
        "start_deadline_s": 30,
        "jitter_s": 10,
        "max_attempts": 1,
        "retry_backoff_s": 7,
        "timeout_ms": 1000,
        "max_rows": 5,
        "max_bytes": 1024,
        "on_limit": "sample",
        "pause_after_failures": 4,
        "keep_runs": 100,
        "keep_days": 30,
    }
    options = [
        part for name, value in policies.items() for part in (f"--{name.replace('_', '-')}", str(value))
    ]
    added = place.json(
        *add("policies", *options, "--title", "All of them", "--description", "x", "--disabled")
    )
    assert {name: added[name] for name in policies} == policies
    assert (added["title"], added["description"], added["enabled"]) == ("All of them", "x", False)
    assert added["next_run_at"] is None


def test_numbers_in_metrics_are_for_public_queries_only(place):
    assert place.json(*add("told", "--expose-metrics", "--disabled"))["expose_metrics"] is True
    assert "expose_metrics: is for queries whose visibility is public" in place.refused(
        "queries", "update", "told", "--visibility", "restricted"
    )
    done = place.json("queries", "update", "told", "--visibility", "restricted", "--no-expose-metrics")
    assert (done["expose_metrics"], done["visibility"]) == (False, "restricted")


def test_cron_is_planned_in_its_zone(place):
    cron = ("--schedule-type", "cron", "--schedule-expr", "0 6 * * *", "--timezone", "Asia/Tokyo")
    added = place.json(*add("cron", *cron))
    assert added["next_run_at"].endswith("T21:00:00Z")


def test_sql_comes_from_a_file_or_standard_input(place):
    (place.folder / "q.sql").write_text("select 'ä' as umlaut -- so\n")
    assert place.json(*add("from_file", sql="@q.sql"))["sql_text"] == "select 'ä' as umlaut -- so\n"
    done = place.run(*add("from_stdin", "--json", sql="@-"), answers="select 2 as two")
    assert json.loads(done.stdout)["sql_text"] == "select 2 as two"
    missing = place.run(*add("from_nowhere", sql="@missing.sql"))
    assert missing.returncode == 2
    assert "missing.sql: No such file or directory" in missing.stderr


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (("--name", "a b"), "name: "),
        (("--name", "defaults "), "name: "),
        (("--schedule-expr", ""), "schedule_expr: "),
        (("--schedule-expr", "P0D"), "schedule_expr: "),
        (("--schedule-type", "cron", "--schedule-expr", "61 * * * *"), "schedule_expr: "),
        (("--schedule-type", "cron", "--schedule-expr", "0 0 30 2 *"), "schedule_expr: "),
        (("--schedule-type", "cron"), "schedule_expr: a cron schedule needs an expression"),
        (("--timezone", "Mars/Olympus"), "timezone: "),
        (("--max-rows", "0"), "max_rows: must be 1 to 1000000000, not 0"),
        (("--timeout-ms", "0"), "timeout_ms: must be 1 to 86400000, not 0"),
        (("--misfire-window", "soon"), "misfire_window: "),
        (("--data-source", "nothing"), "data_source: there is no data source nothing"),
    ],
)
def test_queries_add_refuses_in_one_line(place, changed, said):
    assert place.refused(*add("refused", *changed)).startswith(said)


def test_unknown_choice_is_wrong_usage(place):
    for option in ("--overlap-policy", "--visibility"):
        done = place.run(*add("refused", option, "maybe"))
        assert (done.returncode, done.stdout) == (2, "")
        assert option in done.stderr


def test_name_is_taken_once(place):
    place.json(*add("twice"))
    line = place.refused(*add("twice"))
    assert line == "a query named twice exists already; choose another name or update that one"


def test_list_names_the_source_and_stands_in_order(place):
    listed = place.json("queries", "list")
    names = [query["name"] for query in listed]
    assert names == sorted(names)
    assert "refused" not in names
    assert {query["data_source"] for query in listed} == {"shop"}
    header, *rows = place.run("queries", "list").stdout.splitlines()
    assert header.split()[:4] == ["ID", "NAME", "TITLE", "DATA_SOURCE"]
    assert len(rows) == len(listed)


def test_unknown_query_is_told(place):
    assert place.refused("queries", "show", "nothing") == "there is no query nothing"
    assert place.refused("queries", "run", "nothing") == "there is no query nothing"
    assert place.refused("queries", "show", "0") == "there is no query 0"


def test_run_is_queued_and_printed_without_a_worker(place):
    place.json(*add("by_hand", "--disabled"))
    run = place.json("queries", "run", "by_hand")
    assert (run["status"], run["trigger"], run["attempt"]) == ("queued", "manual", 0)
    assert run["run_started_at"] is None
    waited = place.run("queries", "run", "by_hand", "--wait", "--timeout", "0.3", "--json")
    assert waited.returncode == 1
    assert json.loads(waited.stdout)["status"] == "queued"
    assert waited.stderr.startswith("Error: run ")
    assert len(waited.stderr.splitlines()) == 1


def test_why_explains_an_instant_that_nobody_planned(place):
    added = place.json(*add("lonely", "--schedule-expr", "PT1H", "--start-at", "2026-01-01T00:30:00Z"))
    told = place.json("queries", "why", "lonely", "--at", "2026-01-01T01:45:00Z")
    assert (told["at"], told["outcome"]) == ("2026-01-01T01:30:00Z", "due")
    assert told["detail"].endswith("not planned yet: no worker is there")
    assert told["following"] == "2026-01-01T02:30:00Z"
    shown = place.run("queries", "why", "lonely", "--at", "2026-01-01T00:00:00+00:00").stdout
    assert "outcome:    before" in shown
    assert place.json("queries", "why", str(added["id"]))["query_id"] == added["id"]


def test_ledger_lists_a_range_and_says_where_it_goes_on(place):
    place.json(*add("listed", "--schedule-expr", "PT1H", "--start-at", "2026-01-01T00:30:00Z"))
    window = ("--start", "2026-01-01T00:00:00Z", "--end", "2026-01-02T00:00:00Z")
    listed = place.json("queries", "ledger", "listed", *window)
    assert [entry["outcome"] for entry in listed["items"]] == ["due"] * 24
    assert listed["next_start"] is None
    done = place.run("queries", "ledger", "listed", *window, "--limit", "2")
    assert [line.split()[0] for line in done.stdout.splitlines()] == [
        "AT",
        "2026-01-01T00:30:00Z",
        "2026-01-01T01:30:00Z",
    ]
    assert "more from 2026-01-01T02:30:00Z" in done.stderr
    refused = place.run("queries", "ledger", "listed", "--start", "yesterday")
    assert refused.returncode == 2
    assert "--start" in refused.stderr
    assert place.refused("queries", "why", "nobody") == "there is no query nobody"


def test_commands_take_the_parameter_set_that_is_named(place):
    options = ("--param", "n:int", "--param-set", 'one={"n": 1}', "--param-set", 'two={"n": 2}')
    hourly = ("--schedule-expr", "PT1H", "--start-at", "2026-01-01T00:30:00Z")
    place.json(*add("in_sets", *options, *hourly, sql="select :n as n"))
    assert place.json("queries", "test", "in_sets", "--params", "two")["result"]["data"] == [{"n": 2}]
    assert place.json("queries", "test", "in_sets")["result"]["data"] == [{"n": 1}]
    assert place.json("queries", "run", "in_sets", "--params", "two")["params"] == "two"
    for command in ("test", "run"):
        told = place.refused("queries", command, "in_sets", "--params", "three")
        assert told == "params: the query has no parameter set three; it has one, two"
    undeclared = place.refused(*add("undeclared", sql="select 1 where :day > 1"))
    assert undeclared.endswith("(if :day is a parameter, declare it in parameters)")
    glued = place.refused(*add("glued", "--param", "n:int=1", sql="select 1 limit:n"))
    assert glued == "sql_text: put a blank before the parameter :n at character 15"
    # a parameter that is wrong is declared all the same
    wrong = place.refused(*add("wrong", "--param", "N:int=1", sql="select 1 limit :n"))
    assert wrong.startswith("parameters.0: name must be lower-case letters")
    assert "declare it" not in wrong
    deep = place.refused(*add("deep", "--param", f"n:json:={'[' * 3000}", sql="select :n"))
    assert "sql_text" not in deep
    at = ("--at", "2026-01-01T01:45:00Z")
    told = place.json("queries", "why", "in_sets", *at)
    assert [entry["params"] for entry in told["sets"]] == ["one", "two"]
    assert place.run("queries", "why", "in_sets", *at).stdout.count("outcome:") == 2
    told = place.json("queries", "why", "in_sets", *at, "--params", "two")
    assert (told["params"], told["outcome"], len(told["sets"])) == ("two", "due", 1)
    window = ("--start", "2026-01-01T00:00:00Z", "--end", "2026-01-01T02:00:00Z")
    items = place.json("queries", "ledger", "in_sets", *window)["items"]
    assert [entry["params"] for entry in items] == ["one", "two", "one", "two"]
    assert len(place.json("queries", "ledger", "in_sets", *window, "--params", "one")["items"]) == 2
    assert (
        place.refused("queries", "why", "in_sets", "--params", "three") == "there is no parameter set three"
    )


def test_fresh_for_is_checked_as_a_duration(place):
    assert place.json(*add("fresh", "--fresh-for", "PT2H"))["fresh_for"] == "PT2H"
    assert place.refused(*add("unfresh", "--fresh-for", "soon")).startswith("fresh_for: ")
