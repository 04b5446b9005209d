"""pgsched's own way to a stored result: a worker's container, one due query after the other."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

from dependency_injector import providers
from psycopg.conninfo import conninfo_to_dict

from bench.due_to_stored import peak_mb
from bench.stage import SOURCE
from pgsched.domain.audit import Actor
from pgsched.domain.errors import NotFound
from pgsched.domain.planning import plan_due
from pgsched.domain.runs import RunStatus
from pgsched.domain.sources import DataSource
from pgsched.entrypoints.container import Container, opened
from pgsched.entrypoints.worker import look_less_for_garbage

if TYPE_CHECKING:
    from pgsched.domain.jobs import Job


_BENCH = Actor(name="bench")
#: limits of a query whose result is larger than the default ones allow
MUCH = {"max_rows": 1_000_000, "max_bytes": 1 << 30}


def measure(sql: str, times: int, *, limits: Mapping[str, int]) -> tuple[list[float], float]:
    """Return the seconds of each run, the first with a cold source connection, and the MB held before."""
    import uvloop

    return uvloop.run(_measure(sql, times, limits))


async def _measure(sql: str, times: int, limits: Mapping[str, int]) -> tuple[list[float], float]:
    async with opened(Container(service=providers.Object("worker"))) as container:
        source = await source_of(container)
        for _ in range(times):
            await due_job(container, source, sql, limits=limits)
        queue, run_job = container.queue(), container.run_job()
        worker_id = 1  # claims need a number; nobody else works here
        look_less_for_garbage()
        before = peak_mb()
        seconds = []
        for _ in range(times):
            started = time.perf_counter()
            planned = await queue.plan_and_claim(plan_due, worker_id, jobs=1, runs=1)
            (claim,) = planned.claims
            run = await run_job(claim)
            seconds.append(time.perf_counter() - started)
            assert planned.queued == 1
            assert run.status is RunStatus.SUCCESS, run.error_message
        return seconds, before


async def source_of(container: Container) -> DataSource:
    """Return the source with the rows, adding it when it is not there."""
    try:
        return await container.sources().get(SOURCE)
    except NotFound:
        given = conninfo_to_dict(os.environ["BENCH_SOURCE"])
        new = {
            "name": SOURCE,
            "host": str(given["host"]),
            "port": int(str(given["port"])),
            "dbname": str(given["dbname"]),
            "username": str(given["user"]),
            "password": str(given["password"]),
        }
        return (await container.add_source()(new, _BENCH)).source


async def due_job(
    container: Container,
    source: DataSource,
    sql: str,
    name: str | None = None,
    *,
    limits: Mapping[str, int] = MUCH,
) -> Job:
    """Add a query that is due now and then not again for six hours."""
    name = name or f"q{secrets.token_hex(8)}"
    now = await container.clock().now()
    given = {
        "name": name,
        "title": name,
        "sql_text": sql,
        "data_source_id": source.id,
        "schedule_type": "interval",
        "schedule_expr": "PT6H",
        **limits,
        "start_at": now.replace(microsecond=0) - timedelta(seconds=1),
    }
    return await container.add_job()(given, _BENCH)


async def run_once(sql: str, name: str) -> None:
    """Add one query and take it to its stored result."""
    async with opened(Container()) as container:
        await due_job(container, await source_of(container), sql, name)
        await container.queue().plan_due(plan_due)
        (claim,) = await container.queue().claim(1, limit=1)
        assert (await container.run_job()(claim)).status is RunStatus.SUCCESS


if __name__ == "__main__":
    import sys

    asyncio.run(run_once(sys.argv[1], sys.argv[2]))
    print("{}")
