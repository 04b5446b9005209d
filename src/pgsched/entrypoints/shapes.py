"""Sources and queries as admins see them, by HTTP and on the command line alike; no secret is in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgsched.application.ports.execution import SourceReport
    from pgsched.application.ports.grants import HeldGrant
    from pgsched.domain.jobs import Job
    from pgsched.domain.sources import DataSource


def source_shape(source: DataSource) -> dict[str, Any]:
    """Return what admins see of a source: that it has a password, never which, nor its ciphertext."""
    sealed = source.password
    return {
        "id": source.id,
        "name": source.name,
        "host": source.host,
        "port": source.port,
        "dbname": source.dbname,
        "username": source.username,
        "has_password": sealed is not None,
        "enc_algo": sealed and sealed.algo,
        "key_version": sealed and sealed.key_version,
        "sslmode": source.sslmode,
        "sslrootcert": source.sslrootcert,
        "max_concurrency": source.max_concurrency,
        "max_cost": source.max_cost,
        "allow_user_functions": source.allow_user_functions,
        "allow_metadata": source.allow_metadata,
        "created_at": source.created_at,
        "updated_at": source.updated_at,
    }


def report_shape(report: SourceReport) -> dict[str, Any]:
    """Return what a look at a source found; ``error`` is there only when something failed."""
    shape: dict[str, Any] = {
        "ok": report.ok,
        "latency_ms": report.latency_ms,
        "server_version": report.server_version,
        "warnings": report.warnings,
    }
    if not report.ok:
        shape["error"] = {"code": report.error_code, "detail": report.error_detail}
    return shape


def job_shape(job: Job, source_name: str | None) -> dict[str, Any]:
    """Return what editors see of a query: everything that was decided, and where its plan stands."""
    spec = job.spec
    return {
        "id": job.id,
        "name": spec.name,
        "title": spec.title,
        "data_source": source_name,
        **spec.described(),
        "start_at": job.anchor_at,
        "anchor_at": job.anchor_at,
        "next_run_at": job.next_run_at,
        "consecutive_failures": job.consecutive_failures,
        "paused_at": job.paused_at,
        "pause_reason": job.pause_reason,
        "created_at": job.created_at,
        "updated_at": job.updated_at,
    }


def grants_shape(held: Sequence[HeldGrant]) -> dict[str, list[dict[str, Any]]]:
    """Return the grants on a query as they are written: users, roles and tokens, each with its rows."""
    shape: dict[str, list[dict[str, Any]]] = {"users": [], "roles": [], "tokens": []}
    for each in held:
        grant = each.grant
        rows: dict[str, list[Any]] | None = None
        if grant.row_filter is not None:
            rows = {column: list(values) for column, values in grant.row_filter.items()}
        if grant.user_id is not None:
            who = {"id": grant.user_id, "name": each.name, "email": each.email}
            shape["users"].append({**who, "row_filter": rows})
        elif grant.token_id is not None:
            shape["tokens"].append({"id": grant.token_id, "name": each.name, "row_filter": rows})
        else:
            shape["roles"].append({"name": each.name, "row_filter": rows})
    return shape
