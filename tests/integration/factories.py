"""Values with defaults, so that a test states only what it is about."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

from pgsched.application.ports.queue import WorkerInfo
from pgsched.domain.jobs import JobSpec
from pgsched.domain.planning import Gap, Plan, PlannedRun
from pgsched.domain.runs import Failure, SkipReason, Success
from pgsched.domain.schedules import ScheduleType
from pgsched.domain.sources import NewSource

#: the Table Schema of ``success``
SCHEMA = {"fields": [{"name": "n", "type": "integer"}], "pandas_version": "1.4.0"}


def new_source(**changes: object) -> NewSource:
    given = {"name": "shop", "host": "localhost", "dbname": "shop", "username": "reader"}
    return NewSource(**(given | changes))


def job_spec(source_id: int, **changes: object) -> JobSpec:
    given = {
        "name": "orders",
        "title": "Orders",
        "sql_text": "select 1 as n",
        "data_source_id": source_id,
        "schedule_type": ScheduleType.INTERVAL,
        "schedule_expr": "PT1M",
    }
    return JobSpec(**(given | changes))


def encoded(rows: Sequence[dict]) -> bytes:
    """Row objects as they travel: joined by commas, no brackets."""
    return ",".join(json.dumps(row) for row in rows).encode()


def success(*rows: dict, **changes: object) -> Success:
    """A success with these rows, in one piece."""
    data = encoded(rows)
    given = {
        "rows": len(rows),
        "byte_size": len(data),
        "truncated": False,
        "table_schema": json.dumps(SCHEMA).encode(),
        "data": data,
    }
    return Success(**(given | changes))


def failure(**changes: object) -> Failure:
    given = {
        "code": "query_failed",
        "message": "ERROR: no\nDETAIL: whole",
        "public": "no",
        "sqlstate": "42P01",
    }
    return Failure(**(given | changes))


def planned(instant: datetime, **changes: object) -> PlannedRun:
    """An instant that shall run at once."""
    return PlannedRun(**({"instant": instant, "ready_at": instant} | changes))


def plan(*runs: PlannedRun, **changes: object) -> Plan:
    """A plan with these rows, after which the schedule has ended."""
    return Plan(runs=runs, **changes)


def gap(first: datetime, last: datetime, **changes: object) -> Gap:
    given = {"from_at": first, "to_at": last, "instants": 101, "reason": SkipReason.MISFIRE}
    return Gap(**(given | changes))


def worker_info(**changes: object) -> WorkerInfo:
    return WorkerInfo(**({"host": "here", "pid": 1, "version": "0", "concurrency": 4} | changes))
