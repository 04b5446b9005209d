"""``pgsched users``: accounts that may log in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pgsched.entrypoints.cli.opened import key_of, with_container
from pgsched.entrypoints.cli.output import emit, json_option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgsched.application.ports.repositories import Accounts
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
    from pgsched.domain.accounts import NewAccount, check_password
    from pgsched.entrypoints.operator import operator

    async def operation(container: Container) -> Account:
        wanted = _roles(container, roles)
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


@group.command("update")
@click.argument("user")
@click.option("--email", help="Another address to log in with.")
@click.option("--name", help="Another name to show.")
@click.option("--roles", help="All roles from now on, comma-separated; ends the account's sessions.")
@click.option(
    "--activate/--deactivate",
    "is_active",
    default=None,
    help="Whether they may log in; deactivating ends sessions and deletes tokens.",
)
@json_option
def update(
    user: str, email: str | None, name: str | None, roles: str | None, is_active: bool | None, as_json: bool
) -> None:
    """Change an account (e-mail address, id or NAME); what is not given stays as it is."""
    from pgsched.domain.accounts import AccountChange
    from pgsched.entrypoints.operator import operator

    async def operation(container: Container) -> Account:
        change = AccountChange(
            email=email,
            name=name,
            roles=None if roles is None else _roles(container, roles),
            is_active=is_active,
        )
        account = await account_of(container.accounts(), user)
        return await container.change_account()(account.id, change, operator())

    emit(with_container(operation), as_json, _COLUMNS)


@group.command("delete")
@click.argument("user")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def delete(user: str, yes: bool, as_json: bool) -> None:
    """Delete an account with its sessions, tokens and grants."""
    from pgsched.entrypoints.operator import operator

    async def operation(container: Container) -> Account:
        account = await account_of(container.accounts(), user)
        if not yes:
            asked = f"Delete {account.email} with all sessions, tokens and grants?"
            click.confirm(asked, abort=True, err=True)
        await container.delete_account()(account.id, operator())
        return account

    gone = with_container(operation)
    if as_json:
        emit({"deleted": gone}, as_json)
    else:
        click.echo(f"deleted: {gone.email}")


@group.command("set-password")
@click.argument("user")
@click.option(
    "--password",
    prompt=True,
    hide_input=True,
    confirmation_prompt=True,
    help="8 to 1024 bytes; asked for when omitted.",
)
@json_option
def set_password(user: str, password: str, as_json: bool) -> None:
    """Give an account another password; its sessions end."""
    from pgsched.domain.accounts import check_password
    from pgsched.entrypoints.operator import operator

    async def operation(container: Container) -> Account:
        check_password(password)
        account = await account_of(container.accounts(), user)
        await container.set_password()(account.id, password, operator())
        return await container.accounts().get(account.id)

    emit(with_container(operation), as_json, _COLUMNS)


async def account_of(accounts: Accounts, text: str) -> Account:
    """Find the account that an argument means: an id, an e-mail address, or a name that only one has.

    Raises:
        NotFound: there is none.
        InvalidInput: several have the name.
    """
    from pgsched.domain.errors import InvalidInput, NotFound

    key = key_of(text)
    if isinstance(key, int) or "@" in text:
        return await accounts.get(key)
    named = [account for account in await accounts.all() if account.name == text]
    if len(named) > 1:
        ids = ", ".join(str(account.id) for account in named)
        raise InvalidInput(f"several accounts are named {text}; give the id of one: {ids}")
    if not named:
        raise NotFound("user", text)
    return named[0]


def _roles(container: Container, text: str) -> tuple[str, ...]:
    from pgsched.domain.accounts import checked_roles

    given = [role.strip() for role in text.split(",") if role.strip()]
    return checked_roles(given, container.settings().allowed_roles)
