"""Every due instant has exactly one outcome, two workers or one, and starts when it is due."""

from __future__ import annotations

import time
from datetime import datetime, timedelta

import pytest
from postgres_fixtures import Database, fresh_database, fresh_source
from processes import Installation, backends, eventually, installation

#: seconds that the workers are watched for
WATCHED_S = 20.0


@pytest.fixture(scope="module")
def watched(pg_server, migrated_template, tmp_path_factory):
    """Two workers and three queries every second; one worker is killed half-way, in the middle of a run."""
    folder = tmp_path_factory.mktemp("instants")
    with (
        fresh_database(pg_server, template=migrated_template) as database,
        fresh_source(pg_server) as source,
        installation(folder, database.url) as place,
    ):
        place.add_source(source, max_concurrency="8")
        workers = [place.worker(), place.worker()]
        for name, sql, policy in (
            ("quick", "select 1 as one", "skip"),
            ("slow", "select pg_sleep(0.5)::text as done", "skip"),
            ("long", "select pg_sleep(1.5)::text as done", "queue"),
        ):
            place.add_query(name, sql, schedule_expr="PT1S", overlap_policy=policy)
        began = time.monotonic()
        time.sleep(WATCHED_S / 2)
        lost = kill_amid_a_run(place, database, workers)
        time.sleep(max(0.0, WATCHED_S - (time.monotonic() - began)))
        database.execute("update query_job set enabled = false, next_run_at = null")
        eventually(
            lambda: (
                not database.execute("select 1 from query_run where status in ('queued', 'running') limit 1")
            )
        )
        yield place, database, source, lost


def kill_amid_a_run(place: Installation, database: Database, workers: list) -> dict:
    """Kill a worker that holds a run of `slow`; say which run, and when."""
    held = """
        select r.id, r.token, w.pid from query_run r
        join worker w on w.id = r.worker_id join query_job j on j.id = r.query_id
        where r.status = 'running' and j.name = 'slow'"""
    ((run_id, token, pid),) = eventually(lambda: database.execute(held), every_s=0.01)
    next(worker for worker in workers if worker.pid == pid).kill()
    ((now,),) = database.execute("select clock_timestamp()")
    return {"run_id": run_id, "token": token, "at": now}


@pytest.mark.slow
@pytest.mark.parametrize("query", ["quick", "slow", "long"])
def test_every_instant_has_exactly_one_outcome(watched, query):
    _, database, _, _ = watched
    ((query_id, anchor),) = database.execute("select id, anchor_at from query_job where name = %s", [query])
    recorded = [
        at for (at,) in database.execute("select scheduled_at from query_run where query_id = %s", [query_id])
    ]
    for first, last in database.execute(
        "select from_at, to_at from query_gap where query_id = %s", [query_id]
    ):
        recorded += instants(first, last)
    assert sorted(recorded) == instants(anchor, max(recorded))
    assert len(recorded) >= WATCHED_S - 1


def instants(first: datetime, last: datetime) -> list[datetime]:
    """One a second, both ends included."""
    return [first + timedelta(seconds=n) for n in range(round((last - first).total_seconds()) + 1)]


@pytest.mark.slow
def test_every_run_has_ended_well_or_says_why_not(watched):
    _, database, _, _ = watched
    fates = database.execute(
        "select j.name, r.status, r.error_code, count(*)"
        " from query_run r join query_job j on j.id = r.query_id group by 1, 2, 3"
    )
    assert {(status, code) for _, status, code, _ in fates} <= {("success", None), ("skipped", "overlap")}
    done = {name: count for name, status, _, count in fates if status == "success"}
    assert done["quick"] >= WATCHED_S - 5
    assert done["slow"] >= WATCHED_S / 2
    assert database.execute(
        "select count(*) from query_run r full join query_run_blob b on b.run_id = r.id"
        " where (r.status is not distinct from 'success') <> (b.run_id is not null)"
    ) == [(0,)]


@pytest.mark.slow
def test_run_of_a_killed_worker_is_rescued_within_five_seconds(watched):
    place, database, _, lost = watched
    ((status, attempt, losses, token, started),) = database.execute(
        "select status, attempt, losses, token, run_started_at from query_run where id = %s", [lost["run_id"]]
    )
    assert (status, losses) == ("success", 1)
    assert attempt == 2
    assert token > lost["token"]
    assert timedelta(0) < started - lost["at"] < timedelta(seconds=5)
    assert place.log("worker").count("run.rescued") >= 1


@pytest.mark.slow
def test_runs_start_when_they_are_due(watched):
    _, database, _, lost = watched
    # the first instant is the whole second before the query was there
    late = sorted(
        (started - at).total_seconds()
        for at, started in database.execute(
            "select r.scheduled_at, r.run_started_at from query_run r join query_job j on j.id = r.query_id"
            " where j.name = 'quick' and r.status = 'success' and r.scheduled_at between j.created_at and %s",
            [lost["at"]],
        )
    )
    print(f"late by {late[len(late) // 2] * 1000:.1f} ms in the middle, {late[-1] * 1000:.1f} ms at most")  # noqa: T201 (shown by -s)
    assert len(late) >= WATCHED_S / 2 - 3
    assert late[0] >= 0
    # a poll alone, 0.75 to 1 s apart, would be 0.4 s late in the middle
    assert late[len(late) // 2] < 0.2


@pytest.mark.slow
def test_nothing_is_left_at_the_source(watched):
    place, _, source, _ = watched
    assert eventually(lambda: backends(source, "pgsched:%") == 0)
    assert "Traceback" not in place.everything_said()
