"""What people change while a worker runs: it takes effect at once, without a restart.

The bounds on time are there to fail when nothing happens; closer ones would measure the machine.
"""

from __future__ import annotations

import pytest
from postgres_fixtures import fresh_database, fresh_source
from processes import backends, ended_run, eventually, installation, run_of


@pytest.fixture(scope="module")
def running(pg_server, migrated_template, tmp_path_factory):
    """One worker and one source that takes two runs at once."""
    with (
        fresh_database(pg_server, template=migrated_template) as database,
        fresh_source(pg_server) as source,
        installation(tmp_path_factory.mktemp("changes"), database.url) as place,
    ):
        place.add_source(source, max_concurrency="2")
        place.worker()
        yield place, database, source


def test_query_added_runs_at_once(running):
    place, database, _ = running
    added = place.add_query("added", "select 1 as one", schedule_expr="PT1H")
    first = "select id from query_run where query_id = %s"
    ((run_id,),) = eventually(lambda: database.execute(first, [added["id"]]))
    run = ended_run(database, run_id)
    assert run["status"] == "success"
    ((latency,),) = database.execute(
        "select extract(epoch from r.run_started_at - j.created_at)::float8"
        " from query_run r join query_job j on j.id = r.query_id where r.id = %s",
        [run_id],
    )
    assert 0 <= latency < 5


def test_query_changed_runs_at_once_by_its_new_schedule_and_sql(running):
    place, database, _ = running
    place.add_query("renewed", "select 1 as one", schedule_expr="P1D")
    found = "select r.id from query_run r join query_job j on j.id = r.query_id where j.name = 'renewed'"
    ((before,),) = eventually(lambda: database.execute(found))
    ended_run(database, before)
    changed = place.json("queries", "update", "renewed", "--sql", "select 2 as two", "--schedule-expr", "P2D")
    ((run_id,),) = eventually(lambda: database.execute(found + " and r.id <> %s", [before]))
    run = ended_run(database, run_id)
    assert run["status"] == "success"
    ((latency, names),) = database.execute(
        "select extract(epoch from r.run_started_at - j.updated_at)::float8, b.df_json #>> '{data,0}'"
        " from query_run r join query_job j on j.id = r.query_id join query_run_blob b on b.run_id = r.id"
        " where r.id = %s",
        [run_id],
    )
    assert names == '{"two": 2}'
    assert changed["anchor_at"] == changed["next_run_at"]
    assert 0 <= latency < 5


def test_disabled_query_runs_by_hand_at_once(running):
    place, database, _ = running
    place.add_query("disabled", "select 2 as two")
    queued = place.json("queries", "run", "disabled")
    assert (queued["status"], queued["trigger"]) == ("queued", "manual")
    run = ended_run(database, queued["id"])
    assert run["status"] == "success"
    ((latency,),) = database.execute(
        "select extract(epoch from run_started_at - scheduled_at)::float8 from query_run where id = %s",
        [queued["id"]],
    )
    assert 0 <= latency < 5


def test_query_disabled_while_it_runs_ends_its_run_and_plans_no_more(running):
    place, database, _ = running
    query = place.add_query("stopping", "select pg_sleep(1.5)::text as x", "--enabled", schedule_expr="PT1S")
    count = "select count(*) from query_run where query_id = %s and status = 'running'"
    eventually(lambda: database.execute(count, [query["id"]]) == [(1,)])
    waiting = place.json("queries", "run", "stopping")
    changed = place.json("queries", "update", "stopping", "--disabled")
    assert changed["next_run_at"] is None
    assert ended_run(database, waiting["id"])["status"] == "success"
    left = "select count(*) from query_run where query_id = %s and status in ('queued', 'running')"
    eventually(lambda: database.execute(left, [query["id"]]) == [(0,)])
    rows = database.execute(
        "select status, scheduled_at <= %s from query_run where query_id = %s",
        [changed["updated_at"], query["id"]],
    )
    # what ran went on to its end, what waited ran, nothing came after
    assert {status for status, _ in rows} <= {"success", "skipped"}
    assert all(before for _, before in rows)


def test_run_by_hand_waits_for_the_running_one(running):
    place, database, _ = running
    place.add_query("patient", "select pg_sleep(0.7)::text as x")
    first, second = (place.json("queries", "run", "patient")["id"] for _ in range(2))
    ended_run(database, second)
    assert database.execute(
        "select b.run_started_at >= a.run_finished_at, a.status, b.status from query_run a, query_run b"
        " where a.id = %s and b.id = %s",
        [first, second],
    ) == [(True, "success", "success")]


def test_cancel_ends_a_running_query_at_its_source(running):
    place, database, source = running
    place.add_query("endless", "select pg_sleep(60)::text as x")
    run_id = place.json("queries", "run", "endless")["id"]
    eventually(lambda: backends(source, f"pgsched:{run_id}/%") == 1)
    asked = place.json("runs", "cancel", str(run_id))
    assert asked["id"] == run_id
    run = ended_run(database, run_id, within_s=5)
    assert (run["status"], run["error_code"], run["attempt"]) == ("cancelled", "cancelled", 1)
    eventually(lambda: backends(source, f"pgsched:{run_id}/%") == 0, within_s=5)
    line = place.refused("runs", "cancel", str(run_id))
    assert line == f"run {run_id} is over: cancelled"


def test_cancel_ends_a_waiting_run_at_once(running):
    place, database, source = running
    place.add_query("busy", "select pg_sleep(60)::text as x")
    ahead, waiting = (place.json("queries", "run", "busy")["id"] for _ in range(2))
    eventually(lambda: backends(source, f"pgsched:{ahead}/%") == 1)
    assert place.json("runs", "cancel", str(waiting))["status"] == "cancelled"
    run = run_of(database, waiting)
    assert (run["status"], run["run_started_at"], run["attempt"]) == ("cancelled", None, 0)
    assert run_of(database, ahead)["status"] == "running"
    place.json("runs", "cancel", str(ahead))
    assert ended_run(database, ahead, within_s=5)["status"] == "cancelled"


@pytest.mark.slow
def test_source_gets_no_more_runs_at_once_than_it_takes(running):
    place, database, _ = running
    ((start,),) = database.execute("select date_trunc('second', clock_timestamp()) + interval '8 seconds'")
    for n in range(4):
        place.add_query(
            f"crowd{n}",
            "select pg_sleep(1.5)::text as x",
            schedule_expr="P1D",
            start_at=start.isoformat(),
        )
    found = "select run_started_at, run_finished_at, status from query_run where scheduled_at = %s"
    eventually(
        lambda: [status for *_, status in database.execute(found, [start])] == ["success"] * 4, within_s=40
    )
    runs = database.execute(found, [start])
    at_once = [sum(began <= start < ended for began, ended, _ in runs) for start, *_ in runs]
    assert max(at_once) == 2


def test_slow_source_starves_no_other(running):
    place, database, source = running
    place.worker("--concurrency", "6")
    place.add_source(source, name="slow", max_concurrency="4")
    for number in range(10):
        place.add_query(f"slow{number}", "select pg_sleep(60)::text as x", data_source="slow")
        place.json("queries", "run", f"slow{number}")
    at_slow = "select count(*) from query_run where data_source_id = (select max(id) from data_source)"
    eventually(lambda: database.execute(f"{at_slow} and status = 'running'") == [(4,)])
    assert database.execute(f"{at_slow} and status = 'queued'") == [(6,)]
    runs = []
    for name in ("other", "another"):
        place.add_query(name, "select 1 as one")
        runs.append(ended_run(database, place.json("queries", "run", name)["id"]))
    assert {run["status"] for run in runs} == {"success"}
    assert database.execute(f"{at_slow} and status = 'running'") == [(4,)]
