"""The columns of a stored result, and its rows read as cells: raw JSON, cut out and not parsed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from pgsched.domain.errors import FieldFault, InvalidInput

#: stands between cells: JSON cannot hold it
BETWEEN = b"\x1f"
#: bytes of rows that pass through, or are taken apart, in a few milliseconds at worst
PASSED_AT_ONCE, REWRITTEN_AT_ONCE = 256 * 1024, 64 * 1024
#: one value as raw JSON
Cell = msgspec.Raw


class Column(msgspec.Struct, frozen=True):
    """A field of a Table Schema."""

    #: unique name
    name: str
    #: Table Schema type
    type: str = ""
    #: name of the Postgres type with its modifier; empty for results of other origin
    pg_type: str = msgspec.field(name="pgType", default="")
    #: its OID, 0 likewise
    pg_oid: int = msgspec.field(name="pgOid", default=0)


class _Fields(msgspec.Struct):
    fields: list[msgspec.Raw]


class _Document(msgspec.Struct):
    schema: msgspec.Raw
    data: msgspec.Raw


_document = msgspec.json.Decoder(_Document)
_fields = msgspec.json.Decoder(_Fields)
_column = msgspec.json.Decoder(Column)
_array = msgspec.json.Decoder(list[msgspec.Raw])


def parts_of(document: bytes) -> tuple[bytes, bytes]:
    """Return the Table Schema and the rows, a JSON array, of a whole document."""
    parts = _document.decode(document)
    return bytes(parts.schema), bytes(parts.data)


def rows_in(array: bytes) -> list[msgspec.Raw]:
    """Return the row objects of a JSON array."""
    return _array.decode(array)


def columns_of(schema: bytes) -> tuple[Column, ...]:
    """Return the columns of a Table Schema in their order."""
    return tuple(_column.decode(field) for field in _fields.decode(schema).fields)


def picked(schema: bytes, names: Sequence[str]) -> bytes:
    """Return the Table Schema of some columns, in the order named.

    Raises:
        InvalidInput: the result has no such column.
    """
    raw = {_column.decode(field).name: field for field in _fields.decode(schema).fields}
    unknown = [name for name in names if name not in raw]
    if unknown:
        there = ", ".join(list(raw)[:20]) or "none"
        message = f"there is no column {unknown[0][:80]!r} in this run; its columns are {there}"
        raise InvalidInput.of(FieldFault(field="columns", message=message))
    rest: dict[str, Any] = msgspec.json.decode(schema, type=dict[str, msgspec.Raw])
    return msgspec.json.encode({**rest, "fields": [raw[name] for name in names]})


class CellReader:
    """Cuts row objects into the cells of some columns, in their order."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)
        fields: list[Any] = [(f"f{place}", msgspec.Raw) for place in range(len(names))]
        renamed = {f"f{place}": name for place, name in enumerate(names)}
        try:
            row = msgspec.defstruct("Row", fields, rename=renamed, gc=False)
        except ValueError:
            # Names that JSON has to escape are no names of fields to msgspec.
            self._structs = None
            self._dicts = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
        else:
            self._structs = msgspec.json.Decoder(list[row])  # type: ignore[valid-type]

    def rows(self, array: bytes) -> list[tuple[Cell, ...]]:
        """Return the cells of each row of a JSON array."""
        if self._structs is not None:
            return [msgspec.structs.astuple(row) for row in self._structs.decode(array)]
        return [tuple(row[name] for name in self._names) for row in self._dicts.decode(array)]

    def columns(self, array: bytes) -> list[list[bytes]]:
        """Return the cells of each column, as bytes."""
        joined = self.joined(array)
        if joined is None:
            return [[] for _ in self._names]
        return [column.split(BETWEEN) for column in joined]

    def joined(self, array: bytes) -> list[bytes] | None:
        """Return the cells of each column with ``BETWEEN`` between them, None when there are no rows.

        That takes a third of the time of making each cell bytes by itself, and what concerns every cell of a
        column can be done, or found not to be needed, at once.
        """
        rows = self.rows(array)
        return list(map(BETWEEN.join, zip(*rows, strict=True))) if rows else None
