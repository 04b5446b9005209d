"""Two workers together never have more connections to a source than max_concurrency, kept ones included."""

from __future__ import annotations

import asyncio
import signal
import threading

import psycopg
import pytest
from dependency_injector import providers
from processes import eventually, installation

from pgsched import config
from pgsched.entrypoints.container import Container, opened

QUERIES, ROUNDS = 8, 5


@pytest.fixture
def place(database, source_db, tmp_path):
    with installation(tmp_path / "place", database.url) as place:
        place.add_source(source_db, max_concurrency="3")
        yield place


async def ask_for_runs(place, names):
    """Ask for a run of each query, as `queries run` does, without a process for each."""
    settings = config.load(place.environment, place.folder)
    async with opened(Container(settings=providers.Object(settings))) as container:
        for _ in range(ROUNDS):
            for name in names:
                job = await container.jobs().get(name)
                await container.queue().request(job.id)
            await asyncio.sleep(0.05)


class Watch:
    """Counts the connections to a source, and who runs there, until it is told to stop."""

    def __init__(self, source, database):
        self.most = 0
        self.workers = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, args=(source, database))

    def _look(self, source, database):
        count = "select count(*) from pg_stat_activity where usename = 'reader' and datname = %s"
        with (
            psycopg.connect(source.admin_conninfo, autocommit=True) as there,
            psycopg.connect(database.conninfo, autocommit=True) as here,
        ):
            while not self._stop.is_set():
                self.most = max(self.most, there.execute(count, [source.dbname]).fetchone()[0])
                self.workers |= set(here.execute("select worker_id from query_run where status = 'running'"))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()


def test_a_worker_that_drains_keeps_no_place_from_others(place, database, source_db):
    for name, sql in (("quick", "select 1 as x"), ("long", "select pg_sleep(60)::text as x")):
        place.add_query(name, sql)
    worker = place.worker("--concurrency", "2")
    noted = "select sum(connections) from source_kept"
    place.json("queries", "run", "quick")
    eventually(lambda: database.execute(noted) == [(1,)])
    place.json("queries", "run", "long")
    status = "select r.status from query_run r join query_job j on j.id = r.query_id where j.name = 'long'"
    eventually(lambda: database.execute(status) == [("running",)])
    place.json("queries", "run", "quick")
    eventually(lambda: database.execute(noted) == [(2,)])
    worker.process.send_signal(signal.SIGTERM)
    eventually(lambda: database.execute(noted) == [(None,)])
    # it still waits for its run to end
    assert database.execute(status) == [("running",)]
    assert worker.process.poll() is None
    worker.process.kill()


def test_two_workers_together_stay_within_max_concurrency(place, database, source_db):
    names = [f"q{number}" for number in range(QUERIES)]
    for name in names:
        place.add_query(name, "select pg_sleep(0.02)::text as x")
    workers = [place.worker("--concurrency", "2") for _ in range(2)]
    with Watch(source_db, database) as watch:
        asyncio.run(ask_for_runs(place, names))
        left = "select count(*) from query_run where status in ('queued', 'running')"
        eventually(lambda: database.execute(left) == [(0,)])
    assert database.execute("select count(*) from query_run where status = 'success'") == [
        (QUERIES * ROUNDS,)
    ]
    assert watch.most == 3
    assert len(watch.workers) == 2
    # the connections kept are noted until their worker ends
    assert database.execute("select sum(connections) from source_kept") == [(3,)]
    for worker in workers:
        worker.end()
    assert database.execute("select count(*) from source_kept") == [(0,)]
