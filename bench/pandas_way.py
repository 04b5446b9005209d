"""The plain way from a due query to a stored result, as one writes it with pandas and SQLAlchemy.

``pandas`` does what a small scheduler of one's own does: look for what is due and note the run; read it in a
read-only transaction with a timeout, as ``pandas.read_sql_query`` documents it (a SQLAlchemy connection, from
a pool); write it with ``to_json(orient="table")``; insert it into jsonb and note the end in one transaction.

``bare`` is the least that stores a result: psycopg's cursor, its rows in a DataFrame, ``to_json``, one
insert, unfenced and without a note of the run.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pandas
import psycopg
import sqlalchemy
from psycopg.conninfo import conninfo_to_dict

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
insert into plain_run (job_id, scheduled_at, started_at, status) values (:job, :at, now(), 'running')
returning id"""
ADVANCE = "update plain_job set next_run_at = next_run_at + interval '6 hours' where id = :job"
STORE = "insert into plain_result (run_id, df_json) values (:run, cast(:document as jsonb))"
DONE = "update plain_run set status = 'success', finished_at = now(), rows_returned = :rows where id = :run"
TIMEOUT = "set local statement_timeout = '5min'"


def measure(sql: str, times: int, *, bare: bool = False) -> tuple[list[float], float]:
    """Return the seconds of each run, the first with a cold source connection, and the MB held before."""
    with psycopg.connect(os.environ["PG_DSN_APP"]) as metadata:
        metadata.execute(TABLES)
        metadata.execute("truncate plain_job cascade")
        for _ in range(times):
            metadata.execute("insert into plain_job (sql_text, next_run_at) values (%s, now())", [sql])
        metadata.commit()
        run = _bare_way(metadata, sql) if bare else _scheduled_way()
        before, seconds = peak_mb(), []
        for _ in range(times):
            started = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - started)
    return seconds, before


def _scheduled_way() -> Callable[[], None]:
    statements = (DUE, NOTE, ADVANCE, STORE, DONE, TIMEOUT)
    due, note, advance, store, done, timeout = map(sqlalchemy.text, statements)
    metadata, source = _engine(os.environ["PG_DSN_APP"]), _engine(os.environ["BENCH_SOURCE"])
    fenced = source.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
    with metadata.connect():
        pass  # its pool is warm, as ours is

    def run() -> None:
        with metadata.begin() as connection:
            job = connection.execute(due).one()
            noted = connection.execute(note, {"job": job.id, "at": job.next_run_at}).scalar_one()
            connection.execute(advance, {"job": job.id})
        with fenced.connect() as connection:
            connection.execute(timeout)
            frame = pandas.read_sql_query(sqlalchemy.text(job.sql_text), connection)
        document = _document(frame)
        with metadata.begin() as connection:
            connection.execute(store, {"run": noted, "document": document})
            connection.execute(done, {"rows": len(frame), "run": noted})

    return run


def _bare_way(metadata: psycopg.Connection, sql: str) -> Callable[[], None]:
    opened: list[psycopg.Connection] = []

    def run() -> None:
        if not opened:
            opened.append(psycopg.connect(os.environ["BENCH_SOURCE"]))
        (source,) = opened
        cursor = source.execute(sql.encode())
        rows = cursor.fetchall()
        assert cursor.description is not None
        frame = pandas.DataFrame(rows, columns=[column.name for column in cursor.description])
        source.rollback()
        metadata.execute("insert into bare_result (df_json) values (%s)", [_document(frame)])
        metadata.commit()

    return run


def _document(frame: pandas.DataFrame) -> str:
    frame["u"] = frame["u"].astype(str)  # to_json would dump the attributes of each UUID
    return frame.to_json(orient="table", index=False)


def _engine(conninfo: str) -> sqlalchemy.Engine:
    given = {name: str(value) for name, value in conninfo_to_dict(conninfo).items()}
    return sqlalchemy.create_engine(
        sqlalchemy.URL.create(
            "postgresql+psycopg",
            username=given["user"],
            password=given["password"],
            host=given["host"],
            port=int(given["port"]),
            database=given["dbname"],
        )
    )
