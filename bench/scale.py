"""Figures at scale: ``python -m bench.scale [due|herd|idle|history]``, without a word all of them.

``history`` writes ten million runs (about 5 GB beside this server) and takes some minutes; ``--rows`` says
another number. Not part of ``make bench``.
"""

from __future__ import annotations

import argparse
import statistics
import time
import urllib.request
from typing import Any

import psutil
import psycopg

from bench import stage
from bench.processes import free_port, service

#: what is measured
ALL = ("due", "herd", "idle", "history")
#: queries that come due in the same second
HERD = 1000
#: schedules of the idle worker
SCHEDULES = 100_000
#: runs of one query, those with a result, and of the small table to compare with
ROWS, WITH_RESULT = 10_000_000, 1000

_JOBS = """
insert into query_job (name, title, sql_text, data_source_id, schedule_type, schedule_expr, anchor_at,
    next_run_at)
select %(name)s || n, 'scale', 'select 1 as one', (select min(id) from data_source), 'interval', %(every)s,
    %(at)s, %(at)s
from generate_series(1, %(count)s) n"""
_LATE = """
select extract(epoch from r.run_started_at - r.scheduled_at)::float8, r.worker_id
from query_run r join query_job j on j.id = r.query_id
where j.name like 'due%%' and r.status = 'success' and r.scheduled_at >= %(since)s order by 1"""


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", metavar="|".join(ALL))
    parser.add_argument("--rows", type=int, default=ROWS)
    options = parser.parse_args()
    # argparse takes no word at all for a choice that is none
    if unknown := set(options.what) - set(ALL):
        parser.error(f"no figure is called {', '.join(sorted(unknown))}")
    with stage.throwaway() as where, psycopg.connect(where.environment["PG_DSN_APP"], autocommit=True) as db:
        where.measure("pgsched_way", "select 1 as one", "once")
        db.execute("update data_source set max_concurrency = 64")
        db.execute("delete from query_job")
        for what in options.what or ALL:
            if what == "history":
                history(where, db, options.rows)
            else:
                {"due": due, "herd": herd, "idle": idle}[what](where, db)
            db.execute("delete from query_job where title = 'scale'")


def due(where: stage.Stage, db: psycopg.Connection[Any]) -> None:
    """Start after due, 100 runs a second over two workers."""
    with service(where, "worker"), service(where, "worker"):
        _wait(lambda: _one(db, "select count(*) from worker where stopped_at is null") == 2)
        at = _one(db, "select date_trunc('second', clock_timestamp()) + interval '3 seconds'")
        for tenth in range(10):
            # anchors are whole seconds, instants need not be: spread over the second as a real load is
            shifted = _one(db, "select %s::timestamptz + make_interval(secs => %s)", at, tenth / 10)
            values = {"name": f"due{tenth}_", "every": "PT1S", "at": shifted, "count": 10}
            db.execute(_JOBS, values)
        time.sleep(20)
        # the first seconds are the workers' own start: connections, imports, prepared statements
        since = _one(db, "select %s::timestamptz + interval '5 seconds'", at)
        late = db.execute(_LATE, {"since": since}).fetchall()
    seconds = [each for each, _ in late]
    print(f"start after due, 100 runs a second over 2 workers, {len(seconds)} runs (goal ≤ 20 / ≤ 100 ms)")
    print(f"  p50 {_share(seconds, 0.5) * 1000:.1f} ms, p99 {_share(seconds, 0.99) * 1000:.1f} ms")


def herd(where: stage.Stage, db: psycopg.Connection[Any]) -> None:
    """Many queries due in the same second."""
    with service(where, "worker"):
        _wait(lambda: _one(db, "select count(*) from worker where stopped_at is null") == 1)
        at = _one(db, "select date_trunc('second', clock_timestamp()) + interval '3 seconds'")
        db.execute(_JOBS, {"name": "herd", "every": "PT1H", "at": at, "count": HERD})
        done = "select count(*) from query_run where scheduled_at = %s and status = 'success'"
        _wait(lambda: _one(db, done, at) == HERD)
        planned, first, last = db.execute(
            """select extract(epoch from max(created_at) - scheduled_at)::float8,
                   extract(epoch from min(run_started_at) - scheduled_at)::float8,
                   extract(epoch from max(run_finished_at) - scheduled_at)::float8
               from query_run where scheduled_at = %s group by scheduled_at""",
            [at],
        ).fetchone() or (0, 0, 0)
    print(f"{HERD} queries due in the same second, one worker with 32 at once (goal: planned ≤ 0.5 s)")
    print(f"  all planned after {planned:.2f} s, first started {first * 1000:.0f} ms, all done {last:.2f} s")


def idle(where: stage.Stage, db: psycopg.Connection[Any]) -> None:
    """A worker over many schedules of which none is due."""
    at = _one(db, "select date_trunc('second', clock_timestamp()) + interval '1 day'")
    began = time.monotonic()
    db.execute(_JOBS, {"name": "idle", "every": "P1D", "at": at, "count": SCHEDULES})
    db.execute("vacuum analyze query_job")
    stored = time.monotonic() - began
    before = _one(db, "select coalesce(max(id), 0) from worker")
    began = time.monotonic()
    with service(where, "worker") as process:
        _wait(lambda: _one(db, "select count(*) from worker where id > %s", before) == 1)
        ready = time.monotonic() - began
        time.sleep(5)
        seen = psutil.Process(process.pid)
        spent, since = sum(seen.cpu_times()[:2]), time.monotonic()
        time.sleep(15)
        share = (sum(seen.cpu_times()[:2]) - spent) / (time.monotonic() - since)
        memory = seen.memory_info().rss / 1e6
    print(f"idle worker over {SCHEDULES:,} schedules (stored in {stored:.1f} s)")
    print(f"  ready after {ready:.2f} s (goal ≤ 5), {memory:.0f} MB (≤ 150), {share:.1%} of a core (≤ 1 %)")


def history(where: stage.Stage, db: psycopg.Connection[Any], rows: int) -> None:
    """Latest and one page over a long history, against a short one."""
    for name, count in (("short", WITH_RESULT), ("long", rows)):
        began = time.monotonic()
        _write_runs(db, name, count)
        print(f"  {name}: {count:,} runs written in {time.monotonic() - began:.0f} s", flush=True)
    db.execute("vacuum analyze query_run")
    port = free_port()
    with service(where, "api", "--port", str(port)):
        url = f"http://127.0.0.1:{port}/api/queries"
        _wait(lambda: _answers(f"{url}/short"))
        took: dict[str, dict[str, float]] = {"latest": {}, "page": {}, "page far back": {}}
        middle = {
            name: _one(
                db,
                "select id from query_run where query_id = (select id from query_job where name = %s)"
                " order by scheduled_at, id offset %s limit 1",
                name,
                WITH_RESULT // 2,
            )
            for name in ("short", "long")
        }
        for name in ("short", "long"):
            # a parameter that nobody knows keeps each answer out of the memory
            paths = {
                "latest": f"{url}/{name}/runs/latest?format=table&rows=0,10",
                "page": f"{url}/{name}/runs?limit=50",
                "page far back": f"{url}/{name}/runs?limit=50&before={middle[name]}",
            }
            for what, path in paths.items():
                took[what][name] = _median(path)
    print(f"answers over {rows:,} runs against {WITH_RESULT:,} (goal ≤ 1.3 ×)")
    for what, each in took.items():
        ratio = each["long"] / each["short"]
        print(f"  {what}: {each['long'] * 1000:.2f} ms against {each['short'] * 1000:.2f} ms, {ratio:.2f} ×")


def _write_runs(db: psycopg.Connection[Any], name: str, count: int) -> None:
    at = _one(db, "select date_trunc('second', clock_timestamp()) + interval '1 day'")
    db.execute(_JOBS, {"name": name, "every": "P1D", "at": at, "count": 1})
    db.execute(
        "update query_job set name = %s, next_run_at = null, enabled = false where name = %s",
        [name, f"{name}1"],
    )
    query = _one(db, "select id from query_job where name = %s", name)
    parts = max(1, count // 500_000)
    for part in range(parts):
        first, last = part * count // parts, (part + 1) * count // parts - 1
        db.execute(
            """insert into query_run (query_id, scheduled_at, job_timezone, run_started_at, run_finished_at,
                   duration_ms, status, error_code, error_message, trigger, ready_at, data_source_id, attempt)
               select %(query)s, t.at, 'UTC', t.at, t.at, 0, 'error', 'query_failed', 'no', 'schedule', t.at,
                   1, 1
               from generate_series(%(first)s::bigint, %(last)s::bigint) n,
                   lateral (select timestamptz '2000-01-01' + n * interval '1 minute' as at) t
               where n < %(plain)s""",
            {"query": query, "first": first, "last": last, "plain": count - WITH_RESULT},
        )
    db.execute(
        """with run as (
               insert into query_run (query_id, scheduled_at, job_timezone, run_started_at, run_finished_at,
                   duration_ms, status, rows_returned, trigger, ready_at, data_source_id, attempt)
               select %(query)s, t.at, 'UTC', t.at, t.at, 0, 'success', 10, 'schedule', t.at, 1, 1
               from generate_series(%(plain)s::bigint, %(count)s::bigint - 1) n,
                   lateral (select timestamptz '2000-01-01' + n * interval '1 minute' as at) t
               returning id)
           insert into query_run_blob (run_id, format, df_json, row_count, byte_size)
           select id, 'jsonb', jsonb_build_object(
               'schema', '{"fields":[{"name":"n","type":"integer"}]}'::jsonb,
               'data', (select jsonb_agg(jsonb_build_object('n', k)) from generate_series(1, 10) k)), 10, 80
           from run""",
        {"query": query, "plain": count - WITH_RESULT, "count": count},
    )


def _median(url: str, turns: int = 300) -> float:
    took = []
    for _ in range(turns):
        began = time.perf_counter()
        with urllib.request.urlopen(url, timeout=30) as answer:
            answer.read()
        took.append(time.perf_counter() - began)
    return statistics.median(took[turns // 10 :])


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _one(db: psycopg.Connection[Any], statement: str, *values: Any) -> Any:
    row = db.execute(statement, values or None).fetchone()  # type: ignore[arg-type]
    assert row is not None
    return row[0]


def _share(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def _wait(look: Any, within_s: float = 60) -> None:
    end = time.monotonic() + within_s
    while not look():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.02)


if __name__ == "__main__":
    main()
