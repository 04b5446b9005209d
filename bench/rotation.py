"""Rotating keys under load: ``python -m bench.rotation [SECONDS]``.

Fifty queries run every second, by two workers, against a source that needs its password; two thousand sources
stand beside it. Meanwhile ``pgsched keys rotate`` is killed three times half-way, goes on, and drops the old
key. Every run must have succeeded at its first try, and every password must be on the new version.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

from bench import stage

QUERIES = 50
SOURCES = 2000

SETUP = f"""
insert into data_source
    (name, host, port, dbname, username, enc_password, enc_algo, key_version, max_concurrency)
select 'copy' || n, host, port, dbname, username, enc_password, enc_algo, key_version, 4
from data_source, generate_series(1, {SOURCES}) n;
insert into query_job (name, title, sql_text, data_source_id, schedule_type, schedule_expr, anchor_at,
    next_run_at, overlap_policy, misfire_policy)
select 'q' || n, 'q', 'select 1 as one', min(s.id), 'interval', 'PT1S', date_trunc('second', now()),
    date_trunc('second', now()), 'queue', 'all'
from data_source s, generate_series(1, {QUERIES}) n group by n"""


def main(seconds: float) -> int:
    """Rotate while runs go on; print what came of it, exit 1 when a run failed."""
    with stage.throwaway() as where:
        return _measure(where, seconds)


def _measure(where: stage.Stage, seconds: float) -> int:
    import psycopg
    from psycopg.conninfo import conninfo_to_dict

    environment = {**where.environment, "LOG_DIR": str(where.folder / "logs")}

    def pgsched(*arguments: str) -> list[str]:
        return [sys.executable, "-m", "pgsched", *arguments]

    def told(*arguments: str) -> Any:
        done = subprocess.run(
            pgsched(*arguments, "--json"),
            env=environment,
            cwd=where.folder,
            stdout=subprocess.PIPE,
            check=True,
        )
        return json.loads(done.stdout)

    source = conninfo_to_dict(where.environment["BENCH_SOURCE"])
    given = {"name": "bench", "host": source["host"], "port": source["port"], "dbname": source["dbname"]}
    given |= {"username": source["user"], "password": source["password"], "max-concurrency": "20"}
    told("dsn", "add", *(part for name, value in given.items() for part in (f"--{name}", str(value))))
    database = psycopg.connect(where.environment["PG_DSN_APP"], autocommit=True)

    def count(statement: str) -> int:
        row = database.execute(statement).fetchone()
        assert row is not None
        return int(row[0])

    on_new = "select count(*) from data_source where key_version = 2"
    ended = "select count(*) from query_run where status = 'success'"
    workers = [
        subprocess.Popen(pgsched("worker"), env=environment, cwd=where.folder, stderr=subprocess.DEVNULL)
        for _ in range(2)
    ]
    try:
        database.execute(SETUP)
        while count(ended) < QUERIES:
            time.sleep(0.1)
        began, before = time.monotonic(), count(ended)
        for number in range(3):
            done = count(on_new)
            rotating = subprocess.Popen(pgsched("keys", "rotate"), env=environment, cwd=where.folder)
            while count(on_new) == done and rotating.poll() is None:
                time.sleep(0.002)
            assert rotating.poll() is None, "it was over before it could be killed"
            rotating.kill()
            rotating.wait()
            print(f"killed {number + 1}: {count(on_new):,} of {SOURCES + 1:,} passwords on the new version")
            time.sleep(1)
        print(f"resumed: {told('keys', 'rotate')['resealed']:,} passwords sealed again")
        print(f"finished: version {told('keys', 'rotate', '--finish')['retired']} dropped")
        time.sleep(max(0.0, seconds - (time.monotonic() - began)))
        took, runs = time.monotonic() - began, count(ended) - before
        print(f"{runs:,} runs in {took:.1f} s: {runs / took:.0f} a second")
    finally:
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait(60)
    failed = count("select count(*) from query_run where status in ('error', 'cancelled') or attempt > 1")
    left = count("select count(*) from data_source where key_version <> 2")
    print(f"runs that failed or were tried again: {failed}; passwords on the old version: {left}")
    return 1 if failed or left else 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 30.0))
