"""The plain way from a due query to a stored result, as one writes it with psycopg and pandas.

Look for what is due, note the run, fetch all, build a frame, write it, insert it, note the end. ``bare``
leaves the notes out: rows in, document out.
"""

from __future__ import annotations

import os
import time

import pandas
import psycopg

from bench.due_to_stored import peak_mb

TABLES = """
create table if not exists plain_job (
    id bigint generated always as identity primary key, sql_text text not null, next_run_at timestamptz not null);
create index if not exists plain_job_due on plain_job (next_run_at);
create table if not exists plain_run (
    id bigint generated always as identity primary key, job_id bigint not null references plain_job,
    scheduled_at timestamptz not null, started_at timestamptz not null, finished_at timestamptz,
    status text not null, rows_returned bigint);
create table if not exists plain_result (run_id bigint primary key references plain_run, df_json jsonb not null);
create table if not exists bare_result (id bigint generated always as identity primary key, df_json jsonb)
"""  # noqa: E501
DUE = """
select id, sql_text, next_run_at from plain_job where next_run_at <= now()
order by next_run_at limit 1 for update skip locked"""
NOTE = """
insert into plain_run (job_id, scheduled_at, started_at, status) values (%s, %s, now(), 'running')
returning id"""
ADVANCE = "update plain_job set next_run_at = next_run_at + interval '6 hours' where id = %s"
DONE = "update plain_run set status = 'success', finished_at = now(), rows_returned = %s where id = %s"


def measure(sql: str, times: int, *, bare: bool = False) -> tuple[list[float], float]:
    """Return the seconds of each run, the first with a cold source connection, and the MB held before."""
    with psycopg.connect(os.environ["PG_DSN_APP"]) as metadata:
        metadata.execute(TABLES)
        metadata.execute("truncate plain_job cascade")
        for _ in range(times):
            metadata.execute("insert into plain_job (sql_text, next_run_at) values (%s, now())", [sql])
        metadata.commit()
        before = peak_mb()
        seconds, source = [], None
        for _ in range(times):
            started = time.perf_counter()
            if source is None:
                source = psycopg.connect(os.environ["BENCH_SOURCE"])
            if bare:
                document, _ = _document(source, sql)
                metadata.execute("insert into bare_result (df_json) values (%s)", [document])
                metadata.commit()
            else:
                _run(source, metadata)
            seconds.append(time.perf_counter() - started)
    return seconds, before


def _run(source: psycopg.Connection, metadata: psycopg.Connection) -> None:
    due = metadata.execute(DUE).fetchone()
    assert due is not None
    noted = metadata.execute(NOTE, [due[0], due[2]]).fetchone()
    assert noted is not None
    metadata.execute(ADVANCE, [due[0]])
    metadata.commit()
    document, rows = _document(source, due[1])
    metadata.execute("insert into plain_result (run_id, df_json) values (%s, %s)", [noted[0], document])
    metadata.execute(DONE, [rows, noted[0]])
    metadata.commit()


def _document(source: psycopg.Connection, sql: str) -> tuple[str, int]:
    cursor = source.execute(sql.encode())
    rows = cursor.fetchall()
    assert cursor.description is not None
    frame = pandas.DataFrame(rows, columns=[column.name for column in cursor.description])
    source.rollback()
    frame["u"] = frame["u"].astype(str)  # to_json would dump the attributes of each UUID
    return frame.to_json(orient="table", index=False), len(frame)
