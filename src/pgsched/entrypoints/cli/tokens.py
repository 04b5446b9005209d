"""``pgsched tokens``: what programs read with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from pgsched.entrypoints.cli.instants import instant_of
from pgsched.entrypoints.cli.opened import key_of, with_container
from pgsched.entrypoints.cli.output import emit, json_option
from pgsched.entrypoints.cli.users import account_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pgsched.application.ports.access import Tokens
    from pgsched.application.tokens import AddedToken
    from pgsched.domain.tokens import ApiToken
    from pgsched.entrypoints.container import Container

_COLUMNS = ("id", "name", "user_id", "queries", "created_at", "expires_at", "last_used_at")
#: tokens read at once when one is looked for by its name
_BATCH = 500


@click.group()
def group() -> None:
    """API tokens, which read for an account."""


@group.command("add")
@click.option("--user", required=True, help="Whose it is: e-mail address, id or NAME.")
@click.option("--name", required=True, help="What it is for.")
@click.option("--expires-at", help="When it ends, ISO 8601 with an offset [default: never].")
@click.option(
    "--query",
    "queries",
    multiple=True,
    help="NAME or id of a query that it is narrowed to; may be repeated [default: all its owner may read].",
)
@json_option
def add(user: str, name: str, expires_at: str | None, queries: Sequence[str], as_json: bool) -> None:
    """Make a token; its text is printed this once."""
    from pgsched.entrypoints.operator import operator

    ends = None if expires_at is None else instant_of(expires_at, "--expires-at")

    async def operation(container: Container) -> AddedToken:
        owner = await account_of(container.accounts(), user)
        narrowed = [key_of(query) for query in queries] or None
        return await container.add_token()(owner, name, operator(), expires_at=ends, queries=narrowed)

    made = with_container(operation)
    shown: dict[str, Any] = {column: getattr(made.token, column) for column in _COLUMNS}
    emit({**shown, "token": made.text}, as_json)


@group.command("list")
@click.option("--user", help="Only this account's: e-mail address, id or NAME.")
@json_option
def list_tokens(user: str | None, as_json: bool) -> None:
    """List the tokens; never their texts."""

    async def operation(container: Container) -> Sequence[ApiToken]:
        owner = None if user is None else (await account_of(container.accounts(), user)).id
        return await _all(container.tokens(), owner)

    emit(with_container(operation), as_json, _COLUMNS)


@group.command("delete")
@click.argument("token")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def delete(token: str, yes: bool, as_json: bool) -> None:
    """Delete a token (NAME or id) with its grants: it opens nothing any more."""
    from pgsched.entrypoints.operator import operator

    async def operation(container: Container) -> ApiToken:
        found = await _token_of(container.tokens(), token)
        if not yes:
            click.confirm(f"Delete the token {found.name} (id {found.id})?", abort=True, err=True)
        await container.delete_token()(found.id, operator())
        return found

    gone = with_container(operation)
    if as_json:
        emit({"deleted": gone}, as_json)
    else:
        click.echo(f"deleted: {gone.name}")


async def _all(tokens: Tokens, owner: int | None) -> list[ApiToken]:
    found: list[ApiToken] = []
    while True:
        page, total = await tokens.page(owner, limit=_BATCH, offset=len(found))
        found += page
        if not page or len(found) >= total:
            return found


async def _token_of(tokens: Tokens, text: str) -> ApiToken:
    from pgsched.domain.errors import InvalidInput, NotFound

    key = key_of(text)
    if isinstance(key, int):
        return await tokens.get(key)
    named = [token for token in await _all(tokens, None) if token.name == text]
    if len(named) > 1:
        ids = ", ".join(str(token.id) for token in named)
        raise InvalidInput(f"several tokens are named {text}; give the id of one: {ids}")
    if not named:
        raise NotFound("token", text)
    return named[0]
