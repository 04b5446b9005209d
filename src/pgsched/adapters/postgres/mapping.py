"""Rows of the metadata database as domain values.

Jobs' columns come out as ``j_…`` and sources' as ``s_…``, so that one row can hold both beside a run's own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from functools import lru_cache
from operator import getitem, itemgetter
from typing import Any, Final

from psycopg.types.json import Jsonb

from pgsched.domain.accounts import Account
from pgsched.domain.jobs import Job, JobSpec, MisfirePolicy, OverlapPolicy, Visibility
from pgsched.domain.results import OnLimit
from pgsched.domain.runs import Run, RunStatus, Trigger
from pgsched.domain.schedules import ScheduleType
from pgsched.domain.sources import DataSource, SealedPassword, SslMode

#: columns of query_job that a ``JobSpec`` has under the same name: all of its fields
SPEC: Final = tuple(field.name for field in fields(JobSpec))
#: columns of query_job beside those
JOB: Final = tuple(field.name for field in fields(Job) if field.name != "spec")
#: columns of data_source
SOURCE: Final = (
    *(field.name for field in fields(DataSource) if field.name != "password"),
    "enc_password",
    "enc_algo",
    "key_version",
)
_DESCRIBED: Final = ("parameters", "param_sets")
_RUN: Final = (*(field.name for field in fields(Run)), "error_public")

#: what ``job_from`` reads, of a query_job under the alias j
JOB_COLUMNS: Final = ", ".join(f"j.{name} as j_{name}" for name in (*JOB, *SPEC))
#: what ``source_from`` reads, of a data_source under the alias s
SOURCE_COLUMNS: Final = ", ".join(f"s.{name} as s_{name}" for name in SOURCE)
#: what ``run_from`` reads, and error_public, of a query_run under the alias r
RUN_COLUMNS: Final = ", ".join(f"r.{name}" for name in _RUN)

_Row = Mapping[str, Any]

_ENUMS: Final = {
    "schedule_type": ScheduleType,
    "visibility": Visibility,
    "overlap_policy": OverlapPolicy,
    "misfire_policy": MisfirePolicy,
    "on_limit": OnLimit,
}
_ENUM_COLUMNS: Final = tuple(_ENUMS)
_PLAIN_COLUMNS: Final = tuple(name for name in SPEC if name not in _ENUMS and name not in _DESCRIBED)
#: by the text that is stored, which takes a third of the time of calling the enumeration
_MEMBERS: Final = tuple({member.value: member for member in enum} for enum in _ENUMS.values())
#: the columns of a spec that can be compared, enumerations first
_spec_columns: Final = itemgetter(*(f"j_{name}" for name in (*_ENUM_COLUMNS, *_PLAIN_COLUMNS)))
#: characters of SQL up to which a spec is not made anew from the same columns, and how many are remembered
_REMEMBERED_CHARS, _MOST_REMEMBERED = 16_384, 256


def job_from(row: _Row) -> Job:
    """Return the job in the columns ``j_…``."""
    columns = _spec_columns(row)
    parameters, param_sets = row["j_parameters"], row["j_param_sets"]
    if parameters or param_sets or len(row["j_sql_text"]) > _REMEMBERED_CHARS:
        spec = _spec(columns, parameters, param_sets)
    else:
        spec = _remembered_spec(columns)
    return Job(
        id=row["j_id"],
        spec=spec,
        anchor_at=row["j_anchor_at"],
        next_run_at=row["j_next_run_at"],
        consecutive_failures=row["j_consecutive_failures"],
        paused_at=row["j_paused_at"],
        pause_reason=row["j_pause_reason"],
        created_at=row["j_created_at"],
        updated_at=row["j_updated_at"],
    )


def _spec(columns: tuple[Any, ...], parameters: Any = (), param_sets: Any = ()) -> JobSpec:
    values: dict[str, Any] = dict(zip(_PLAIN_COLUMNS, columns[len(_ENUM_COLUMNS) :], strict=True))
    values.update(zip(_ENUM_COLUMNS, map(getitem, _MEMBERS, columns), strict=True))
    return JobSpec(**values, parameters=parameters, param_sets=param_sets)


# a worker reads the same queries again and again, and a spec looks at all of its fields when it is made
_remembered_spec = lru_cache(maxsize=_MOST_REMEMBERED)(_spec)


def spec_values(spec: JobSpec) -> dict[str, Any]:
    """Return the columns of query_job that a spec fills."""
    # an enumeration goes as its text, which it is
    values = spec.described()
    return {name: Jsonb(value) if name in _DESCRIBED else value for name, value in values.items()}


def source_from(row: _Row, prefix: str = "s_") -> DataSource:
    """Return the source in the columns with this prefix."""
    password = None
    if row[f"{prefix}enc_password"] is not None:
        password = SealedPassword(
            ciphertext=bytes(row[f"{prefix}enc_password"]),
            algo=row[f"{prefix}enc_algo"],
            key_version=row[f"{prefix}key_version"],
        )
    return DataSource(
        id=row[f"{prefix}id"],
        name=row[f"{prefix}name"],
        host=row[f"{prefix}host"],
        port=row[f"{prefix}port"],
        dbname=row[f"{prefix}dbname"],
        username=row[f"{prefix}username"],
        password=password,
        sslmode=SslMode(row[f"{prefix}sslmode"]),
        sslrootcert=row[f"{prefix}sslrootcert"],
        max_concurrency=row[f"{prefix}max_concurrency"],
        max_cost=row[f"{prefix}max_cost"],
        allow_user_functions=row[f"{prefix}allow_user_functions"],
        allow_metadata=row[f"{prefix}allow_metadata"],
        created_at=row[f"{prefix}created_at"],
        updated_at=row[f"{prefix}updated_at"],
    )


def run_from(row: _Row) -> Run:
    """Return the run in the columns of ``RUN_COLUMNS``; its message is the whole one."""
    return Run(
        id=row["id"],
        query_id=row["query_id"],
        scheduled_at=row["scheduled_at"],
        job_timezone=row["job_timezone"],
        run_started_at=row["run_started_at"],
        run_finished_at=row["run_finished_at"],
        duration_ms=row["duration_ms"],
        status=RunStatus(row["status"]),
        rows_returned=row["rows_returned"],
        error_message=row["error_message"],
        error_code=row["error_code"],
        attempt=row["attempt"],
        trigger=Trigger(row["trigger"]),
        truncated=row["truncated"],
        params=row["params"] or None,
        param_values=_json(row["param_values"]),
    )


def _json(found: Any) -> Any:
    """Read what a view's cursor left as bytes."""
    return json.loads(found) if isinstance(found, bytes) else found


def account_from(row: _Row) -> Account:
    """Return the account in user_account's columns and ``roles``, an array."""
    return Account(
        id=row["id"],
        email=row["email"],
        name=row["name"],
        roles=tuple(row["roles"]),
        is_active=row["is_active"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )
