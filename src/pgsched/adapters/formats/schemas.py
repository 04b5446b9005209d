"""The Table Schema as a reader is told it: in the spelling asked for, and of no rows but those shown."""

from __future__ import annotations

import re
from typing import Any

import msgspec

from pgsched.adapters.formats.columns import CellReader
from pgsched.domain.results import LARGEST_BESIDE_NULL, fits_datetime

_BIGINT = 20
#: timestamp and timestamptz; the schema types a column of them as string where a value calls for it
_MOMENTS = frozenset({1114, 1184})
_TIMESTAMPTZ = 1184
_MOMENT = re.compile(rb'"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z?"')
#: what pandas is told of such columns when nothing is to be said of their values: both take NULL or none
_TAKING_NULL = {"integer": "Int64", "boolean": "boolean"}
_BY_DOUBLES = "float64"


def _written(schema: bytes, fields: list[dict[str, Any]]) -> bytes:
    rest = msgspec.json.decode(schema, type=dict[str, msgspec.Raw])
    return msgspec.json.encode({**rest, "fields": fields})


def _fields_of(schema: bytes) -> list[dict[str, Any]]:
    fields: list[dict[str, Any]] = msgspec.json.decode(schema)["fields"]
    return fields


def for_strings(schema: bytes) -> bytes:
    """Return the schema of a table whose integers beyond 2^53 are strings.

    pandas reads those among integers, but not among integers and NULL, unless it leaves each value as it is.
    """
    if b'"extDtype"' not in schema:
        return schema
    fields = _fields_of(schema)
    for field in fields:
        if field.get("pgOid") == _BIGINT and "extDtype" in field:
            field["extDtype"] = "object"
    return _written(schema, fields)


class SchemaOfShown:
    """A schema that says nothing of rows that a row filter hides: what values decide is decided anew.

    Integers and booleans are told as if they held NULL; NaN and infinities are not counted, because null is
    all that is left of them. Rows have to be looked at only for what is rare: a column of timestamps that was
    stored as text, and integers that pandas does not read beside NULL.
    """

    def __init__(self, schema: bytes) -> None:
        self._schema = schema
        self._fields = _fields_of(schema)
        #: places whose values decide; of integers, whether NULL and a large one were seen
        self._moments: set[int] = set()
        self._integers: dict[int, tuple[bool, bool]] = {}
        for place, field in enumerate(self._fields):
            field.pop("nonFinite", None)
            if field.get("type") == "string" and field.get("pgOid") in _MOMENTS:
                self._moments.add(place)
            elif field.get("extDtype") == _BY_DOUBLES:
                self._integers[place] = (False, False)
            elif field.get("type") in _TAKING_NULL:
                field["extDtype"] = _TAKING_NULL[field["type"]]
        self._places = [*self._moments, *self._integers]
        self._reader = CellReader([self._fields[place]["name"] for place in self._places])

    @property
    def looks(self) -> bool:
        """Whether rows have to be looked at, or more of them."""
        return bool(self._moments) or any(seen != (True, True) for seen in self._integers.values())

    def look(self, array: bytes) -> None:
        """Look at some of the rows shown."""
        for place, cells in zip(self._places, self._reader.columns(array), strict=True):
            if place in self._integers:
                null, large = self._integers[place]
                null = null or b"null" in cells
                large = large or any(len(cell) == 19 and int(cell) > LARGEST_BESIDE_NULL for cell in cells)
                self._integers[place] = (null, large)
            elif place in self._moments and not all(map(_is_datetime, cells)):
                self._moments.remove(place)

    def schema(self) -> bytes:
        """Return the schema, once all rows shown were looked at."""
        for place in self._moments:
            field = self._fields[place]
            field["type"] = "datetime"
            if field["pgOid"] == _TIMESTAMPTZ:
                field["tz"] = "UTC"
        for place, seen in self._integers.items():
            self._fields[place]["extDtype"] = _BY_DOUBLES if seen == (True, True) else _TAKING_NULL["integer"]
        return _written(self._schema, self._fields)


def _is_datetime(cell: bytes) -> bool:
    if cell == b"null":
        return True
    if not _MOMENT.fullmatch(cell):
        return False
    moment = cell[1:27].decode()
    return fits_datetime(moment, moment)
