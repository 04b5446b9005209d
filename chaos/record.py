"""What the checker reads: the tables, the witness's record, and the source's own log."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
from psycopg.rows import class_row

_LINE = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}) \w+\|(\d+)\|pgsched:(\d+)/(\d+)\|(\w*)\|(.*)")


@dataclass(kw_only=True)
class Execution:
    """What the source's log says of one attempt of one run."""

    run_id: int
    attempt: int
    #: first and last line that carry its name
    began: datetime
    ended: datetime
    #: backends that worked on it
    backends: set[int] = field(default_factory=set)


@dataclass(kw_only=True)
class Record:
    """Everything there is to judge by."""

    runs: list[Any]
    gaps: list[Any]
    jobs: dict[int, Any]
    #: results by run, digested by the server: how many rows, how many of them right, made by whom
    blobs: dict[int, Any]
    changes: list[Any]
    blob_changes: list[Any]
    job_changes: list[Any]
    executions: dict[tuple[int, int], list[Execution]]
    now: datetime


# Rows are unpacked and digested by the server, so that the largest results are checked like the smallest.
_BLOBS = """
select b.run_id, b.format, b.row_count,
       (select row(count(*), min(d->>'made_by'), max(d->>'made_by'), count(distinct (d->>'n')::bigint),
                   min((d->>'n')::bigint), max((d->>'n')::bigint),
                   count(*) filter (where d->>'h' = md5((d->>'n') || %(salt)s)))::text
        from (select jsonb_array_elements(
                  case when b.format = 'jsonb' then b.df_json->'data' else c.data end) d
              from (select) one left join lateral (
                  select data from query_run_chunk where run_id = b.run_id and b.format <> 'jsonb') c on true
             ) rows) as content
from query_run_blob b"""


def read(admin_conninfo: str, source_conninfo: str, source_log: Path, salt: str) -> Record:
    """Read all of it; what is at work at the source just now has not ended."""
    with psycopg.connect(admin_conninfo, row_factory=class_row(SimpleNamespace)) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.execute("set local timezone = 'UTC'")
        record = _tables(connection, salt)
    # After the tables: what they say has happened, the source has seen.
    found = executions(source_log)
    with psycopg.connect(source_conninfo) as source:
        at_work = source.execute(
            "select application_name, clock_timestamp() from pg_stat_activity"
            " where application_name ~ '^pgsched:[0-9]+/' and state = 'active'"
        ).fetchall()
    for name, now in at_work:
        run_id, attempt = (int(part) for part in name.removeprefix("pgsched:").split("/"))
        for execution in found.get((run_id, attempt), ()):
            execution.ended = max(execution.ended, now)
    record.executions = found
    return record


def _tables(connection: psycopg.Connection[Any], salt: str) -> Record:
    """Read the tables as they are at one moment."""

    def rows(statement: str, **parameters: Any) -> list[Any]:
        return connection.execute(statement, parameters).fetchall()  # type: ignore[arg-type]

    return Record(
        now=rows("select clock_timestamp() as now")[0].now,
        runs=rows("select * from query_run order by id"),
        gaps=rows("select * from query_gap order by id"),
        jobs={job.id: job for job in rows("select * from query_job")},
        blobs={row.run_id: _blob(row) for row in rows(_BLOBS, salt=salt)},
        changes=rows("select * from witness.run order by seq"),
        blob_changes=rows("select * from witness.blob order by seq"),
        job_changes=rows("select * from witness.job order by seq"),
        executions={},
    )


def _blob(row: Any) -> SimpleNamespace:
    count, low, high, distinct, first, last, right = row.content.strip("()").split(",")
    return SimpleNamespace(
        run_id=row.run_id,
        row_count=row.row_count,
        rows=int(count),
        made_by={text.strip('"') for text in (low, high) if text},
        distinct=int(distinct),
        first=int(first or 0),
        last=int(last or 0),
        right=int(right),
    )


def executions(log: Path) -> dict[tuple[int, int], list[Execution]]:
    """Return what ran at the source, by run and attempt: one execution for each backend that worked on it."""
    found: dict[tuple[int, int, int], Execution] = {}
    with log.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            match = _LINE.match(line)
            if match is None:
                continue
            at = datetime.strptime(match[1], "%Y-%m-%d %H:%M:%S.%f").replace(tzinfo=UTC)
            backend, run_id, attempt = int(match[2]), int(match[3]), int(match[4])
            execution = found.setdefault(
                (run_id, attempt, backend), Execution(run_id=run_id, attempt=attempt, began=at, ended=at)
            )
            execution.ended = at
            execution.backends.add(backend)
    by_attempt: dict[tuple[int, int], list[Execution]] = {}
    for execution in found.values():
        by_attempt.setdefault((execution.run_id, execution.attempt), []).append(execution)
    return by_attempt
