"""Worker and API wait for the metadata database and come back by themselves."""

from __future__ import annotations

import time

import httpx
import psycopg
import pytest
from postgres_fixtures import Server, fresh_database, fresh_source, run_loop, template_of, throwaway
from processes import assert_quiet, ended_run, eventually, installation


@pytest.fixture(scope="module")
def outage(pg_server, tmp_path_factory):
    """A metadata server of its own, down when worker and API start; the source is elsewhere, and up."""
    with (
        throwaway() as server,
        fresh_database(server, template=template_of(server)) as database,
        fresh_source(pg_server) as source,
        installation(tmp_path_factory.mktemp("outage"), database.url) as place,
    ):
        place.add_source(source)
        place.add_query("tick", "select 1 as one", schedule_expr="PT1S")
        place.add_query("once", "select 2 as two")
        stop(server)
        try:
            worker = place.start("worker")
            api, url = place.api()
            yield server, database, place, worker, api, url
        finally:
            start(server)


def stop(server: Server) -> None:
    server.close()
    run_loop(server.cluster.stop())


def start(server: Server) -> None:
    """Start the server again, on its port."""
    assert run_loop(server.cluster.start()).port == server.port


def readiness(url: str) -> tuple[int, str]:
    answer = httpx.get(f"{url}/readyz")
    return answer.status_code, answer.json().get("code", "")


@pytest.mark.slow
def test_services_wait_at_the_start_and_say_so(outage):
    *_, worker, api, url = outage
    eventually(lambda: worker.err and "answering 503" in api.err)
    (line,) = worker.err.splitlines()
    assert line.startswith("worker: waiting: the metadata database cannot be reached: Connection refused; ")
    listens, answering = api.err.splitlines()
    assert listens == f"api: the API listens on {url}"
    assert answering == f"api: answering 503 for now: {line.removeprefix('worker: waiting: ')}"
    assert readiness(url) == (503, "database_unavailable")
    assert httpx.get(f"{url}/healthz").status_code == 200
    answer = httpx.get(f"{url}/api/queries")
    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    assert "127.0.0.1" not in answer.text


@pytest.mark.slow
def test_services_begin_when_the_database_is_there(outage):
    server, database, _, worker, _, url = outage
    start(server)
    eventually(lambda: "is ready" in worker.err, within_s=10)
    eventually(lambda: readiness(url)[0] == 200, within_s=10)
    eventually(lambda: database.execute("select 1 from query_run where status = 'success'"), within_s=5)
    assert httpx.get(f"{url}/api/queries/tick/runs/latest").json()["result"]["data"] == [{"one": 1}]


@pytest.mark.slow
def test_services_come_back_after_an_outage(outage):
    server, database, place, worker, api, url = outage
    stop(server)
    eventually(lambda: worker.err.count("worker: waiting: ") == 2, within_s=10)
    assert readiness(url) == (503, "database_unavailable")
    time.sleep(2)
    start(server)
    ((back,),) = database.execute("select clock_timestamp()")
    eventually(lambda: "the metadata database is back" in worker.err, within_s=10)
    eventually(lambda: readiness(url)[0] == 200, within_s=10)
    latest = "select 1 from query_run where status = 'success' and run_started_at > %s"
    eventually(lambda: database.execute(latest, [back]), within_s=10)
    # by hand too: the hints come again
    ended_run(database, place.json("queries", "run", "once")["id"], within_s=5)
    assert worker.process.poll() is None
    assert api.process.poll() is None


@pytest.mark.slow
def test_no_instant_of_an_outage_is_without_an_outcome(outage):
    _, database, *_ = outage
    rows = database.execute(
        "select extract(epoch from scheduled_at - lag(scheduled_at) over (order by scheduled_at))::int,"
        " status, error_code from query_run r join query_job j on j.id = r.query_id where j.name = 'tick'"
        " order by scheduled_at"
    )
    assert [step for step, *_ in rows] == [None, *[1] * (len(rows) - 1)]
    assert {(status, code) for _, status, code in rows if status not in ("queued", "running")} <= {
        ("success", None),
        ("skipped", "misfire"),
        ("skipped", "overlap"),
    }
    assert ("skipped", "misfire") in {(status, code) for _, status, code in rows}


@pytest.mark.slow
def test_worker_takes_its_lock_again_when_its_connections_are_ended(outage):
    server, database, place, worker, *_ = outage
    server.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'pgsched-worker'"
    )
    held = "select count(*) from pg_locks where locktype = 'advisory' and classid = 1886812004"
    eventually(lambda: server.execute(held) == [(1,)], within_s=5)
    run = ended_run(database, place.json("queries", "run", "once")["id"], within_s=5)
    assert run["status"] == "success"
    assert worker.process.poll() is None


@pytest.mark.slow
def test_worker_told_to_stop_does_not_wait_for_a_database_that_is_away(outage):
    server, _, place, worker, *_ = outage
    place.add_query("long", "select pg_sleep(60)::text as x")
    run_id = place.json("queries", "run", "long")["id"]
    eventually(lambda: place.json("runs", "show", str(run_id))["status"] == "running")
    stop(server)
    try:
        began = time.monotonic()
        assert worker.end() == 0
        assert time.monotonic() - began < 15
    finally:
        start(server)
    # nobody could be told; the next worker finds out
    place.worker()
    eventually(lambda: place.json("runs", "show", str(run_id))["attempt"] == 2)


@pytest.mark.slow
def test_nothing_of_it_was_a_traceback_or_a_secret(outage):
    _, _, place, *_ = outage
    password = psycopg.conninfo.conninfo_to_dict(place.environment["PG_DSN_APP"])["password"]
    assert_quiet(place.everything_said(), password, place.environment["ARGON2_SECRET_KEY_B64"])


def test_a_result_that_the_database_gives_up_on_ends_its_run(source_db, database, tmp_path):
    # Regression: it was taken for an outage of the database, and tried until somebody cancelled the run.
    with installation(tmp_path / "place", database.url) as place:
        place.add_source(source_db)
        place.add_query("heavy", "select 1 as one")
        database.execute(
            "create function give_up() returns trigger language plpgsql as"
            " $$ begin raise exception 'canceling statement due to statement timeout'"
            " using errcode = '57014'; end $$"
        )
        database.execute(
            "create trigger give_up before insert on query_run_blob for each row execute function give_up()"
        )
        place.worker()
        run = ended_run(database, place.json("queries", "run", "heavy")["id"])
        assert (run["status"], run["error_code"]) == ("error", "result_rejected")
        assert "statement timeout; select less" in run["error_message"]
