"""``pgsched dsn``: data sources that queries run against."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pgsched.entrypoints.cli.confirmation import confirm_by_name
from pgsched.entrypoints.cli.opened import key_of, with_container
from pgsched.entrypoints.cli.output import emit, json_option
from pgsched.entrypoints.shapes import report_shape, source_shape

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
@click.option("--max-cost", type=int, help="Refuse statements that EXPLAIN says cost more [default: none].")
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
    max_cost: int | None,
    allow_user_functions: bool,
    allow_metadata: bool,
    as_json: bool,
) -> None:
    """Add a source. One that cannot be reached is saved too, with a warning."""
    from pgsched.domain.errors import InvalidInput
    from pgsched.domain.source_changes import drafted_source
    from pgsched.entrypoints.operator import operator

    given = fields_given(
        {
            "name": name,
            "host": host,
            "port": port,
            "dbname": dbname,
            "username": username,
            "sslmode": sslmode,
            "sslrootcert": sslrootcert,
            "max_concurrency": max_concurrency,
            "max_cost": max_cost,
            "allow_user_functions": allow_user_functions,
            "allow_metadata": allow_metadata,
        }
    )
    if faults := drafted_source(given).faults:
        # told before a password is asked for
        raise InvalidInput.of(*faults)
    if password is None and not no_password:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    given.update(password=None if no_password else password, key_version=key_version)

    async def operation(container: Container) -> AddedSource:
        return await container.add_source()(given, operator(), look=True)

    added = with_container(operation)
    warnings = _warnings(added.report)
    for warning in warnings:
        click.echo(f"Warning: {warning}", err=True)
    emit({**source_shape(added.source), "warnings": warnings}, as_json, _COLUMNS)


@group.command("update")
@click.argument("name_or_id")
@click.option("--name", help="Another name.")
@click.option("--host", help="One host name or IP address.")
@click.option("--port", type=int)
@click.option("--dbname", help="Database.")
@click.option("--username", help="A role that can only read.")
@click.option("--password", help="Sealed before it is stored.")
@click.option("--ask-password", is_flag=True, help="Ask for the password.")
@click.option("--no-password", is_flag=True, help="The role has none.")
@click.option("--key-version", type=int, help="Refuse unless this version of the key seals now.")
@click.option("--sslmode", type=click.Choice(_SSLMODES))
@click.option(
    "--sslrootcert",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="PEM file of the authority that signs the server's certificate.",
)
@click.option("--max-concurrency", type=int, help="Runs at once, over all workers.")
@click.option("--max-cost", type=int, help="Refuse statements that EXPLAIN says cost more.")
@click.option("--allow-user-functions/--no-user-functions", default=None)
@click.option("--allow-metadata/--no-metadata", default=None)
@click.option("--reset", multiple=True, metavar="FIELD", help="Back to its default; repeatable.")
@json_option
def update(
    name_or_id: str,
    password: str | None,
    ask_password: bool,
    no_password: bool,
    reset: tuple[str, ...],
    as_json: bool,
    **options: Any,
) -> None:
    """Change a source: what is not given stays.

    Where it points, and how well its server is verified, change only together with its password.
    """
    from pgsched.entrypoints.operator import operator

    if [password is not None, ask_password, no_password].count(True) > 1:
        raise click.UsageError("--password, --ask-password and --no-password exclude each other")
    given = fields_given(options)
    given.update({field.replace("-", "_"): None for field in reset})
    if ask_password:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    if password is not None or no_password:
        given["password"] = password
    if not given:
        raise click.UsageError("say what to change")

    async def operation(container: Container) -> DataSource:
        return await container.change_source()(key_of(name_or_id), given, operator())

    emit(source_shape(with_container(operation)), as_json, _COLUMNS)


@group.command("delete")
@click.argument("name_or_id")
@click.option("--force", is_flag=True, help="With its queries and their runs. Asks for the name.")
@click.option("--yes", is_flag=True, help="With --force: do not ask.")
@json_option
def delete(name_or_id: str, force: bool, yes: bool, as_json: bool) -> None:
    """Delete a source; one that queries run at only with --force."""
    from pgsched.entrypoints.operator import operator

    async def find(container: Container) -> DataSource:
        return await container.sources().get(key_of(name_or_id))

    source = with_container(find)
    if force and not yes:
        confirm_by_name(source.name, f"the source {source.name}, its queries and all their runs")

    async def operation(container: Container) -> None:
        await container.remove_source()(source.id, operator(), force=force)

    with_container(operation)
    emit({"id": source.id, "name": source.name, "deleted": True}, as_json)


@group.command("list")
@json_option
def list_sources(as_json: bool) -> None:
    """List the sources; never a password or its ciphertext."""

    async def operation(container: Container) -> Sequence[DataSource]:
        return await container.sources().all()

    emit([source_shape(source) for source in with_container(operation)], as_json, _COLUMNS)


@group.command("test")
@click.argument("name_or_id")
@json_option
def test(name_or_id: str, as_json: bool) -> int:
    """Connect to a source and look it over; exit 1 when a query could not run there."""

    async def operation(container: Container) -> SourceReport:
        return await container.inspect_source()(key_of(name_or_id))

    report = with_container(operation)
    if as_json:
        emit(report_shape(report), as_json)
    else:
        for warning in report.warnings:
            click.echo(f"Warning: {warning}", err=True)
        if report.ok:
            latency = "" if report.latency_ms is None else f", {report.latency_ms:.1f} ms a round trip"
            click.echo(f"ok: Postgres {report.server_version}{latency}")
        else:
            click.echo(f"Error: {report.error_detail} ({report.error_code})", err=True)
    return 0 if report.ok else 1


def fields_given(options: Mapping[str, Any]) -> dict[str, object]:
    """Return the fields that options describe: what was not given is absent."""
    given = {name: value for name, value in options.items() if value is not None}
    if "sslrootcert" in given:
        given["sslrootcert"] = given["sslrootcert"].read_text("ascii", errors="replace")
    return given


def _warnings(report: SourceReport | None) -> list[str]:
    if report is None:
        return []
    failed = [] if report.ok else [f"saved, but the source cannot be used yet: {report.error_detail}"]
    return [*failed, *report.warnings]
