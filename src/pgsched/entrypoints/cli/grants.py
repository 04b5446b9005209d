"""``pgsched grants``: who reads a restricted query, and which of its rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from pgsched.domain.parameters import exact_number
from pgsched.entrypoints.cli.opened import key_of, with_container
from pgsched.entrypoints.cli.output import emit, json_option
from pgsched.entrypoints.shapes import grants_shape

if TYPE_CHECKING:
    from pgsched.application.ports.grants import HeldGrant
    from pgsched.entrypoints.container import Container

_COLUMNS = ("kind", "id", "name", "email", "row_filter")


def _grantees(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that name whom a query is given to."""
    for name, text in (
        ("token", "Id or NAME of a token; repeatable."),
        ("role", "Name of a role; repeatable."),
        ("user", "E-mail address, id or NAME of a user; repeatable."),
    ):
        function = click.option(f"--{name}", f"{name}s", multiple=True, help=text)(function)
    return function


@click.group()
def group() -> None:
    """Who reads a restricted query, and which of its rows."""


@group.command("show")
@click.argument("query")
@json_option
def show(query: str, as_json: bool) -> None:
    """Show who was given a query (NAME or id), and which of its rows."""

    async def operation(container: Container) -> Sequence[HeldGrant]:
        job = await container.jobs().get(key_of(query))
        return await container.grants().of(job.id)

    _tell(with_container(operation), as_json)


@group.command("set")
@click.argument("query")
@click.argument("file", type=click.File("rb"))
@json_option
def set_grants(query: str, file: Any, as_json: bool) -> None:
    """Put the grants in FILE (JSON as `show --json` prints it; - for standard input) in the place of all."""
    try:
        given = json.loads(file.read(), parse_float=exact_number)
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, dict):
        example = '{"users":[{"name":"ada@example.com","row_filter":{"region":["north"]}}]}'
        raise click.BadParameter(f"is not a JSON object such as {example}", param_hint="FILE")
    _change("replace", query, given, as_json)


@group.command("add")
@click.argument("query")
@_grantees
@click.option(
    "--filter",
    "filters",
    multiple=True,
    metavar="COLUMN=VALUE",
    help="Only rows whose column holds this value; repeatable. A value is JSON, or else text.",
)
@json_option
def add(query: str, filters: Sequence[str], as_json: bool, **grantees: Sequence[str]) -> None:
    """Give a query to users, roles or tokens; who has it already has it as given here.

    Several values of one column: any of them. Several columns: each must fit.
    """
    _change("give", query, _given(grantees, _row_filter(filters)), as_json)


@group.command("remove")
@click.argument("query")
@_grantees
@json_option
def remove(query: str, as_json: bool, **grantees: Sequence[str]) -> None:
    """Take a query from users, roles or tokens; it holds at once."""
    _change("take", query, _given(grantees, None), as_json)


def _change(how: str, query: str, given: dict[str, Any], as_json: bool) -> None:
    from pgsched.entrypoints.operator import operator

    async def operation(container: Container) -> Sequence[HeldGrant]:
        change: Any = getattr(container.change_grants(), how)
        held: Sequence[HeldGrant] = await change(key_of(query), given, operator())
        return held

    _tell(with_container(operation), as_json)


def _given(grantees: dict[str, Sequence[str]], row_filter: dict[str, list[Any]] | None) -> dict[str, Any]:
    if not any(grantees.values()):
        raise click.UsageError("name at least one of --user, --role and --token")
    given: dict[str, Any] = {}
    for kind, names in grantees.items():
        keys = [name if kind == "roles" else key_of(name) for name in names]
        given[kind] = [
            {"id" if isinstance(key, int) else "name": key, "row_filter": row_filter} for key in keys
        ]
    return given


def _row_filter(filters: Sequence[str]) -> dict[str, list[Any]] | None:
    shown: dict[str, list[Any]] = {}
    for text in filters:
        column, separator, value = text.partition("=")
        if not separator or not column:
            raise click.BadParameter(f"{text!r} is not COLUMN=VALUE", param_hint="--filter")
        shown.setdefault(column, []).append(_value(value))
    return shown or None


def _value(text: str) -> Any:
    """Read a value: JSON where it is a number, true, false, null or quoted text, else the text as it is."""
    try:
        value = json.loads(text, parse_float=exact_number)
    except (ValueError, RecursionError):
        return text
    return text if isinstance(value, (list, dict)) else value


def _tell(held: Sequence[HeldGrant], as_json: bool) -> None:
    shape = grants_shape(held)
    if as_json:
        emit(shape, as_json)
        return
    rows = [{"kind": kind.removesuffix("s"), **each} for kind, grants in shape.items() for each in grants]
    emit(rows, as_json, _COLUMNS)
