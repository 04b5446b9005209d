"""The tables that statements are built from; their constraints stand in the migrations alone."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Identity,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.types import TypeEngine

metadata = MetaData()

_AT = DateTime(timezone=True)


def _column(name: str, type_: TypeEngine[Any], *, null: bool = False, key: bool = False) -> Column[Any]:
    return Column(name, type_, nullable=null, primary_key=key, autoincrement=False)


def _id() -> Column[Any]:
    return Column("id", BigInteger(), Identity(always=True), primary_key=True)


data_source = Table(
    "data_source",
    metadata,
    _id(),
    _column("name", Text()),
    _column("host", Text()),
    _column("port", Integer()),
    _column("dbname", Text()),
    _column("username", Text()),
    _column("enc_password", LargeBinary(), null=True),
    _column("enc_algo", Text(), null=True),
    _column("key_version", Integer(), null=True),
    _column("sslmode", Text()),
    _column("sslrootcert", Text(), null=True),
    _column("max_concurrency", Integer()),
    _column("max_cost", BigInteger(), null=True),
    _column("allow_user_functions", Boolean()),
    _column("allow_metadata", Boolean()),
    _column("created_at", _AT),
    _column("updated_at", _AT),
)

query_job = Table(
    "query_job",
    metadata,
    _id(),
    _column("name", Text()),
    _column("title", Text()),
    _column("description", Text()),
    _column("sql_text", Text()),
    _column("data_source_id", BigInteger()),
    _column("schedule_type", Text()),
    _column("schedule_expr", Text()),
    _column("timezone", Text()),
    _column("enabled", Boolean()),
    _column("visibility", Text()),
    _column("overlap_policy", Text()),
    _column("misfire_policy", Text()),
    _column("misfire_window", Text()),
    _column("start_deadline_s", Integer(), null=True),
    _column("jitter_s", Integer()),
    _column("max_attempts", Integer()),
    _column("retry_backoff_s", Integer()),
    _column("timeout_ms", Integer()),
    _column("max_rows", BigInteger()),
    _column("max_bytes", BigInteger()),
    _column("on_limit", Text()),
    _column("pause_after_failures", Integer()),
    _column("keep_runs", Integer(), null=True),
    _column("keep_days", Integer(), null=True),
    _column("fresh_for", Text(), null=True),
    _column("expose_metrics", Boolean()),
    _column("parameters", JSONB()),
    _column("param_sets", JSONB()),
    _column("anchor_at", _AT),
    _column("next_run_at", _AT, null=True),
    _column("consecutive_failures", Integer()),
    _column("paused_at", _AT, null=True),
    _column("pause_reason", Text(), null=True),
    _column("created_at", _AT),
    _column("updated_at", _AT),
)

query_phase = Table(
    "query_phase",
    metadata,
    _id(),
    _column("query_id", BigInteger()),
    _column("since", _AT),
    _column("schedule_type", Text()),
    _column("schedule_expr", Text()),
    _column("timezone", Text()),
    _column("anchor_at", _AT),
    _column("enabled", Boolean()),
    _column("pause_reason", Text(), null=True),
    _column("first_at", _AT, null=True),
    _column("param_sets", JSONB()),
)

source_kept = Table(
    "source_kept",
    metadata,
    _column("worker_id", Integer(), key=True),
    _column("data_source_id", BigInteger(), key=True),
    _column("connections", Integer()),
    _column("until_at", _AT),
)

user_account = Table(
    "user_account",
    metadata,
    _id(),
    _column("email", Text()),
    _column("name", Text()),
    _column("password_hash", Text()),
    _column("is_active", Boolean()),
    _column("created_at", _AT),
    _column("updated_at", _AT),
)

user_role = Table(
    "user_role",
    metadata,
    _column("user_id", BigInteger(), key=True),
    _column("role", Text(), key=True),
)

user_session = Table(
    "user_session",
    metadata,
    _column("id", Text(), key=True),
    _column("user_id", BigInteger()),
    _column("created_at", _AT),
    _column("last_seen_at", _AT),
    _column("expires_at", _AT),
    _column("ip", Text(), null=True),
    _column("user_agent", Text(), null=True),
    _column("is_revoked", Boolean()),
)

api_token = Table(
    "api_token",
    metadata,
    _id(),
    _column("user_id", BigInteger()),
    _column("name", Text()),
    _column("token_hash", Text()),
    _column("queries", ARRAY(BigInteger()), null=True),
    _column("created_at", _AT),
    _column("expires_at", _AT, null=True),
    _column("last_used_at", _AT, null=True),
)

query_grant = Table(
    "query_grant",
    metadata,
    _id(),
    _column("query_id", BigInteger()),
    _column("user_id", BigInteger(), null=True),
    _column("role", Text(), null=True),
    _column("token_id", BigInteger(), null=True),
    _column("row_filter", JSONB(), null=True),
    _column("created_at", _AT),
)

login_failure = Table(
    "login_failure",
    metadata,
    _id(),
    _column("email", Text()),
    _column("ip", Text(), null=True),
    _column("at", _AT),
)

audit_event = Table(
    "audit_event",
    metadata,
    _id(),
    _column("at", _AT),
    _column("actor_id", BigInteger(), null=True),
    _column("actor", Text()),
    _column("ip", Text(), null=True),
    _column("request_id", Text(), null=True),
    _column("action", Text()),
    _column("noun", Text()),
    _column("noun_id", Text(), null=True),
    _column("noun_name", Text(), null=True),
    _column("old", JSONB(), null=True),
    _column("new", JSONB(), null=True),
)

dry_run = Table(
    "dry_run",
    metadata,
    _id(),
    _column("user_name", Text()),
    _column("data_source_id", BigInteger()),
    _column("until_at", _AT),
)
