"""Jobs that do nothing, through procrastinate: ``python -m bench.procrastinate_way JOBS AT_ONCE [analyzed]``.

It is twice as fast once its tables have statistics. Whether autovacuum comes by while it works is chance; so
it is kept away, and VACUUM ANALYZE run before where that is asked for.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time

import psycopg
from procrastinate import App, PsycopgConnector

SCHEMA = "procrastinate"


async def measure(jobs: int, at_once: int, *, is_analyzed: bool) -> float:
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
        with psycopg.connect(dsn, autocommit=True) as connection:
            for (table,) in connection.execute(
                "select tablename from pg_tables where schemaname = %s", [SCHEMA]
            ).fetchall():
                connection.execute(f"alter table {SCHEMA}.{table} set (autovacuum_enabled = off)")
                if is_analyzed:
                    connection.execute(f"vacuum analyze {SCHEMA}.{table}")
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
    jobs, at_once, *words = sys.argv[1:]
    per_second = asyncio.run(measure(int(jobs), int(at_once), is_analyzed=words == ["analyzed"]))
    print(json.dumps({"per_second": per_second}))
