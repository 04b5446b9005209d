"""``pgsched dsn``: data sources that queries run against."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pgsched.entrypoints.cli.opened import key_of, with_container
from pgsched.entrypoints.cli.output import emit, json_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgsched.application.ports.execution import SourceReport
    from pgsched.application.sources import AddedSource
    from pgsched.domain.sources import DataSource
    from pgsched.entrypoints.container import Container

_SSLMODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_COLUMNS = ("id", "name", "host", "port", "dbname", "username", "sslmode", "max_concurrency", "has_password")


@click.group()
def group() -> None:
    """Data sources that queries run against."""


@group.command("add")
@click.option("--name", required=True, help="Unique name: letters, digits, _ . -")
@click.option("--host", required=True, help="One host name or IP address.")
@click.option("--port", type=int, default=5432, show_default=True)
@click.option("--dbname", required=True, help="Database.")
@click.option("--username", required=True, help="A role that can only read.")
@click.option("--password", help="Asked for when omitted; sealed before it is stored.")
@click.option("--no-password", is_flag=True, help="The role has none.")
@click.option("--key-version", type=int, help="Refuse unless this version of the key seals now.")
@click.option("--sslmode", type=click.Choice(_SSLMODES), default="prefer", show_default=True)
@click.option(
    "--sslrootcert",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="PEM file of the authority that signs the server's certificate.",
)
@click.option(
    "--max-concurrency", type=int, default=4, show_default=True, help="Runs at once, over all workers."
)
@click.option(
    "--allow-user-functions/--no-user-functions",
    default=True,
    show_default=True,
    help="Whether statements may call functions that are not Postgres's own.",
)
@click.option("--allow-metadata", is_flag=True, help="Let pgsched's own database be this source.")
@json_option
def add(
    name: str,
    host: str,
    port: int,
    dbname: str,
    username: str,
    password: str | None,
    no_password: bool,
    key_version: int | None,
    sslmode: str,
    sslrootcert: Path | None,
    max_concurrency: int,
    allow_user_functions: bool,
    allow_metadata: bool,
    as_json: bool,
) -> None:
    """Add a source. One that cannot be reached is saved too, with a warning."""
    from pgsched.domain.sources import NewSource, SslMode

    new = NewSource(
        name=name,
        host=host,
        port=port,
        dbname=dbname,
        username=username,
        sslmode=SslMode(sslmode),
        sslrootcert=None if sslrootcert is None else sslrootcert.read_text("ascii", errors="replace"),
        max_concurrency=max_concurrency,
        allow_user_functions=allow_user_functions,
        allow_metadata=allow_metadata,
    )
    if password is None and not no_password:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True)

    async def operation(container: Container) -> AddedSource:
        return await container.add_source()(new, None if no_password else password, key_version=key_version)

    added = with_container(operation)
    for warning in _warnings(added.report):
        click.echo(f"Warning: {warning}", err=True)
    emit({**_row(added.source), "warnings": list(_warnings(added.report))}, as_json, _COLUMNS)


@group.command("list")
@json_option
def list_sources(as_json: bool) -> None:
    """List the sources; never a password or its ciphertext."""

    async def operation(container: Container) -> Sequence[DataSource]:
        return await container.sources().all()

    emit([_row(source) for source in with_container(operation)], as_json, _COLUMNS)


@group.command("test")
@click.argument("name_or_id")
@json_option
def test(name_or_id: str, as_json: bool) -> int:
    """Connect to a source and look it over; exit 1 when a query could not run there."""

    async def operation(container: Container) -> SourceReport:
        return await container.inspect_source()(key_of(name_or_id))

    report = with_container(operation)
    if as_json:
        emit(_wire(report), as_json)
    else:
        for warning in report.warnings:
            click.echo(f"Warning: {warning}", err=True)
        if report.ok:
            latency = "" if report.latency_ms is None else f", {report.latency_ms:.1f} ms a round trip"
            click.echo(f"ok: Postgres {report.server_version}{latency}")
        else:
            click.echo(f"Error: {report.error_detail} ({report.error_code})", err=True)
    return 0 if report.ok else 1


def _warnings(report: SourceReport) -> tuple[str, ...]:
    if report.ok:
        return report.warnings
    return (f"saved, but the source cannot be used yet: {report.error_detail}", *report.warnings)


def _wire(report: SourceReport) -> dict[str, object]:
    wire: dict[str, object] = {
        "ok": report.ok,
        "latency_ms": report.latency_ms,
        "server_version": report.server_version,
        "warnings": report.warnings,
    }
    if not report.ok:
        wire["error"] = {"code": report.error_code, "detail": report.error_detail}
    return wire


def _row(source: DataSource) -> dict[str, object]:
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
        "allow_user_functions": source.allow_user_functions,
        "allow_metadata": source.allow_metadata,
        "created_at": source.created_at,
        "updated_at": source.updated_at,
    }
