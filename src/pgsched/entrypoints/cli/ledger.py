"""``pgsched queries why`` and ``ledger``: what became of a query's instants."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from pgsched.entrypoints.cli.instants import instant_of
from pgsched.entrypoints.cli.opened import key_of, with_container
from pgsched.entrypoints.cli.output import emit, json_option, timestamp

if TYPE_CHECKING:
    from pgsched.application.ledger import Answer, Ledger
    from pgsched.domain.ledger import Entry
    from pgsched.entrypoints.container import Container

_WHY_LINES = ("name", "at", "params", "outcome", "detail", "run_id", "late_s", "error_code", "following")
_LEDGER_COLUMNS = ("at", "params", "outcome", "late_s", "run_id", "detail")


@click.command("why")
@click.argument("name_or_id")
@click.option("--at", help="ISO 8601 with an offset [default: now].")
@click.option("--params", metavar="NAME", help="Of this parameter set only.")
@json_option
def why(name_or_id: str, at: str | None, params: str | None, as_json: bool) -> None:
    """Say what became of the instant at or before a time, and why."""
    moment = None if at is None else instant_of(at, "--at")

    async def operation(container: Container) -> Answer:
        return await container.explain_instants().why(key_of(name_or_id), moment, params=params)

    answer = with_container(operation)
    told = _told(answer, answer.entry) | {"sets": [asdict(entry) for entry in answer.sets]}
    if as_json or not answer.sets:
        emit(told, as_json, _WHY_LINES)
        return
    for number, entry in enumerate(answer.sets):
        click.echo("", nl=bool(number))
        emit(_told(answer, entry), as_json, _WHY_LINES)


def _told(answer: Answer, entry: Entry) -> dict[str, Any]:
    told = {**asdict(entry), "query_id": answer.query_id, "name": answer.name}
    return told | {"asked_at": answer.asked_at, "following": answer.following}


@click.command("ledger")
@click.argument("name_or_id")
@click.option("--start", help="First instant, ISO 8601 with an offset [default: a day before the end].")
@click.option("--end", help="Instants before this one [default: now].")
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Most instants."
)
@click.option("--params", metavar="NAME", help="Of this parameter set only.")
@json_option
def ledger(
    name_or_id: str, start: str | None, end: str | None, limit: int, params: str | None, as_json: bool
) -> None:
    """List a query's instants with what became of each; each parameter set has lines of its own."""
    since = None if start is None else instant_of(start, "--start")
    until = None if end is None else instant_of(end, "--end")

    async def operation(container: Container) -> Ledger:
        return await container.explain_instants().ledger(
            key_of(name_or_id), since, until, limit=limit, params=params
        )

    found = with_container(operation)
    emit(found if as_json else found.items, as_json, _LEDGER_COLUMNS)
    if found.next_start is not None and not as_json:
        click.echo(
            f"more from {timestamp(found.next_start)} on; ask with --start or a higher --limit", err=True
        )
