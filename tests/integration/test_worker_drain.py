"""A worker that is told to stop finishes what ends in time and hands back the rest."""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import asynccontextmanager

import pytest
from dependency_injector import providers
from postgres_fixtures import Database
from processes import Installation, assert_quiet, backends, ended_run, eventually, installation, run_of

from pgsched import config
from pgsched.entrypoints.container import Container, opened


@pytest.fixture
def place(database, source_db, tmp_path):
    with installation(tmp_path / "place", database.url) as place:
        place.add_source(source_db)
        yield place


def test_sigterm_lets_a_short_run_end(place, database, source_db):
    worker = place.worker()
    place.add_query("short", "select pg_sleep(1.5)::text as x")
    run_id = place.json("queries", "run", "short")["id"]
    eventually(lambda: backends(source_db, f"pgsched:{run_id}/%") == 1)
    assert worker.end(signal.SIGTERM) == 0
    run = run_of(database, run_id)
    assert (run["status"], run["attempt"]) == ("success", 1)
    assert database.execute("select stopped_at is not null from worker") == [(True,)]
    assert worker.out == ""
    assert worker.err.splitlines() == ["worker: worker 1 is ready", "worker: draining 1 runs"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_idle_worker_ends_at_once(place, number):
    worker = place.worker()
    began = time.monotonic()
    assert worker.end(number) == 0
    assert time.monotonic() - began < 8
    assert_quiet(place.everything_said())


def test_long_run_is_handed_back_at_once_and_the_try_not_counted(place, database, source_db):
    place.add_query("long", "select pg_sleep(60)::text as x")
    run_id = place.json("queries", "run", "long")["id"]

    async def drained() -> float:
        stop = asyncio.Event()
        async with working(place, stop, drain_s=0.5) as work:
            await asyncio.to_thread(eventually, lambda: backends(source_db, f"pgsched:{run_id}/%"))
            assert run_of(database, run_id)["attempt"] == 1
            stop.set()
            began = time.monotonic()
            await work
            return time.monotonic() - began

    assert 0.5 <= asyncio.run(drained()) < 3
    run = run_of(database, run_id)
    assert (run["status"], run["attempt"], run["losses"], run["run_started_at"]) == ("queued", 0, 0, None)
    assert eventually(lambda: backends(source_db, f"pgsched:{run_id}/%") == 0, within_s=3)
    # no lease has to expire: the next worker takes it right away
    place.worker()
    eventually(lambda: run_of(database, run_id)["status"] == "running", within_s=3)
    assert run_of(database, run_id)["attempt"] == 1
    place.json("runs", "cancel", str(run_id))
    assert ended_run(database, run_id)["status"] == "cancelled"


@asynccontextmanager
async def working(place: Installation, stop: asyncio.Event, *, drain_s: float):
    """A worker on this very loop, with another time to drain than the command gives it."""
    settings = config.load(place.environment, place.folder)
    container = Container(settings=providers.Object(settings), concurrency=providers.Object(4))
    async with opened(container):
        work = asyncio.create_task(container.worker(drain_s=drain_s).run(stop))
        try:
            yield work
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)


def test_restarting_workers_take_turns_without_a_hole(place: Installation, database: Database):
    """A rolling restart: the new one is there before the old one is told to go."""
    worker = place.worker()
    place.add_query("tick", "select pg_sleep(0.3)::text as x", schedule_expr="PT1S", overlap_policy="queue")
    for _ in range(2):
        time.sleep(1.2)
        successor = place.worker()
        assert worker.end() == 0
        worker = successor
    database.execute("update query_job set enabled = false, next_run_at = null")
    eventually(lambda: not database.execute("select 1 from query_run where status in ('queued', 'running')"))
    rows = database.execute(
        "select extract(epoch from scheduled_at - lag(scheduled_at) over (order by scheduled_at))::int,"
        " status, losses from query_run order by scheduled_at"
    )
    assert [step for step, *_ in rows] == [None, *[1] * (len(rows) - 1)]
    assert {(status, losses) for _, status, losses in rows} == {("success", 0)}
