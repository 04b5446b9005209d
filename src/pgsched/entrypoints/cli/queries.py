"""``pgsched queries``: scheduled queries."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from pgsched.entrypoints.cli import ledger, query_changes
from pgsched.entrypoints.cli.opened import key_of, with_container
from pgsched.entrypoints.cli.output import emit, json_option
from pgsched.entrypoints.cli.parameters import parameter_options
from pgsched.entrypoints.cli.query_options import fields_given, policy_options
from pgsched.entrypoints.shapes import job_shape

if TYPE_CHECKING:
    from pgsched.application.ports.upkeep import StoredSize
    from pgsched.domain.jobs import Job
    from pgsched.domain.runs import Run
    from pgsched.entrypoints.container import Container

_LIST_COLUMNS = (
    "id",
    "name",
    "title",
    "data_source",
    "schedule_type",
    "schedule_expr",
    "timezone",
    "enabled",
    "next_run_at",
    "stored_runs",
    "stored_bytes",
)
#: more queries than one installation has
_MOST_LISTED = 1_000_000
_RUN_COLUMNS = (
    "id",
    "params",
    "status",
    "trigger",
    "scheduled_at",
    "rows_returned",
    "error_code",
    "error_message",
)


@click.group()
def group() -> None:
    """Scheduled queries."""


group.add_command(ledger.why)
group.add_command(ledger.ledger)


@group.command("add")
@click.option("--name", required=True, help="Unique name: letters, digits, _ . -")
@click.option("--title", help="What people call it [default: the name].")
@click.option("--description", default="", help="What it shows and for whom.")
@click.option("--sql", required=True, help="One SELECT, or @FILE (@- for standard input).")
@click.option("--data-source", required=True, help="NAME or id of the source.")
@click.option(
    "--schedule-type",
    type=click.Choice(["cron", "interval"]),
    default="interval",
    show_default=True,
)
@click.option(
    "--schedule-expr",
    help="Five cron fields, or an ISO 8601 duration such as PT6H [interval: DEFAULT_QUERY_INTERVAL].",
)
@click.option("--timezone", default="UTC", show_default=True, help="IANA name of the zone.")
@click.option("--start-at", help="First instant of an interval, ISO 8601 with an offset [default: now].")
@click.option("--enabled/--disabled", default=True, show_default=True)
@parameter_options
@policy_options(with_defaults=True)
@json_option
def add(as_json: bool, **options: Any) -> None:
    """Add a query. The guard and the schedule are asked, the source is not."""
    from pgsched.entrypoints.operator import operator

    given = fields_given(options)
    given.setdefault("title", given["name"])

    async def operation(container: Container) -> tuple[Job, str]:
        return await _with_source(container, await container.add_job()(given, operator()))

    emit(job_shape(*with_container(operation)), as_json, _LIST_COLUMNS)


@group.command("list")
@click.option("--search", default="", help="Only those with this text in name, title or description.")
@click.option("--enabled/--disabled", default=None, help="Only these.")
@json_option
def list_queries(search: str, enabled: bool | None, as_json: bool) -> None:
    """List the queries, by name."""

    async def operation(container: Container) -> list[dict[str, Any]]:
        names = {source.id: source.name for source in await container.sources().all()}
        jobs, _ = await container.jobs().page(text=search, enabled=enabled, limit=_MOST_LISTED, offset=0)
        sizes = await container.figures_view().sizes()
        return [
            {**job_shape(job, names.get(job.spec.data_source_id)), **_size(sizes.get(job.id))} for job in jobs
        ]

    emit(with_container(operation), as_json, _LIST_COLUMNS)


@group.command("show")
@click.argument("name_or_id")
@json_option
def show(name_or_id: str, as_json: bool) -> None:
    """Show a query with its SQL, schedule and policies."""

    async def operation(container: Container) -> dict[str, Any]:
        job, source = await _with_source(container, await container.jobs().get(key_of(name_or_id)))
        stored = (await container.figures_view().sizes()).get(job.id)
        return {**job_shape(job, source), **_size(stored)}

    emit(with_container(operation), as_json)


@group.command("run")
@click.argument("name_or_id")
@click.option("--wait", is_flag=True, help="Wait until the run is over; exit 1 unless it succeeded.")
@click.option("--timeout", "timeout_s", type=float, help="Most seconds to wait.")
@click.option("--params", metavar="NAME", help="Parameter set to run with [default: the first].")
@json_option
def run(name_or_id: str, wait: bool, timeout_s: float | None, params: str | None, as_json: bool) -> int:
    """Queue a run now, of a disabled query too, and print it."""
    from pgsched.domain.audience import EVERYTHING
    from pgsched.domain.runs import RunStatus
    from pgsched.entrypoints.operator import operator

    async def operation(container: Container) -> Run:
        import asyncio

        queued = await container.request_run()(key_of(name_or_id), operator(), params=params)
        if not wait:
            return queued
        give_up = None if timeout_s is None else time.monotonic() + timeout_s
        while not (await container.queue().status_of(queued.id)).is_terminal:
            if give_up is not None and time.monotonic() > give_up:
                click.echo(f"Error: run {queued.id} is not over after {timeout_s:g} s", err=True)
                break
            await asyncio.sleep(0.1)
        return (await container.run_view().one(EVERYTHING, queued.id)).run

    ended = with_container(operation)
    emit(ended, as_json, _RUN_COLUMNS)
    if not wait or ended.status is RunStatus.SUCCESS:
        return 0
    if ended.error_message:
        click.echo(f"Error: run {ended.id} ended as {ended.status}: {ended.error_code}", err=True)
    return 1


def _size(stored: StoredSize | None) -> dict[str, int]:
    """Tell how much is stored of a query's runs that are over."""
    return {
        "stored_runs": 0 if stored is None else stored.runs,
        "stored_bytes": 0 if stored is None else stored.bytes,
    }


async def _with_source(container: Container, job: Job) -> tuple[Job, str]:
    """Return a job and the name of its source."""
    return job, (await container.sources().get(job.spec.data_source_id)).name


group.add_command(query_changes.update)
group.add_command(query_changes.delete)
group.add_command(query_changes.test)
