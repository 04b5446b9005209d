"""``pgsched db``: migrate, print or look at the metadata database's schema."""

from __future__ import annotations

import click

from pgsched.entrypoints.cli.output import emit, json_option


@click.group()
def group() -> None:
    """Migrate or print the metadata database's schema."""


@group.command("upgrade")
@click.option("--dry-run", is_flag=True, help="Only tell what would be applied; change nothing.")
@json_option
def upgrade(dry_run: bool, as_json: bool) -> None:
    """Apply the migrations that are missing; safe to repeat, and to run in several places at once."""
    import asyncio

    from pgsched.adapters.postgres import schema
    from pgsched.entrypoints.container import metadata

    place = metadata()
    if dry_run:
        missing = asyncio.run(schema.pending(place.conninfo, is_secluded=place.is_embedded))
        if as_json:
            names = [{"version": each.version, "name": each.name} for each in missing]
            emit({"pending": names, "version": schema.EXPECTED}, as_json)
            return
        for each in missing:
            click.echo(f"would apply migration {each.version} ({each.name})")
        if not missing:
            click.echo(f"nothing to do: the schema is at version {schema.EXPECTED} already")
        return
    applied = asyncio.run(schema.upgrade(place.conninfo, is_secluded=place.is_embedded))
    if as_json:
        emit({"applied": applied, "version": schema.EXPECTED}, as_json)
        return
    for version in applied:
        click.echo(f"applied migration {version}")
    click.echo(f"the schema is at version {schema.EXPECTED}{'' if applied else ' already'}")


@group.command("schema")
def print_schema() -> None:
    """Print the whole schema as SQL: `pgsched db schema | psql` sets up an empty database too."""
    from pgsched.adapters.postgres.schema import printed

    click.echo(printed(), nl=False)


@group.command("current")
@json_option
def current(as_json: bool) -> None:
    """Show the version of the schema that is there and the one this program expects."""
    import asyncio

    from pgsched.adapters.postgres import schema
    from pgsched.entrypoints.container import metadata

    place = metadata()
    version = asyncio.run(schema.current(place.conninfo, is_secluded=place.is_embedded))
    emit({"version": version, "expected": schema.EXPECTED}, as_json)
