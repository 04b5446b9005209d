"""``pgsched queries update``, ``delete`` and ``test``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from pgsched.entrypoints.cli.confirmation import confirm_by_name
from pgsched.entrypoints.cli.opened import key_of, with_container
from pgsched.entrypoints.cli.output import emit, json_option, printable_json, table
from pgsched.entrypoints.cli.parameters import parameter_options
from pgsched.entrypoints.cli.query_options import fields_given, policy_options
from pgsched.entrypoints.shapes import job_shape

if TYPE_CHECKING:
    from pgsched.application.dry_run import DryResult
    from pgsched.domain.jobs import Job
    from pgsched.entrypoints.container import Container

_COLUMNS = ("id", "name", "title", "data_source", "schedule_type", "schedule_expr", "enabled", "next_run_at")


@click.command("update")
@click.argument("name_or_id")
@click.option("--name", help="Another name.")
@click.option("--title", help="What people call it.")
@click.option("--description", help="What it shows and for whom.")
@click.option("--sql", help="One SELECT, or @FILE (@- for standard input).")
@click.option("--data-source", help="NAME or id of another source.")
@click.option("--schedule-type", type=click.Choice(["cron", "interval"]))
@click.option("--schedule-expr", help="Five cron fields, or an ISO 8601 duration such as PT6H.")
@click.option("--timezone", help="IANA name of the zone.")
@click.option("--start-at", help="First instant, ISO 8601 with an offset.")
@click.option("--enabled/--disabled", default=None, help="Enabling ends a pause too.")
@parameter_options
@policy_options(with_defaults=False)
@click.option("--reset", multiple=True, metavar="FIELD", help="Back to its default; repeatable.")
@json_option
def update(name_or_id: str, reset: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Change a query: what is not given stays. Another schedule begins anew."""
    from pgsched.entrypoints.operator import operator

    given = fields_given(options)
    given.update({field.replace("-", "_"): None for field in reset})
    if not given:
        raise click.UsageError("say what to change")

    async def operation(container: Container) -> tuple[Job, str]:
        job = await container.change_job()(key_of(name_or_id), given, operator())
        return job, (await container.sources().get(job.spec.data_source_id)).name

    emit(job_shape(*with_container(operation)), as_json, _COLUMNS)


@click.command("delete")
@click.argument("name_or_id")
@click.option("--force", is_flag=True, help="With its runs; what runs is cancelled. Asks for the name.")
@click.option("--yes", is_flag=True, help="With --force: do not ask.")
@json_option
def delete(name_or_id: str, force: bool, yes: bool, as_json: bool) -> None:
    """Delete a query; one that has runs only with --force."""
    from pgsched.entrypoints.operator import operator

    async def find(container: Container) -> Job:
        return await container.jobs().get(key_of(name_or_id))

    job = with_container(find)
    if force and not yes:
        confirm_by_name(job.spec.name, f"the query {job.spec.name} and all its runs")

    async def operation(container: Container) -> None:
        await container.remove_job()(job.id, operator(), force=force)

    with_container(operation)
    emit({"id": job.id, "name": job.spec.name, "deleted": True}, as_json)


@click.command("test")
@click.argument("name_or_id")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Most rows.")
@click.option(
    "--timeout-ms",
    type=click.IntRange(1, 300_000),
    default=30_000,
    show_default=True,
    help="Milliseconds the statement may take.",
)
@click.option("--params", metavar="NAME", help="Parameter set to run with [default: the first].")
@json_option
def test(name_or_id: str, limit: int, timeout_ms: int, params: str | None, as_json: bool) -> None:
    """Run a query once at its source and show its first rows; nothing is stored. Needs the private key."""
    from pgsched.entrypoints.operator import operator

    async def operation(container: Container) -> DryResult:
        return await container.dry_run()(
            key_of(name_or_id), operator(), limit=limit, timeout_ms=timeout_ms, params=params
        )

    found = with_container(operation)
    told = {
        "rows_returned": found.rows_returned,
        "duration_ms": found.duration_ms,
        "truncated": found.truncated,
    }
    if as_json:
        # The rows are printed as they came: parsing them would cost digits.
        click.echo(f'{json.dumps(told)[:-1]}, "result": {printable_json(found.result.decode())}}}')
        return
    document = json.loads(found.result, parse_float=str)
    columns = [field["name"] for field in document["schema"]["fields"]]
    click.echo("\n".join(table(document["data"], columns)))
    more = "; there are more" if found.truncated else ""
    click.echo(f"{found.rows_returned} rows in {found.duration_ms} ms{more}", err=True)
