"""The plain way to a stored result: fetch all, build a frame, write it, insert it."""

from __future__ import annotations

import os
import time

import pandas
import psycopg

from bench.due_to_stored import peak_mb

RESULTS = """
create table if not exists plain_result (
    id bigint generated always as identity primary key, stored_at timestamptz default now(), df_json jsonb)
"""


def measure(sql: str, times: int) -> tuple[list[float], float]:
    """Return the seconds of each run, the first with a cold source connection, and the MB held before."""
    with psycopg.connect(os.environ["PG_DSN_APP"]) as metadata:
        metadata.execute(RESULTS)
        metadata.commit()
        before = peak_mb()
        seconds, source = [], None
        for _ in range(times):
            started = time.perf_counter()
            if source is None:
                source = psycopg.connect(os.environ["BENCH_SOURCE"])
            _run(source, metadata, sql)
            seconds.append(time.perf_counter() - started)
    return seconds, before


def _run(source: psycopg.Connection, metadata: psycopg.Connection, sql: str) -> None:
    cursor = source.execute(sql)
    rows = cursor.fetchall()
    assert cursor.description is not None
    frame = pandas.DataFrame(rows, columns=[column.name for column in cursor.description])
    source.rollback()
    frame["u"] = frame["u"].astype(str)  # to_json would dump the attributes of each UUID
    document = frame.to_json(orient="table", index=False)
    metadata.execute("insert into plain_result (df_json) values (%s)", [document])
    metadata.commit()
