"""A dry run over HTTP of a 150-row query: how long it takes beyond the source's own time."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from bench.latest import _answer, _free_port, process

if TYPE_CHECKING:
    from bench.stage import Stage

QUERY = "dry"
SQL = "SELECT * FROM pgsched_bench ORDER BY id LIMIT 150"
#: dry runs that are timed
TIMES = 200
#: milliseconds that a dry run may take beyond the source's own time
GOAL_MS = 10

_EMAIL, _PASSWORD = "bench@example.com", "a long enough password"


async def report(where: Stage) -> None:
    """Measure and print the table."""
    where.measure("pgsched_way", SQL, QUERY)
    await asyncio.to_thread(_add_editor, where)
    port = _free_port()
    async with process(where, "pgsched", "api", "--port", port):
        await _answer(f"http://127.0.0.1:{port}/healthz")
        await asyncio.to_thread(_report, where, port)


def _add_editor(where: Stage) -> None:
    given = ("--email", _EMAIL, "--name", "Bench", "--roles", "editor", "--password", _PASSWORD)
    subprocess.run(
        [sys.executable, "-m", "pgsched", "users", "add", *given],
        cwd=where.folder,
        env=dict(where.environment),
        stdout=subprocess.DEVNULL,
        check=True,
    )


def _report(where: Stage, port: int) -> None:
    import psycopg

    connection = http.client.HTTPConnection("127.0.0.1", port)

    def ask(path: str, body: object, cookie: str = "") -> tuple[int, bytes, str]:
        headers = {"Content-Type": "application/json", "Cookie": cookie}
        connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers.get("Set-Cookie", "").split(";")[0]

    _, _, cookie = ask("/api/auth/login", {"email": _EMAIL, "password": _PASSWORD})

    def dry() -> None:
        status, body, _ = ask(f"/api/admin/queries/{QUERY}/test", {"limit": 150}, cookie)
        assert status == 200, body

    with psycopg.connect(where.environment["BENCH_SOURCE"], autocommit=True) as source:
        own = _median_ms(lambda: source.execute(SQL).fetchall())
    new = _median_ms(_connected(where.environment["BENCH_SOURCE"]))
    # the server does not wait that long for the next request
    connection.close()
    took = _median_ms(dry)
    print("Dry run over HTTP of a query with 150 rows × 10, median ms")
    print(f"{'the source alone: the statement, on an open connection':60}{own:10.1f}")
    print(f"{'the source alone: a new connection and the statement':60}{new:10.1f}")
    print(f"{'dry run':60}{took:10.1f}")
    print(f"{'dry run beyond the statement':60}{took - own:10.1f}  (goal ≤ {GOAL_MS})")


def _connected(conninfo: str) -> Callable[[], object]:
    import psycopg

    def run() -> None:
        with psycopg.connect(conninfo) as source:
            source.execute(SQL).fetchall()

    return run


def _median_ms(run: Callable[[], object]) -> float:
    took = []
    for _ in range(TIMES):
        started = time.perf_counter()
        run()
        took.append((time.perf_counter() - started) * 1000)
    return statistics.median(took)


if __name__ == "__main__":
    from bench import stage

    with stage.throwaway() as where:
        print(f"{os.cpu_count()} cores, Postgres {where.postgres}")
        asyncio.run(report(where))
