"""Results: which JSON each Postgres type becomes, the Table Schema that says so, and what a limit does.

The document of a run is ``{"schema": …, "data": [{column: value}, …]}``, the shape of pandas's
``to_json(orient="table", index=False)``, which ``pandas.read_json(…, orient="table")`` reads.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

#: version of pandas's table schema, which its reader wants to see
PANDAS_VERSION = "1.4.0"
#: what integers may be at most and at least for pandas to read a document
LARGEST_INTEGER = 2**64 - 1
SMALLEST_INTEGER = -(2**63)
#: the largest bigint that pandas reads as Int64 beside NULL: it goes by way of doubles, where more is 2^63
LARGEST_BESIDE_NULL = 2**63 - 513
#: how deep a json value may nest to stay JSON; readers end near 1000 (Python) and 1024 (pandas)
DEEPEST_JSON = 256


class OnLimit(StrEnum):
    """What happens when a result has more rows or bytes than its query allows."""

    #: the first rows are stored, ``truncated`` says so
    TRUNCATE = "truncate"
    #: a uniform sample of all rows is stored, ``truncated`` says so
    SAMPLE = "sample"
    #: nothing is stored, the run is an error
    ERROR = "error"


class Kind(StrEnum):
    """How the values of a column are written."""

    #: whole numbers of up to 64 bits
    INTEGER = "integer"
    #: exact JSON numbers with their digits
    NUMERIC = "numeric"
    #: the shortest digits that give the same binary value
    FLOAT = "float"
    #: true and false
    BOOLEAN = "boolean"
    #: ``2026-01-01T00:00:00.123456``
    TIMESTAMP = "timestamp"
    #: ``2026-01-01T00:00:00.123456Z``
    TIMESTAMPTZ = "timestamptz"
    #: the value itself
    JSON = "json"
    #: lists, nested by dimension; lower bounds are not kept
    ARRAY = "array"
    #: Postgres's own text form as a string
    TEXT = "text"


#: Table Schema type of each kind; pandas takes no ``date``, ``time``, ``array`` or ``object``
_SCHEMA_TYPES = {
    Kind.INTEGER: "integer",
    Kind.NUMERIC: "number",
    Kind.FLOAT: "number",
    Kind.BOOLEAN: "boolean",
    Kind.TIMESTAMP: "datetime",
    Kind.TIMESTAMPTZ: "datetime",
    Kind.JSON: "any",
    Kind.ARRAY: "any",
    Kind.TEXT: "string",
}

#: kinds by the OIDs of pg_type, which are the same in every Postgres; what is not here is TEXT
_KINDS = {
    16: Kind.BOOLEAN,
    20: Kind.INTEGER,
    21: Kind.INTEGER,
    23: Kind.INTEGER,
    26: Kind.INTEGER,
    114: Kind.JSON,
    700: Kind.FLOAT,
    701: Kind.FLOAT,
    1114: Kind.TIMESTAMP,
    1184: Kind.TIMESTAMPTZ,
    1700: Kind.NUMERIC,
    3802: Kind.JSON,
}

#: OID: (OID of its array, name by format_type); the everyday types, the catalog is asked for others
_BUILT_IN = {
    16: (1000, "boolean"),
    17: (1001, "bytea"),
    18: (1002, '"char"'),
    19: (1003, "name"),
    20: (1016, "bigint"),
    21: (1005, "smallint"),
    23: (1007, "integer"),
    25: (1009, "text"),
    26: (1028, "oid"),
    114: (199, "json"),
    142: (143, "xml"),
    650: (651, "cidr"),
    700: (1021, "real"),
    701: (1022, "double precision"),
    790: (791, "money"),
    829: (1040, "macaddr"),
    869: (1041, "inet"),
    1042: (1014, "bpchar"),
    1043: (1015, "character varying"),
    1082: (1182, "date"),
    1083: (1183, "time without time zone"),
    1114: (1115, "timestamp without time zone"),
    1184: (1185, "timestamp with time zone"),
    1186: (1187, "interval"),
    1266: (1270, "time with time zone"),
    1700: (1231, "numeric"),
    2950: (2951, "uuid"),
    3802: (3807, "jsonb"),
}
_ARRAYS = {array: element for element, (array, _) in _BUILT_IN.items()}
_OIDS = {name: oid for oid, (_, name) in _BUILT_IN.items()}
#: types whose modifier is a number of digits after the first word: ``timestamp(3) without time zone``
_PRECISION = frozenset({1083, 1114, 1184, 1266})
#: kinds whose values are short whatever they are, and text forms that are: "char", name, date, times,
#: interval, uuid, macaddr, money
_NARROW_KINDS = frozenset({Kind.INTEGER, Kind.FLOAT, Kind.BOOLEAN, Kind.TIMESTAMP, Kind.TIMESTAMPTZ})
_NARROW_TEXTS = frozenset({18, 19, 790, 829, 1082, 1083, 1186, 1266, 2950})
#: bytes that stand for such a value where memory is reckoned
NARROW_BYTES = 32
#: bytes that Postgres adds to some type modifiers (VARHDRSZ)
_HEADER = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class ColumnType:
    """The type of a result's column."""

    #: OID in the source's pg_type; a domain shows as its base type
    oid: int
    #: the name as ``format_type`` writes it, with its modifier: ``numeric(38,10)``
    name: str
    #: how values are written
    kind: Kind
    #: kind of the elements of an array
    element: Kind = Kind.TEXT
    #: OID of the elements of an array, 0 when it is none
    element_oid: int = 0
    #: what stands between the elements of an array's text form
    delimiter: str = ","


def kind_of(oid: int) -> Kind:
    """Return how values of a scalar type are written; what is not known is text."""
    return _KINDS.get(oid, Kind.TEXT)


def is_unbounded(column: ColumnType) -> bool:
    """Say whether one value of the column may take much memory."""
    return column.kind not in _NARROW_KINDS and column.oid not in _NARROW_TEXTS


def oid_of(name: str) -> int:
    """Return the OID of a built-in type by the name that Postgres prints, ``[]`` behind for its array.

    Raises:
        KeyError: there is no such type among the everyday ones.
    """
    scalar = _OIDS[name.removesuffix("[]")]
    return _BUILT_IN[scalar][0] if name.endswith("[]") else scalar


def built_in_type(oid: int, modifier: int) -> ColumnType | None:
    """Return a type known without asking the source, or None when its catalog has to be asked.

    ``modifier`` is the column's atttypmod, -1 for none.
    """
    element_oid = _ARRAYS.get(oid, 0)
    scalar = element_oid or oid
    if scalar not in _BUILT_IN:
        return None
    name = _BUILT_IN[scalar][1]
    if modifier >= 0:
        modified = _with_modifier(scalar, name, modifier)
        if modified is None:
            return None
        name = modified
    if not element_oid:
        return ColumnType(oid=oid, name=name, kind=kind_of(oid))
    return ColumnType(
        oid=oid, name=f"{name}[]", kind=Kind.ARRAY, element=kind_of(element_oid), element_oid=element_oid
    )


def _with_modifier(oid: int, name: str, modifier: int) -> str | None:
    """Write a name with its type modifier, as numerictypmodout and its kin do."""
    if oid == 1700:
        digits = modifier - _HEADER
        scale = ((digits & 0x7FF) ^ 0x400) - 0x400
        return f"numeric({(digits >> 16) & 0xFFFF},{scale})"
    if oid == 1043:
        return f"character varying({modifier - _HEADER})"
    if oid == 1042:
        return f"character({modifier - _HEADER})"
    if oid in _PRECISION:
        first, rest = name.split(" ", 1)
        return f"{first}({modifier}) {rest}"
    return None


def unique_names(names: Sequence[str]) -> list[str]:
    """Make column names unique: ``a, a, a_1`` become ``a, a_2, a_1``.

    The first of a name keeps it; a later one gets the lowest number that no column has.
    """
    taken = set(names)
    seen: set[str] = set()
    counters: dict[str, int] = {}
    unique = []
    for name in names:
        chosen = name
        if name in seen:
            number = counters.get(name, 0) + 1
            while f"{name}_{number}" in taken:
                number += 1
            counters[name] = number
            chosen = f"{name}_{number}"
            taken.add(chosen)
        seen.add(chosen)
        unique.append(chosen)
    return unique


@dataclass(frozen=True, kw_only=True, slots=True)
class SchemaField:
    """One column of a stored result, as known once all rows were seen."""

    #: unique name
    name: str
    #: Postgres type
    type: ColumnType
    #: whether a value was NULL
    has_nulls: bool
    #: how many values were NaN or infinite and became null
    non_finite: int = 0
    #: whether the column holds timestamps that no datetime column can (see ``fits_datetime``)
    as_text: bool = False
    #: whether the column holds integers above ``LARGEST_BESIDE_NULL``
    beyond_doubles: bool = False

    def describe(self) -> dict[str, str | int]:
        """Return the field of the Table Schema, with pandas's keys first and ours after them."""
        kind = self.type.kind
        entry: dict[str, str | int] = {
            "name": self.name,
            "type": "string" if self.as_text else _SCHEMA_TYPES[kind],
        }
        if kind is Kind.TIMESTAMPTZ and not self.as_text:
            entry["tz"] = "UTC"
        if self.has_nulls and kind is Kind.INTEGER:
            entry["extDtype"] = "float64" if self.beyond_doubles else "Int64"
        if self.has_nulls and kind is Kind.BOOLEAN:
            entry["extDtype"] = "boolean"
        entry["pgType"] = self.type.name
        entry["pgOid"] = self.type.oid
        if self.non_finite:
            entry["nonFinite"] = self.non_finite
        return entry


def table_schema(fields: Iterable[SchemaField], *, sampled: bool = False) -> bytes:
    """Write the Table Schema as UTF-8 JSON.

    ``pgType`` and ``pgOid`` say the Postgres type, ``nonFinite`` how many NaN and infinities are null,
    ``sampled`` that the rows are a uniform sample of more.
    """
    return _table_schema(tuple(fields), sampled)


@lru_cache(maxsize=1000)
def _table_schema(fields: tuple[SchemaField, ...], sampled: bool) -> bytes:
    document: dict[str, object] = {
        "fields": [field.describe() for field in fields],
        "pandas_version": PANDAS_VERSION,
    }
    if sampled:
        document["sampled"] = True
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def fits_datetime(earliest: str, latest: str) -> bool:
    """Say whether ISO timestamps between these two fit the nanoseconds of pandas's datetime64.

    They span 1677-09-21T00:12:43.145225 to 2262-04-11T23:47:16.854775; one value outside makes pandas
    refuse the whole document, so such a column is typed as string in its run.
    """
    return earliest >= "1677-09-21T00:12:43.145225" and latest <= "2262-04-11T23:47:16.854775"
