"""The schema as a reader is told it: nothing of hidden rows, and strings that pandas reads."""

from __future__ import annotations

import json

import msgspec

from pgsched.adapters.formats.schemas import SchemaOfShown, for_strings

STORED = {
    "fields": [
        {"name": "i", "type": "integer", "pgType": "integer", "pgOid": 23},
        {"name": "big", "type": "integer", "extDtype": "float64", "pgType": "bigint", "pgOid": 20},
        {"name": "yes", "type": "boolean", "extDtype": "boolean", "pgType": "boolean", "pgOid": 16},
        {"name": "f", "type": "number", "pgType": "double precision", "pgOid": 701, "nonFinite": 50},
        {"name": "at", "type": "string", "pgType": "timestamp with time zone", "pgOid": 1184},
        {"name": "t", "type": "string", "pgType": "text", "pgOid": 25},
    ],
    "pandas_version": "1.4.0",
}


def told(
    *arrays: list[dict[str, object]], stored: dict[str, object] = STORED
) -> dict[str, dict[str, object]]:
    shown = SchemaOfShown(json.dumps(stored).encode())
    for array in arrays:
        shown.look(msgspec.json.encode(array))
    schema = json.loads(shown.schema())
    assert schema["pandas_version"] == "1.4.0"
    return {field["name"]: field for field in schema["fields"]}


def row(big: int | None = 1, at: str | None = "2026-01-01T00:00:00.000000Z") -> dict[str, object]:
    return {"i": 1, "big": big, "yes": True, "f": 1.5, "at": at, "t": "x"}


def test_nothing_is_said_that_hidden_rows_decide() -> None:
    for arrays in ((), ([],), ([row()], [row(), row(None)]), ([row(2**63 - 1, None)],)):
        fields = told(*arrays)
        assert [field.get("extDtype") for field in fields.values()] == [
            *("Int64", "Int64", "boolean"),
            *(None, None, None),
        ]
        assert "nonFinite" not in fields["f"]
        assert (fields["at"]["type"], fields["at"]["tz"]) == ("datetime", "UTC")
        assert fields["t"] == STORED["fields"][-1]


def test_rows_that_are_shown_decide() -> None:
    assert told([row(2**63 - 1)], [row(None)])["big"]["extDtype"] == "float64"
    for at in ("infinity", "0044-03-15 12:00:00+00 BC", "1500-01-01T00:00:00.000000Z"):
        field = told([row()], [row(at=at)], [row()])["at"]
        assert (field["type"], "tz" in field) == ("string", False)


def test_rows_are_looked_at_only_where_they_decide() -> None:
    plain = {**STORED, "fields": [field for field in STORED["fields"] if field["name"] not in ("big", "at")]}
    assert not SchemaOfShown(json.dumps(plain).encode()).looks
    shown = SchemaOfShown(json.dumps(STORED).encode())
    assert shown.looks
    shown.look(msgspec.json.encode([row(2**63 - 1, "infinity"), row(None)]))
    assert not shown.looks


def test_strings_among_integers_and_null_are_left_to_the_reader() -> None:
    fields = json.loads(for_strings(json.dumps(STORED).encode()))["fields"]
    assert [field.get("extDtype") for field in fields] == [None, "object", "boolean", None, None, None]
    assert [field["type"] for field in fields] == [field["type"] for field in STORED["fields"]]
