"""How soon a new run is seen when nobody is told of it; and whether a login's time tells who exists."""

from __future__ import annotations

import asyncio
import http.client
import json
import statistics
import time
from random import Random
from typing import TYPE_CHECKING

import psycopg

from bench.latest import QUERY, SQL, _answer, _free_port, process

if TYPE_CHECKING:
    from bench.stage import Stage

#: new runs looked for, and logins of each kind
RUNS, LOGINS = 20, 40
#: seconds after which a new run must be seen
GOAL_S = 1.0
#: a finished run as a worker would have stored it, and not a word about it
_NEW_RUN = """
with old as (
    select r.* from query_run r join query_job j on j.id = r.query_id
    where j.name = %(query)s and r.status = 'success' order by r.id limit 1),
  run as (
    insert into query_run (query_id, scheduled_at, job_timezone, run_started_at, run_finished_at,
        duration_ms, status, trigger, attempt, ready_at, data_source_id, rows_returned)
    select query_id, clock_timestamp(), job_timezone, clock_timestamp(), clock_timestamp(),
        0, status, 'manual', 1, clock_timestamp(), data_source_id, rows_returned
    from old
    returning id),
  blob as (
    insert into query_run_blob (run_id, format, df_json, row_count, byte_size)
    select run.id, b.format, b.df_json, b.row_count, b.byte_size
    from run, old join query_run_blob b on b.run_id = old.id)
select id from run"""


async def report(where: Stage) -> None:
    """Measure and print both."""
    port = _free_port()
    people = where.measure("people")
    async with process(where, "pgsched", "api", "--port", port):
        await _answer(f"http://127.0.0.1:{port}/healthz")
        await asyncio.to_thread(_seen, where, port)
        await asyncio.to_thread(_logins, port, people["email"])


def _seen(where: Stage, port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    took, random = [], Random(1)
    with psycopg.connect(where.environment["PG_DSN_APP"], autocommit=True) as database:
        for _ in range(RUNS):
            _newest(connection)  # in memory by now
            time.sleep(random.random() / 2)  # at no fixed time after the last look
            ((run_id,),) = database.execute(_NEW_RUN, {"query": QUERY}).fetchall()
            stored = time.perf_counter()
            while _newest(connection) != run_id:
                time.sleep(0.005)
            took.append(time.perf_counter() - stored)
    verdict = "met" if max(took) <= GOAL_S else "MISSED"
    print(f"A new run without any notification is seen after, {RUNS} times (at most {GOAL_S:g} s: {verdict})")
    print(f"median {statistics.median(took) * 1000:.0f} ms, most {max(took) * 1000:.0f} ms")


def _newest(connection: http.client.HTTPConnection) -> int:
    connection.request("GET", f"/api/queries/{QUERY}/runs/latest")
    found: int = json.loads(connection.getresponse().read())["id"]
    return found


def _logins(port: int, email: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    took: dict[str, list[float]] = {"unknown": [], "wrong": []}
    for turn in range(LOGINS):
        for kind, name in (("unknown", f"nobody{turn}@example.com"), ("wrong", email)):
            # an address of its own, so that none has to wait
            headers = {"Content-Type": "application/json", "X-Forwarded-For": f"198.18.{turn}.1"}
            body = json.dumps({"email": name, "password": "not-the-password"})
            began = time.perf_counter()
            connection.request("POST", "/api/auth/login", body=body, headers=headers)
            answer = connection.getresponse()
            answer.read()
            took[kind].append(time.perf_counter() - began)
            assert answer.status == 401, answer.status
    unknown, wrong = (statistics.median(each) * 1000 for each in took.values())
    apart = abs(unknown - wrong) / max(unknown, wrong)
    verdict = "met" if apart <= 0.2 else "MISSED"
    print(
        f"A login of somebody unknown takes {unknown:.1f} ms, with a wrong password {wrong:.1f} ms:"
        f" {apart:.0%} apart (at most 20%: {verdict})"
    )


if __name__ == "__main__":
    from bench import stage

    with stage.throwaway() as where:
        where.measure("pgsched_way", SQL, QUERY)
        asyncio.run(report(where))
