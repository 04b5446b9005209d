"""Jobs that do nothing, through procrastinate: ``python -m bench.procrastinate_way JOBS AT_ONCE``."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time

import psycopg
from procrastinate import App, PsycopgConnector

SCHEMA = "procrastinate"


async def measure(jobs: int, at_once: int) -> float:
    """Defer so many jobs, then return how many a worker does a second."""
    dsn = os.environ["PG_DSN_APP"]
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"drop schema if exists {SCHEMA} cascade")
        connection.execute(f"create schema {SCHEMA}")
    app = App(
        connector=PsycopgConnector(
            conninfo=dsn, kwargs={"options": f"-c search_path={SCHEMA}"}, max_size=at_once
        )
    )

    @app.task(name="nothing")
    async def nothing() -> None:
        return

    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        await nothing.batch_defer_async(*({} for _ in range(jobs)))
        started = time.perf_counter()
        await app.run_worker_async(
            concurrency=at_once, wait=False, listen_notify=False, install_signal_handlers=False
        )
        per_second = jobs / (time.perf_counter() - started)
    with psycopg.connect(dsn, autocommit=True) as connection:
        found = connection.execute(
            f"select count(*) from {SCHEMA}.procrastinate_jobs where status = 'succeeded'"
        ).fetchone()
        assert found == (jobs,), found
        connection.execute(f"drop schema {SCHEMA} cascade")
    return per_second


if __name__ == "__main__":
    print(json.dumps({"per_second": asyncio.run(measure(int(sys.argv[1]), int(sys.argv[2])))}))
