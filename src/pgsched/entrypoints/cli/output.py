"""How commands print: one JSON document with ``--json``, else plain aligned text."""

from __future__ import annotations

import json
import sys
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any, TypeVar
from uuid import UUID

import click

_F = TypeVar("_F", bound=Callable[..., Any])


def json_option(function: _F) -> _F:
    """Add ``--json`` to a command; its function takes ``as_json: bool``."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")(function)


def emit(data: object, as_json: bool, columns: Sequence[str] | None = None) -> None:
    """Print a thing or a list of things.

    ``data`` is a mapping or dataclass, or a list of them. With ``as_json`` everything in it is printed, on
    one line. Without, a list becomes a table and one thing becomes lines ``key: value``, both of ``columns``
    alone when these are given (missing ones stay empty).
    """
    plain_data = plain(data)
    if as_json:
        click.echo(json_text(plain_data))
    elif isinstance(plain_data, list):
        click.echo("\n".join(table(plain_data, columns)))
    elif isinstance(plain_data, dict):
        click.echo("\n".join(card(plain_data, columns)))
    else:
        click.echo(cell(plain_data))


_WHITE_SPACE = str.maketrans("\t\r\n", "   ")


def json_text(data: object) -> str:
    """Write JSON on one line; letters stay readable where stdout takes UTF-8, and nothing steers a terminal.

    Raises:
        ValueError: a number is NaN or infinite, which JSON does not have.
    """
    encoding = (sys.stdout.encoding or "").lower().replace("-", "").replace("_", "")
    return printable_json(json.dumps(plain(data), ensure_ascii=encoding != "utf8", allow_nan=False))


def printable_json(text: str) -> str:
    """Escape what could steer a terminal in JSON that is written already, on one line; it reads the same."""
    if text.isprintable():
        return text
    # within strings JSON has none of these, and elsewhere they are white space
    on_one_line = text.translate(_WHITE_SPACE)
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in on_one_line)


def plain(value: Any) -> Any:
    """Bring a value into what JSON has: times in RFC 3339, enums as their value, dataclasses as objects.

    Fields of a dataclass that its repr leaves out are left out here too: they are secret.

    Raises:
        TypeError: the value has no such form (bytes, for one).
    """
    if value is None or (isinstance(value, (bool, str)) and not isinstance(value, Enum)):
        return value
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, (int, float)):
        return value
    if isinstance(value, datetime):
        return timestamp(value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, (Decimal, PurePath, UUID)):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {entry.name: plain(getattr(value, entry.name)) for entry in fields(value) if entry.repr}
    raise TypeError(f"{type(value).__name__} cannot be printed")


def timestamp(at: datetime) -> str:
    """Write an instant in RFC 3339, in UTC with Z.

    Raises:
        ValueError: the time has no zone.
    """
    if at.tzinfo is None:
        raise ValueError("a time without a zone is no instant")
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> list[str]:
    """Align rows under a header line; numbers stand to the right."""
    names = list(columns) if columns is not None else list(dict.fromkeys(key for row in rows for key in row))
    if not rows:
        return ["(none)"]
    texts = [[cell(row.get(name)) for name in names] for row in rows]
    widths = [
        max(_width(text) for text in (name, *column))
        for name, column in zip(names, zip(*texts, strict=True), strict=True)
    ]
    right = [
        all(isinstance(row.get(name), (int, float)) and row.get(name) is not True for row in rows)
        and not any(isinstance(row.get(name), bool) for row in rows)
        for name in names
    ]
    return [
        "  ".join(
            _padded(text, width, to_right) for text, width, to_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in ([name.upper() for name in names], *texts)
    ]


def card(thing: Mapping[str, Any], columns: Sequence[str] | None = None) -> list[str]:
    """Write one thing as lines ``key: value``, the values aligned."""
    names = list(columns) if columns is not None else list(thing)
    width = max((_width(name) for name in names), default=0) + 1
    return [f"{_padded(f'{name}:', width, False)} {cell(thing.get(name))}".rstrip() for name in names]


def cell(value: Any) -> str:
    """Write one value on one line; what could steer a terminal is escaped."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and not any(isinstance(item, (list, dict)) for item in value):
        return ", ".join(cell(item) for item in value)
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, (list, dict)) else str(value)
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def _padded(text: str, width: int, to_right: bool) -> str:
    blanks = " " * (width - _width(text))
    return blanks + text if to_right else text + blanks


def _width(text: str) -> int:
    """Count columns of a terminal: wide letters take two, combining marks none."""
    return sum(_columns(char) for char in text)


def _columns(char: str) -> int:
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
