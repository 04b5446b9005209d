"""``pgsched audit``: who changed what."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pgsched.entrypoints.cli.instants import instant_of
from pgsched.entrypoints.cli.opened import with_container
from pgsched.entrypoints.cli.output import emit, json_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgsched.domain.audit import AuditEvent
    from pgsched.entrypoints.container import Container

_COLUMNS = ("id", "at", "actor", "ip", "action", "noun_id", "noun_name", "old", "new")


@click.group()
def group() -> None:
    """The audit trail."""


@group.command("list")
@click.option("--actor", help="Only what this one did: an e-mail address, or cli:NAME.")
@click.option("--action", help="Only this, as user.update.")
@click.option("--noun", help="Only what was done to this kind of thing: user, token, source, query, …")
@click.option("--noun-id", help="Only what was done to the thing of this id.")
@click.option("--start", help="Only at or after this, ISO 8601 with an offset.")
@click.option("--end", help="Only before this, ISO 8601 with an offset.")
@click.option(
    "--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="Most events, 1 to 500."
)
@click.option(
    "--offset", type=click.IntRange(0, 2**62), default=0, show_default=True, help="Events left out first."
)
@json_option
def list_events(
    actor: str | None,
    action: str | None,
    noun: str | None,
    noun_id: str | None,
    start: str | None,
    end: str | None,
    limit: int,
    offset: int,
    as_json: bool,
) -> None:
    """List who changed what, the newest first."""
    from pgsched.domain.audit import AuditFilter

    wanted = AuditFilter(
        actor=actor,
        action=action,
        noun=noun,
        noun_id=noun_id,
        start=None if start is None else instant_of(start, "--start"),
        end=None if end is None else instant_of(end, "--end"),
    )

    async def operation(container: Container) -> Sequence[AuditEvent]:
        found, _ = await container.audit().page(wanted, limit=limit, offset=offset)
        return found

    emit(with_container(operation), as_json, _COLUMNS)
