"""``pgsched users``: accounts that may log in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pgsched.entrypoints.cli.opened import with_container
from pgsched.entrypoints.cli.output import emit, json_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgsched.domain.accounts import Account
    from pgsched.entrypoints.container import Container

_COLUMNS = ("id", "email", "name", "roles", "is_active", "created_at")


@click.group()
def group() -> None:
    """Accounts that may log in."""


@group.command("add")
@click.option("--email", prompt=True, help="Address to log in with; letter case does not count.")
@click.option("--name", prompt=True, help="Name to show.")
@click.option("--roles", default="viewer", show_default=True, help="Comma-separated, out of ALLOWED_ROLES.")
@click.option(
    "--password",
    prompt=True,
    hide_input=True,
    confirmation_prompt=True,
    help="8 to 1024 bytes; asked for when omitted.",
)
@json_option
def add(email: str, name: str, roles: str, password: str, as_json: bool) -> None:
    """Add an account."""
    from pgsched.domain.accounts import NewAccount, check_password, checked_roles
    from pgsched.entrypoints.operator import operator

    async def operation(container: Container) -> Account:
        allowed = container.settings().allowed_roles
        wanted = checked_roles([role.strip() for role in roles.split(",") if role.strip()], allowed)
        check_password(password)
        new = NewAccount(email=email, name=name, roles=wanted)
        return await container.add_account()(new, password, operator())

    emit(with_container(operation), as_json, _COLUMNS)


@group.command("list")
@json_option
def list_users(as_json: bool) -> None:
    """List the accounts."""

    async def operation(container: Container) -> Sequence[Account]:
        return await container.accounts().all()

    emit(with_container(operation), as_json, _COLUMNS)
