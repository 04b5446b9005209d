"""``pgsched runs``: past and present runs, with their results."""

from __future__ import annotations

from codecs import getincrementaldecoder
from dataclasses import fields
from typing import TYPE_CHECKING

import click

from pgsched.entrypoints.cli.export import export
from pgsched.entrypoints.cli.instants import instant_of
from pgsched.entrypoints.cli.opened import key_of, with_container
from pgsched.entrypoints.cli.output import emit, json_option, json_text, printable_json

if TYPE_CHECKING:
    from pgsched.application.ports.views import RunPage
    from pgsched.domain.runs import Run
    from pgsched.entrypoints.container import Container

_COLUMNS = (
    "id",
    "scheduled_at",
    "status",
    "trigger",
    "attempt",
    "duration_ms",
    "rows_returned",
    "error_code",
)
_STATUSES = ("queued", "running", "success", "error", "cancelled", "skipped")


@click.group()
def group() -> None:
    """Past and present runs, with their results."""


group.add_command(export)


@group.command("list")
@click.argument("query")
@click.option("--status", type=click.Choice(_STATUSES), help="Of this status only.")
@click.option("--params", metavar="NAME", help="With this parameter set only.")
@click.option("--start", help="Only with scheduled_at at or after this, ISO 8601 with an offset.")
@click.option("--end", help="Only with scheduled_at before this, ISO 8601 with an offset.")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True)
@click.option("--before", type=click.IntRange(1), help="Only runs older than this one.")
@click.option("--after", type=click.IntRange(1), help="Only runs newer than this one.")
@json_option
def list_runs(
    query: str,
    status: str | None,
    params: str | None,
    start: str | None,
    end: str | None,
    limit: int,
    before: int | None,
    after: int | None,
    as_json: bool,
) -> None:
    """List the runs of a query (NAME or id), newest first."""
    from pgsched.application.ports.views import RunFilter
    from pgsched.domain.audience import EVERYTHING
    from pgsched.domain.runs import RunStatus

    wanted = RunFilter(
        status=None if status is None else RunStatus(status),
        params=params,
        start=None if start is None else instant_of(start, "--start"),
        end=None if end is None else instant_of(end, "--end"),
        limit=limit,
        before=before,
        after=after,
    )

    async def operation(container: Container) -> RunPage:
        return await container.run_view().page(EVERYTHING, key_of(query), wanted)

    page = with_container(operation)
    emit([item.run for item in page.items], as_json, _COLUMNS)


@group.command("show")
@click.argument("run_id", metavar="ID", type=click.IntRange(1))
@json_option
def show(run_id: int, as_json: bool) -> None:
    """Show a run; with --json its stored result too."""
    from pgsched.adapters.formats.shape import Shape
    from pgsched.adapters.formats.writing import written
    from pgsched.domain.audience import EVERYTHING

    async def operation(container: Container) -> None:
        view = container.run_view()
        stored = await view.one(EVERYTHING, run_id)
        if not as_json:
            emit(stored.run, as_json)
            return
        if not stored.has_result:
            click.echo(f'{json_text(_fields(stored.run))[:-1]}, "result": null}}')
            return
        # The stored JSON is printed as it is, a chunk at a time: parsing it would cost digits.
        decoder = getincrementaldecoder("utf-8")()
        async for piece in written(view, stored, Shape()):
            click.echo(printable_json(decoder.decode(piece)).encode(), nl=False)
        click.echo()

    with_container(operation)


def _fields(run: Run) -> dict[str, object]:
    return {entry.name: getattr(run, entry.name) for entry in fields(run)}


@group.command("cancel")
@click.argument("run_id", metavar="ID", type=click.IntRange(1))
@json_option
def cancel(run_id: int, as_json: bool) -> None:
    """Cancel a run: a waiting one at once, a running one by its worker."""
    from pgsched.entrypoints.operator import operator

    async def operation(container: Container) -> Run:
        return await container.cancel_run()(run_id, operator())

    emit(with_container(operation), as_json, _COLUMNS)
