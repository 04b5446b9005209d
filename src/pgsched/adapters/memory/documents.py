"""What Postgres's jsonb would say to a result: the document it keeps, or why it cannot."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import NoReturn

import msgspec

from pgsched.domain.audience import RowFilter
from pgsched.domain.errors import ResultRejected
from pgsched.domain.row_filters import shows

#: most digits before the point that a numeric holds (PostgreSQL, "Numeric Types")
_DIGITS = 131_072


def checked(text: bytes) -> bytes:
    """Return a JSON text as it came, once it is certain that jsonb holds it.

    Raises:
        ResultRejected: no JSON, a number beyond numeric's range, NUL or half a surrogate pair in a string.
    """
    try:
        value = json.loads(text, parse_int=_number, parse_float=_number, parse_constant=_refused)
    except ValueError as error:
        raise _rejected(str(error)) from None
    for string in _strings(value):
        if "\x00" in string or any("\ud800" <= character <= "\udfff" for character in string):
            raise _rejected("unsupported Unicode escape sequence")
    return text


def document(table_schema: bytes, rows: Iterable[bytes]) -> bytes:
    """Join a Table Schema and row objects to one document."""
    return b'{"schema":' + table_schema + b',"data":[' + b",".join(rows) + b"]}"


class _Document(msgspec.Struct):
    schema: msgspec.Raw
    data: list[msgspec.Raw]


def rows_shown(stored: bytes, filters: Sequence[RowFilter] | None) -> list[bytes]:
    """Return the rows of a document that any of the filters shows, as they came."""
    rows = [bytes(row) for row in msgspec.json.decode(stored, type=_Document).data]
    if filters is None:
        return rows
    return [row for row in rows if shows(filters, json.loads(row, parse_float=Decimal))]


def schema_of(stored: bytes) -> bytes:
    """Return the Table Schema of a document."""
    return bytes(msgspec.json.decode(stored, type=_Document).schema)


def _strings(value: object) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for element in value:
            yield from _strings(element)
    elif isinstance(value, dict):
        for key, element in value.items():
            yield key
            yield from _strings(element)


def _number(text: str) -> Decimal:
    number = Decimal(text)
    if number.adjusted() >= _DIGITS:
        raise ValueError("value overflows numeric format")
    return number


def _refused(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")


def _rejected(reason: str) -> ResultRejected:
    return ResultRejected(f"the result cannot be stored as jsonb: {reason}")
