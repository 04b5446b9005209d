"""Examples in the OpenAPI document: of every body, of every answer, of every problem.

A test holds each against its own schema, and sends the bodies to a server.
"""

from __future__ import annotations

from typing import Any, Final

from pgsched.entrypoints.http.problems import problem

_AT: Final = "2026-03-29T06:00:00Z"
_ENDED: Final = "2026-03-29T06:00:00.017250Z"
_SESSION: Final = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
_SQL: Final = "select region, sum(amount) as amount from sales group by region"

#: of the parts of paths, and of parameters
PLACES: Final[dict[str, Any]] = {
    "qid": "orders",
    "run_id": 17,
    "uid": 1,
    "token_id": 3,
    "source_id": "shop",
    "session_id": _SESSION,
}
PARAMETERS: Final[dict[str, Any]] = {
    "start": "2026-03-01T00:00:00Z",
    "end": "2026-04-01T00:00:00Z",
    "actor": "ada@example.com",
    "action": "query.update",
    "noun": "query",
    "noun_id": "7",
    "q": "sales",
    "params": "north",
    "before": 17,
    "after": 17,
    "rows": "0,1000",
}

_ACCOUNT: Final = {
    "id": 1,
    "email": "ada@example.com",
    "name": "Ada",
    "roles": ["editor"],
    "is_active": True,
    "created_at": _AT,
    "updated_at": _AT,
}
_TOKEN: Final = {
    "id": 3,
    "user_id": 1,
    "name": "dashboard",
    "queries": [7],
    "created_at": _AT,
    "expires_at": None,
    "last_used_at": _AT,
}
_SOURCE: Final = {
    "id": 2,
    "name": "shop",
    "host": "db.example.com",
    "port": 5432,
    "dbname": "shop",
    "username": "reader",
    "has_password": True,
    "enc_algo": "sealedbox-v1",
    "key_version": 1,
    "sslmode": "verify-full",
    "sslrootcert": None,
    "max_concurrency": 4,
    "max_cost": None,
    "allow_user_functions": True,
    "allow_metadata": False,
    "created_at": _AT,
    "updated_at": _AT,
}
_QUERY: Final = {
    "id": 7,
    "name": "orders",
    "title": "Orders by region",
    "description": "",
    "sql_text": _SQL,
    "data_source_id": 2,
    "schedule_type": "cron",
    "schedule_expr": "0 6 * * *",
    "timezone": "Europe/Berlin",
    "enabled": True,
    "visibility": "public",
    "overlap_policy": "skip",
    "misfire_policy": "once",
    "misfire_window": "P1D",
    "start_deadline_s": None,
    "jitter_s": 0,
    "max_attempts": 3,
    "retry_backoff_s": 5,
    "timeout_ms": 300000,
    "max_rows": 10000,
    "max_bytes": 8388608,
    "on_limit": "truncate",
    "pause_after_failures": 0,
    "keep_runs": None,
    "keep_days": None,
    "fresh_for": "PT25H",
    "expose_metrics": False,
    "parameters": [],
    "param_sets": [],
    "data_source": "shop",
    "start_at": _AT,
    "anchor_at": _AT,
    "next_run_at": "2026-03-30T04:00:00Z",
    "consecutive_failures": 0,
    "paused_at": None,
    "pause_reason": None,
    "created_at": _AT,
    "updated_at": _AT,
}
_RUN: Final = {
    "id": 17,
    "query_id": 7,
    "scheduled_at": _AT,
    "job_timezone": "Europe/Berlin",
    "run_started_at": "2026-03-29T06:00:00.005000Z",
    "run_finished_at": _ENDED,
    "duration_ms": 12,
    "status": "success",
    "rows_returned": 2,
    "error_message": None,
    "error_code": None,
    "attempt": 1,
    "trigger": "schedule",
    "truncated": False,
    "params": None,
    "param_values": None,
}
_NOT_RUN: Final = {
    "run_started_at": None,
    "run_finished_at": None,
    "duration_ms": None,
    "rows_returned": None,
}
_QUEUED: Final = {**_RUN, **_NOT_RUN, "status": "queued", "attempt": 0, "trigger": "manual"}
_CARD: Final = {
    "id": 7,
    "name": "orders",
    "title": "Orders by region",
    "description": "",
    "schedule_type": "cron",
    "schedule_expr": "0 6 * * *",
    "timezone": "Europe/Berlin",
    "enabled": True,
    "visibility": "public",
    "pause_reason": None,
    "next_run_at": "2026-03-30T04:00:00Z",
    "last_run": _RUN,
    "fresh_for": "PT25H",
    "fresh_until": "2026-03-30T07:00:00.017250Z",
    "is_stale": False,
    "age_s": 61.5,
    "created_at": _AT,
    "updated_at": _AT,
}
_ROWS: Final = [{"region": "north", "amount": 12}, {"region": "south", "amount": 9007199254740993}]
_TABLE: Final = {
    "schema": {
        "fields": [
            {"name": "region", "type": "string", "pgType": "text", "pgOid": 25},
            {"name": "amount", "type": "integer", "pgType": "bigint", "pgOid": 20},
        ],
        "pandas_version": "1.4.0",
    },
    "data": _ROWS,
}
_GRANTS: Final = {
    "users": [{"id": 4, "name": "Bob", "email": "bob@example.com", "row_filter": {"region": ["north"]}}],
    "roles": [{"name": "viewer", "row_filter": None}],
    "tokens": [{"id": 3, "name": "dashboard", "row_filter": None}],
}
_EVENT: Final = {
    "id": 31,
    "at": _AT,
    "actor_id": 1,
    "actor": "ada@example.com",
    "ip": "203.0.113.9",
    "request_id": "73af835c8ea5d54b60c555db",
    "action": "query.update",
    "noun": "query",
    "noun_id": "7",
    "noun_name": "orders",
    "old": {"visibility": "public"},
    "new": {"visibility": "users"},
}


def _list(*items: object) -> dict[str, object]:
    return {"items": list(items), "total": len(items), "limit": 50, "offset": 0}


#: of bodies, by the name of their shape
BODIES: Final[dict[str, Any]] = {
    "Login": {"email": "ada@example.com", "password": "correct-horse-7"},
    "AddUser": {
        "email": "bob@example.com",
        "name": "Bob",
        "password": "correct-horse-7",
        "roles": ["viewer"],
    },
    "ChangeUser": {"name": "Bob the Builder"},
    "NewPassword": {"new_password": "battery-staple-8", "current_password": "correct-horse-7"},
    "MakeToken": {"name": "dashboard", "expires_at": "2099-01-01T00:00:00Z", "queries": ["orders"]},
    "NewDataSource": {
        "name": "warehouse",
        "host": "db.example.com",
        "dbname": "shop",
        "username": "reader",
        "password": "a-password-of-the-source",
        "sslmode": "verify-full",
    },
    "DataSourceChange": {"max_concurrency": 2},
    "NewQuery": {
        "name": "orders_by_region",
        "title": "Orders by region",
        "sql_text": _SQL,
        "data_source": "shop",
        "schedule_type": "cron",
        "schedule_expr": "0 6 * * *",
        "timezone": "Europe/Berlin",
    },
    "QueryChange": {"visibility": "users", "timeout_ms": 60000},
    "DryRunBounds": {"limit": 10, "timeout_ms": 5000},
    "RunWanted": {"params": None},
    "GrantsWritten": {"roles": [{"name": "viewer", "row_filter": {"region": ["north"]}}]},
    "SqlToCheck": {"sql": "delete from sales"},
    "ScheduleToShow": {
        "type": "cron",
        "expr": "30 2 * * *",
        "timezone": "Europe/Berlin",
        "after": "2026-03-28T00:00:00",
        "n": 2,
    },
}

#: of good answers, by the name of their shape
ANSWERS: Final[dict[str, Any]] = {
    "Account": _ACCOUNT,
    "UserList": _list(_ACCOUNT),
    "SessionList": _list(
        {
            "id": _SESSION,
            "created_at": _AT,
            "last_seen_at": _AT,
            "expires_at": "2026-04-01T06:00:00Z",
            "ip": "203.0.113.9",
            "user_agent": "curl/8.5.0",
            "is_current": True,
        }
    ),
    "TokenMade": {**_TOKEN, "last_used_at": None, "token": "pgs_" + "0" * 49},
    "TokenList": _list(_TOKEN),
    "DataSourceShown": _SOURCE,
    "DataSourceList": _list(_SOURCE),
    "SourceFound": {"ok": True, "latency_ms": 0.476, "server_version": "17.2", "warnings": []},
    "QueryShown": _QUERY,
    "AdminQueryList": _list(_QUERY),
    "DryRunFound": {"rows_returned": 2, "duration_ms": 12, "truncated": False, "result": _TABLE},
    "GrantsShown": _GRANTS,
    "Ledger": {
        "query_id": 7,
        "name": "orders",
        "items": [
            {
                "at": _AT,
                "params": None,
                "outcome": "ran",
                "detail": "ran in time",
                "run_id": 17,
                "status": "success",
                "late_s": 0.005,
                "error_code": None,
            }
        ],
        "next_start": None,
    },
    "SqlVerdict": {
        "allowed": False,
        "code": "not_a_select",
        "detail": "only SELECT, WITH … SELECT, VALUES and TABLE are allowed, and they only read",
        "position": 1,
    },
    "NextInstants": {"next": ["2026-03-28T02:30:00+01:00", "2026-03-29T03:00:00+02:00"]},
    "AuditList": _list(_EVENT),
    "QueryCard": _CARD,
    "QueryList": _list(_CARD),
    "Run": _QUEUED,
    "RunList": {"items": [_RUN], "next_before": 17, "prev_after": None},
    "RunWithResult": {**_RUN, "result": _TABLE},
    "Alive": {"status": "ok"},
    "Ready": {
        "status": "ok",
        "database": "ok",
        "schema": 9,
        "workers": 2,
        "warnings": [],
        "stale_queries": [],
    },
}
#: of an answer that is a plain list
SOURCE_NAMES: Final = [{"id": 2, "name": "shop"}]
#: of a result in the other shapes that JSON has
RECORDS: Final = _ROWS
COLUMNS: Final = {"region": ["north", "south"], "amount": [12, 9007199254740993]}
CSV: Final = "region,amount\r\nnorth,12\r\nsouth,9007199254740993\r\n"
NDJSON: Final = '{"region":"north","amount":12}\n{"region":"south","amount":9007199254740993}\n'

_PROBLEMS: Final[dict[int, tuple[str, str]]] = {
    400: ("invalid_request", "limit: must be a whole number from 1 to 500, not 0"),
    401: ("not_authenticated", "log in first"),
    403: ("forbidden", "this is for admins"),
    404: ("not_found", "there is no query orders"),
    406: ("format_unavailable", "nothing that Accept names is to be had; ask for one of table, csv"),
    409: ("name_taken", "there is a query orders already"),
    412: ("precondition_failed", "it has changed since; read it again"),
    413: ("too_large", "the body is too large"),
    415: ("unsupported_media_type", "the body must be JSON in UTF-8, with Content-Type: application/json"),
    422: ("query_failed", 'relation "sales" does not exist'),
    429: ("too_many_requests", "you have 2 dry runs under way"),
    502: ("source_unreachable", "cannot connect to db.example.com port 5432: Connection refused"),
    503: ("database_unavailable", "the metadata database cannot serve; try again in a moment"),
    504: ("query_timeout", "the statement took longer than 30000 ms"),
}


def problem_of(status: int) -> dict[str, Any]:
    """Return a problem as it is answered with this status."""
    code, detail = _PROBLEMS[status]
    told: dict[str, Any] = problem(status, code, detail).described()
    if status == 400:
        told["errors"] = [{"field": "limit", "message": detail.removeprefix("limit: ")}]
    if status == 422:
        told |= {"sqlstate": "42P01", "message": detail, "position": 33}
    return told
