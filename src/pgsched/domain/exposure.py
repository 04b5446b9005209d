"""What of a query's newest result is told as metrics: numbers, with a bound on how many there are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

#: most results that are told: those of the queries with the lowest ids
MOST_RESULTS: Final = 100
#: most numbers of one result: rows times columns
MOST_VALUES: Final = 200
#: most columns of one result, the first
MOST_COLUMNS: Final = 20
#: most characters of a label
LONGEST_LABEL: Final = 100

_NUMBERS: Final = ("integer", "number")


@dataclass(frozen=True, kw_only=True, slots=True)
class Value:
    """One number of a result."""

    #: which row: what stands in its first column that is no number, or its place from 0
    row: str
    #: name of the column
    column: str
    #: as near as a double comes
    number: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Exposed:
    """What is told of one newest result."""

    #: the query
    query_id: int
    #: its parameter set, empty for a query without sets
    params: str
    #: rows in order, columns in order
    values: Sequence[Value]
    #: rows of the result that are not told
    rows_left_out: int


def exposed_values(
    schema: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], *, rows_of_all: int
) -> tuple[Sequence[Value], int]:
    """Return the numbers of a result's first rows, and how many rows are left out.

    ``schema`` is its Table Schema, ``rows`` at least ``MOST_VALUES`` of its first rows or all of them. NULL
    is left out: it is no number.
    """
    fields = schema["fields"]
    columns = [field["name"] for field in fields if field["type"] in _NUMBERS][:MOST_COLUMNS]
    if not columns:
        return (), 0
    told = rows[: MOST_VALUES // len(columns)]
    names = _names(told, [field["name"] for field in fields if field["type"] not in _NUMBERS])
    values = tuple(
        Value(row=name, column=column[:LONGEST_LABEL], number=number)
        for name, row in zip(names, told, strict=True)
        for column in columns
        if (number := _number(row[column])) is not None
    )
    return values, rows_of_all - len(told)


def _number(value: object) -> float | None:
    """Return a number as a double, None for NULL and for what no double comes near."""
    try:
        number = float(value) if isinstance(value, int | float) else math.nan
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _names(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> Sequence[str]:
    """Name rows by the first column that tells them apart, else by their places."""
    if columns:
        found = [str(row[columns[0]])[:LONGEST_LABEL] for row in rows]
        if len(set(found)) == len(found):
            return found
    return [str(place) for place in range(len(rows))]
