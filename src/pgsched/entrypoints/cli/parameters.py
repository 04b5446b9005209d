"""``--param name:type=default`` and ``--param-set name=json``: parameters as they are typed."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_DECLARATION = re.compile(r"\s*([^:=\s]+)\s*(?::\s*([^:=]+?)\s*)?(?:(:?=)(.*))?", re.DOTALL)
_SET = re.compile(r"\s*([^=\s]+)\s*=(.*)", re.DOTALL)


def parameter_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--param`` and ``--param-set``, each as often as wanted."""
    function = click.option(
        "--param-set",
        "param_sets",
        multiple=True,
        metavar="NAME=JSON",
        help='Values to run with, such as eu=\'{"region": "EU"}\'; each set has runs of its own.',
    )(function)
    return click.option(
        "--param",
        "parameters",
        multiple=True,
        metavar="NAME:TYPE[=DEFAULT]",
        help="A parameter, :name in the SQL. The default is a literal, or an expression for the source.",
    )(function)


def declarations(given: Sequence[str]) -> list[dict[str, Any]]:
    """Read declarations; a default that is no literal of its type is an expression, as after ``:=``."""
    return [_declaration(text) for text in given]


def sets(given: Sequence[str]) -> list[dict[str, Any]]:
    """Read parameter sets."""
    return [_set(text) for text in given]


def _declaration(text: str) -> dict[str, Any]:
    from pgsched.domain.parameters import is_literal, type_name

    match = _DECLARATION.fullmatch(text)
    if match is None:
        raise click.BadParameter(
            f"{text!r} is not NAME:TYPE or NAME:TYPE=DEFAULT", param_hint="--param"
        ) from None
    name, type_, sign, default = match.groups()
    declared: dict[str, Any] = {"name": name, "type": type_ or "text"}
    if sign is not None:
        known = type_name(declared["type"])
        literal = sign == "=" and (known is None or is_literal(known, default))
        declared["default"] = default if literal else {"sql": default}
    return declared


def _set(text: str) -> dict[str, Any]:
    from pgsched.domain.parameters import exact_number

    match = _SET.fullmatch(text)
    try:
        values = json.loads(match[2], parse_float=exact_number) if match else None
    except json.JSONDecodeError as error:
        raise click.BadParameter(f"{text!r}: the JSON ends in {error}", param_hint="--param-set") from None
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--param-set") from None
    except RecursionError:
        raise click.BadParameter("the JSON is nested too deep", param_hint="--param-set") from None
    if match is None or not isinstance(values, dict):
        raise click.BadParameter(
            f"{text!r} is not NAME=JSON with an object of values by parameter", param_hint="--param-set"
        )
    return {"name": match[1], "values": values}
