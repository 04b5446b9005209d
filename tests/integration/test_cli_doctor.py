"""``pgsched doctor`` and ``pgsched status`` on real installations, healthy and sick."""

from __future__ import annotations

import pytest
from processes import assert_quiet, ended_run, eventually, installation


@pytest.fixture
def place(database, tmp_path):
    with installation(tmp_path / "place", database.url) as place:
        yield place


def checks(place, *arguments: str, **settings: str) -> dict[str, list[tuple[str, str]]]:
    """Levels and details by check."""
    import json

    done = place.run("doctor", "--json", *arguments, **settings)
    assert done.stderr == "", done.stderr
    told = json.loads(done.stdout)
    assert done.returncode == (0 if told["ok"] else 1)
    found: dict[str, list[tuple[str, str]]] = {}
    for each in told["checks"]:
        found.setdefault(each["check"], []).append((each["level"], each["detail"]))
    return found


def levels(found: dict[str, list[tuple[str, str]]], check: str) -> set[str]:
    return {level for level, _ in found[check]}


def test_doctor_finds_a_healthy_installation_healthy(place, source_db):
    place.add_source(source_db)
    place.add_query("orders", "select 1 as one")
    place.worker()
    found = checks(place)
    # the test's source may do more than read, and that is a warning
    assert {check for check in found if levels(found, check) - {"ok"}} <= {"sources"}
    assert set(found) >= {"settings", "database", "schema", "clock", "keys", "sources", "workers", "queue"}
    assert set(found) >= {"logs", "disk", "queries"}
    text = place.run("doctor")
    assert text.returncode == 0
    assert_quiet(text.stdout, source_db.password)


def test_doctor_names_what_is_wrong_and_what_to_do(place, source_db, database):
    place.add_source(source_db)
    place.add_source(source_db, name="away", port="1")
    query = place.add_query("never", "select 1 as one", schedule_expr="PT1H")
    database.execute(
        "update query_job set created_at = now() - interval '1 day',"
        " next_run_at = now() - interval '5 minutes' where id = %s",
        [query["id"]],
    )
    (place.folder / "logs").write_text("in the way")
    found = checks(place)
    assert ("problem", "no worker is running") in found["workers"]
    assert levels(found, "planning") == {"problem"}
    assert any(level == "problem" and detail.startswith("away: ") for level, detail in found["sources"])
    assert ("warning", "never had no success for two of its periods") in found["queries"]
    done = place.run("doctor", "--no-sources")
    assert done.returncode == 1
    assert "PROBLEM  workers   no worker is running; start one with pgsched worker" in done.stdout
    assert "away" not in done.stdout


def test_doctor_tells_of_keys_that_do_not_fit_and_of_a_rotation_under_way(place, source_db):
    place.add_source(source_db)
    place.json("keys", "rotate")
    assert levels(checks(place, "--no-sources"), "keys") == {"ok", "warning"}
    (place.folder / "private").chmod(0o644)
    found = checks(place, "--no-sources")
    assert levels(found, "keys") == {"problem"}
    assert "chmod 0600" in found["keys"][0][1]


def test_doctor_is_strict_when_asked(place):
    # no worker and nothing to run is a warning
    assert place.run("doctor").returncode == 0
    assert place.run("doctor", "--strict").returncode == 1


def test_doctor_tells_in_one_line_why_it_cannot_go_on(place, empty_database, tmp_path):
    assert levels(checks(place, SESSION_TTL_HOURS="soon"), "settings") == {"problem"}
    gone = checks(place, PG_DSN_APP="host=127.0.0.1 port=1 user=a password=hunter2 dbname=b")
    assert levels(gone, "database") == {"problem"}
    assert "hunter2" not in str(gone)
    empty = checks(place, PG_DSN_APP=empty_database.url)
    assert levels(empty, "schema") == {"problem"}
    assert "pgsched db upgrade" in empty["schema"][0][1]
    none = checks(place, PG_DSN_APP="")
    assert levels(none, "database") == {"problem"}


def test_status_shows_one_screen_and_the_same_as_json(place, source_db, database):
    place.add_source(source_db)
    place.add_query("fails", "select 1 / 0")
    worker = place.worker()
    ended_run(database, place.json("queries", "run", "fails")["id"])
    told = place.json("status")
    (seen,) = told["workers"]
    assert (seen["pid"], seen["alive"], seen["running"]) == (worker.pid, True, 0)
    assert told["queue"] | {"planning_delay_s": 0, "longest_wait_s": 0} == {
        "waiting": 0,
        "later": 0,
        "running": 0,
        "stuck": 0,
        "longest_wait_s": 0,
        "planning_delay_s": 0,
    }
    assert [(each["query"], each["code"]) for each in told["failures"]] == [("fails", "query_failed")]
    assert told["queries"] == {"total": 1, "stale": [], "paused": []}
    screen = place.run("status").stdout
    for word in ("Workers", "Sources", "Latest failures", "shop", "division by zero", str(worker.pid)):
        assert word in screen


def test_status_watches_until_it_is_interrupted(place):
    import signal

    watching = place.start("status", "--watch", "--interval", "0.2")
    eventually(lambda: watching.out.count("no worker is running") >= 1)
    assert watching.end(signal.SIGINT) == 0
    assert watching.err == ""
    assert place.run("status", "--watch", "--json").returncode == 2


def test_queries_show_how_much_is_stored_of_them(place, source_db, database):
    place.add_source(source_db)
    place.add_query("three", "select n from generate_series(1, 3) n")
    place.worker()
    ended_run(database, place.json("queries", "run", "three")["id"])
    (listed,) = place.json("queries", "list")
    shown = place.json("queries", "show", "three")
    assert (listed["stored_runs"], listed["stored_bytes"]) == (shown["stored_runs"], shown["stored_bytes"])
    assert shown["stored_runs"] == 1
    assert shown["stored_bytes"] > 9
