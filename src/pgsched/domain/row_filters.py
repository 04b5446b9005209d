"""Row filters: which rows of a stored result a grant shows, by JSON value equality.

A value equals a filter's value when both are of the same JSON kind and the same: strings by code points,
numbers by exact value (1 and 1.0 are the same, 9007199254740993 and …992 are not), true and false as
themselves, null as null. Lists and objects equal no filter value. A column that is not there equals nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from pgsched.domain.audience import FilterValue, RowFilter


def shows(filters: Iterable[RowFilter], row: Mapping[str, object]) -> bool:
    """Say whether any of the filters shows a row, given its values as JSON is read with exact numbers."""
    return any(
        all(
            column in row and any(equal(row[column], wanted) for wanted in values)
            for column, values in shown.items()
        )
        for shown in filters
    )


def equal(value: object, wanted: FilterValue) -> bool:
    """Say whether a stored value is a filter's value."""
    if isinstance(value, bool) or isinstance(wanted, bool) or value is None or wanted is None:
        return value is wanted
    if isinstance(value, int | float | Decimal) and isinstance(wanted, int | float | Decimal):
        return _exact(value) == _exact(wanted)
    return isinstance(value, str) and isinstance(wanted, str) and value == wanted


def filter_json(value: FilterValue) -> str:
    """Write a filter's value as JSON, numbers with all their digits."""
    return str(value) if isinstance(value, Decimal) else json.dumps(value)


def columns_of(filters: Iterable[RowFilter]) -> tuple[str, ...]:
    """Return the columns that decide, each once, sorted."""
    return tuple(sorted({column for shown in filters for column in shown}))


def fingerprint(filters: Sequence[RowFilter] | None) -> str:
    """Return a short text that differs where the rows shown may, empty for every row.

    Readers with the same filters share it, whatever the order of their grants.
    """
    if filters is None:
        return ""
    texts = sorted(
        json.dumps([[column, sorted(map(filter_json, values))] for column, values in sorted(shown.items())])
        for shown in filters
    )
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]


def _exact(number: int | float | Decimal) -> int | Decimal:
    # A float stands for the shortest digits that give it, as JSON writes it.
    return Decimal(repr(number)) if isinstance(number, float) else number
