"""Runs a second: one worker with 32 at once and a trivial query, beside pgbench and beside procrastinate.

pgbench sends the same statements that claim and finish, from as many clients, and runs no query in between.
Each client has a source of its own: at one source they would wait for each other's lock, which one worker,
who claims for all of its places at once, never does. procrastinate runs jobs that do nothing, with its tables
as its installation leaves them and with statistics on them; pgsched does not depend on those (decision 30).
"""

from __future__ import annotations

import asyncio
import re
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from bench.latest import process

if TYPE_CHECKING:
    from bench.stage import Stage

#: runs of each way, and how many at once
RUNS, AT_ONCE = 6400, 32
SQL = "SELECT 1 AS one"
#: each way is measured so often, in turns; the best counts
TURNS = 2

# a source for each client of pgbench
_SOURCES = """
insert into data_source (name, host, dbname, username)
select 'client_' || n, 'localhost', 'none', 'none' from generate_series(0, %(clients)s - 1) n
returning id"""
# one query for each run: runs of the same one do not overlap
_QUERIES = """
insert into query_job (name, title, sql_text, data_source_id, schedule_type, schedule_expr, anchor_at,
    enabled)
select %(title)s || n, %(title)s, %(sql)s, %(first)s + n %% %(sources)s, 'interval', 'PT6H',
    date_trunc('second', now()), false
from generate_series(1, %(runs)s) n"""
_WAITING = """
insert into query_run (query_id, scheduled_at, job_timezone, status, trigger, data_source_id, ready_at)
select id, now(), 'UTC', 'queued', 'manual', data_source_id, now()
from query_job where title = %(title)s"""
_DONE = """
select count(*) filter (where status = 'success'),
    extract(epoch from max(run_finished_at) - min(run_started_at))::float8
from query_run where id > %(after)s"""


async def report(where: Stage) -> None:
    """Measure and print the table."""
    where.measure("pgsched_way", SQL, "once")
    with psycopg.connect(where.environment["PG_DSN_APP"], autocommit=True) as metadata:
        metadata.execute("update data_source set max_concurrency = %s", [AT_ONCE])
        own = _one(metadata, "select min(id) from data_source")
        clients = metadata.execute(_SOURCES, {"clients": AT_ONCE}).fetchall()
        for title, first, sources in (("pgsched", own, 1), ("pgbench", min(clients), AT_ONCE)):
            given = {"title": title, "sql": SQL, "runs": RUNS, "first": first[0], "sources": sources}
            metadata.execute(_QUERIES, given)
        metadata.execute("vacuum analyze")
        best: dict[str, float] = {}
        for _ in range(TURNS):
            for name, measured in {
                "pgsched": await _pgsched(where, metadata),
                "pgbench": _pgbench(where, metadata, min(clients)[0]),
                "procrastinate": where.measure("procrastinate_way", RUNS, AT_ONCE)["per_second"],
                "analyzed": where.measure("procrastinate_way", RUNS, AT_ONCE, "analyzed")["per_second"],
            }.items():
                if measured is not None:
                    best[name] = max(best.get(name, 0.0), measured)
        metadata.execute("delete from query_job where title in ('pgsched', 'pgbench')")
        metadata.execute("delete from data_source where name like 'client_%'")
    print(f"runs a second, {RUNS} waiting, {AT_ONCE} at once")
    ours = best["pgsched"]
    print(f"{'pgsched worker: claim, fenced query at the source, finish':64}{ours:8,.0f}")
    told = {
        "pgbench": ("pgbench: the same claim and finish, one by one, no query", "≥ 0.6"),
        "procrastinate": ("procrastinate as installed: jobs that do nothing", "≥ 5"),
        "analyzed": ("procrastinate after ANALYZE: the same", "none"),
    }
    for name, (what, goal) in told.items():
        if name in best:
            print(f"{what:64}{best[name]:8,.0f}  pgsched is {ours / best[name]:.2f} × (goal {goal})")
        else:
            print(f"{what:64}     not here")


async def _pgsched(where: Stage, metadata: psycopg.Connection[Any]) -> float:
    last = _make_wait(metadata, "pgsched")
    async with process(where, "pgsched", "worker", "--concurrency", AT_ONCE):
        for _ in range(1200):
            await asyncio.sleep(0.1)
            done, seconds = _one(metadata, _DONE, last)
            if done == RUNS:
                return RUNS / float(seconds)
    raise TimeoutError(f"{done} of {RUNS} runs after two minutes")


def _pgbench(where: Stage, metadata: psycopg.Connection[Any], first_source: int) -> float | None:
    from pgsched.adapters.postgres import claiming_sql as claiming
    from pgsched.adapters.postgres import runs_sql as sql

    program = shutil.which("pgbench") or next(iter(where.programs.glob("pgbench")), None)
    if program is None:
        return None
    last = _make_wait(metadata, "pgbench")
    document = '{"schema": {"fields": [{"name": "one", "type": "integer"}]}, "data": [{"one": 1}]}'
    values = {
        "why": "'late'",
        "limit": "1",
        "worker_id": "1",
        "run_id": ":run_id",
        "token": ":token",
        "rows": "1",
        "truncated": "false",
        "byte_size": "9",
        "format": "'jsonb'",
        "document": f"'{document}'",
        "chunks": "0",
        "param_values": "null",
    }

    def statement(text: str) -> str:
        return re.sub(r"%\((\w+)\)s", lambda match: values[match[1]], text).replace("%%", "%")

    lock = claiming.LOCK_SOURCES.replace("where line.ready_at", "where s.id = :source and line.ready_at")
    assert ":source" in lock
    (where.folder / "claim_finish.sql").write_text(
        f"\\set source {first_source} + :client_id\n"
        f"begin;{statement(lock)};{statement(claiming.CLAIM)} \\gset\n"
        f"commit;{statement(sql.SUCCEED)};"
    )
    command = [str(program), "-n", "-M", "prepared", "-f", "claim_finish.sql", "-j", "2"]
    command += ["-c", str(AT_ONCE), "-t", str(RUNS // AT_ONCE)]
    said = subprocess.run(
        command, cwd=where.folder, env=_as_variables(where), capture_output=True, text=True, check=False
    )
    done, seconds = _one(metadata, _DONE, last)
    assert done == RUNS, f"pgbench finished {done} of {RUNS}: {said.stderr[-500:]}"
    return RUNS / float(seconds)


def _as_variables(where: Stage) -> dict[str, str]:
    """Return the way to the metadata database as an older libpq understands it, too."""
    given = conninfo_to_dict(where.environment["PG_DSN_APP"])
    names = {"PGHOST": "host", "PGPORT": "port", "PGUSER": "user", "PGPASSWORD": "password"}
    return {
        **where.environment,
        **{variable: str(given[name]) for variable, name in names.items()},
        "PGDATABASE": str(given["dbname"]),
    }


def _make_wait(metadata: psycopg.Connection[Any], title: str) -> int:
    (last,) = _one(metadata, "select coalesce(max(id), 0) from query_run")
    metadata.execute(_WAITING, {"title": title})
    return int(last)


def _one(metadata: psycopg.Connection[Any], statement: str, after: int = 0) -> tuple[Any, ...]:
    row = metadata.execute(statement, {"after": after}).fetchone()
    assert row is not None
    return tuple(row)


if __name__ == "__main__":
    from bench import stage

    started = time.monotonic()
    with stage.throwaway() as here:
        asyncio.run(report(here))
    print(f"{time.monotonic() - started:.0f} s", file=sys.stderr)
