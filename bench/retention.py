"""Disk under retention: ``python -m bench.retention [ROUNDS] [RUNS]`` writes runs and deletes them, in turns.

Prints the tables' size after each round, how long deleting took, and the longest that a reader waited.
Vacuum is autovacuum's own, told to look every second instead of every minute: a round here takes seconds.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path

QUERIES = 50
KEEP = 20

WRITE = """
with run as (
    insert into query_run (query_id, scheduled_at, job_timezone, run_started_at, run_finished_at, duration_ms,
        status, rows_returned, attempt, trigger, data_source_id, ready_at)
    select 1 + n %% {queries}, timestamptz '2026-01-01' + (%(base)s + n) * interval '1 second', 'UTC', now(),
        now(), 5, 'success', 10, 1, 'schedule', 1, now()
    from generate_series(1, %(runs)s) n returning id)
insert into query_run_blob (run_id, format, df_json, row_count, byte_size)
select id, 'jsonb', jsonb_build_object('schema', '{{}}'::jsonb, 'data',
    (select jsonb_agg(md5(id::text || i)) from generate_series(1, 120) i)), 120, 4200 from run"""
SIZE = """
select sum(pg_total_relation_size(c.oid)) / 1048576.0, sum(case when c.relname = 'query_run' then
    pg_total_relation_size(c.oid) else 0 end) / 1048576.0
from pg_class c where c.relname in ('query_run', 'query_run_blob', 'query_run_chunk')"""
SETUP = f"""
insert into data_source (name, host, dbname, username) values ('bench', 'localhost', 'bench', 'bench');
insert into query_job
    (name, title, sql_text, data_source_id, schedule_type, schedule_expr, anchor_at, keep_runs)
select 'q' || n, 'q', 'select 1', 1, 'interval', 'PT1S', now(), {KEEP} from generate_series(1, {QUERIES}) n"""


async def measure(rounds: int, runs: int) -> None:
    """Write and delete in turns while a reader polls."""
    import psycopg

    from pgsched.adapters.embedded.cluster import EmbeddedCluster
    from pgsched.adapters.postgres.database import Database
    from pgsched.adapters.postgres.retention import PostgresRetention
    from pgsched.adapters.postgres.schema import upgrade
    from pgsched.adapters.postgres.tally import PostgresRunTally
    from pgsched.adapters.postgres.views import PostgresRunView
    from pgsched.application.housekeeping import DeleteOldRuns
    from pgsched.domain.audience import EVERYTHING
    from pgsched.domain.retention import Limits

    with tempfile.TemporaryDirectory(prefix="pgsched-bench-", dir="/dev/shm") as folder:
        settings = {"autovacuum_naptime": "1s", "autovacuum_vacuum_cost_limit": "2000"}
        cluster = EmbeddedCluster(Path(folder) / "home", durable=False, settings=settings)
        await cluster.start()
        try:
            dsn = cluster.application.dsn()
            await upgrade(dsn)
            database = Database(dsn, application_name="bench", max_size=4)
            await database.open()
            tally, retention = PostgresRunTally(database), PostgresRetention(database)
            view, delete = PostgresRunView(database), DeleteOldRuns(retention, Limits())
            longest = 0.0
            stop = asyncio.Event()

            async def read() -> None:
                nonlocal longest
                while not stop.is_set():
                    asked = time.perf_counter()
                    await view.latest(EVERYTHING, 1)
                    longest = max(longest, time.perf_counter() - asked)
                    await asyncio.sleep(0.005)

            async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
                await connection.execute(SETUP)
                reader = None
                print(
                    f"{'round':>5} {'runs so far':>12} {'all MB':>8} {'query_run MB':>13} {'deleting s':>11}"
                )
                for number in range(rounds):
                    values = {"runs": runs, "base": number * runs}
                    await connection.execute(WRITE.format(queries=QUERIES), values)
                    reader = reader or asyncio.create_task(read())
                    while await _counted(connection) < (number + 1) * runs:
                        await tally.advance()
                    began = time.perf_counter()
                    await delete()
                    took = time.perf_counter() - began
                    row = await (await connection.execute(SIZE)).fetchone()
                    print(
                        f"{number + 1:5} {(number + 1) * runs:12,} {row[0]:8.1f} {row[1]:13.1f} {took:11.1f}"
                    )
                left = await (await connection.execute("select count(*) from query_run")).fetchone()
                print(f"left: {left[0]} runs; a reader of latest waited {longest * 1000:.0f} ms at most")
                stop.set()
                if reader is not None:
                    await reader
            await database.close()
        finally:
            await cluster.stop()


async def _counted(connection) -> int:
    row = await (await connection.execute("select coalesce(sum(runs), 0) from run_tally")).fetchone()
    return int(row[0])


if __name__ == "__main__":
    given = [int(argument) for argument in sys.argv[1:]]
    asyncio.run(measure(given[0] if given else 12, given[1] if len(given) > 1 else 20_000))
