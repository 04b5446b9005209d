"""The Table Schema, column names and built-in types of results."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from pgsched.domain.results import (
    ColumnType,
    Kind,
    SchemaField,
    built_in_type,
    fits_datetime,
    table_schema,
    unique_names,
)


def field(kind: Kind, **changes: object) -> SchemaField:
    column = ColumnType(oid=1, name="some type", kind=kind)
    return SchemaField(**({"name": "a", "type": column, "has_nulls": False} | changes))


@given(st.lists(st.sampled_from(["a", "a_1", "a_2", "a_1_1", "b", ""]), max_size=12))
def test_unique_names_are_unique_and_keep_each_first(names):
    unique = unique_names(names)
    assert len(set(unique)) == len(names)
    for place, name in enumerate(names):
        if name not in names[:place]:
            assert unique[place] == name
        else:
            assert unique[place].startswith(f"{name}_")


def test_unique_names_count_from_one_past_names_that_are_there():
    assert unique_names(["a", "a", "a"]) == ["a", "a_1", "a_2"]
    assert unique_names(["a", "a", "a_1", "a"]) == ["a", "a_2", "a_1", "a_3"]


def test_schema_has_the_keys_pandas_reads_and_ours():
    described = json.loads(
        table_schema(
            [
                field(Kind.INTEGER, has_nulls=True),
                field(Kind.INTEGER, has_nulls=True, beyond_doubles=True),
                field(Kind.INTEGER, beyond_doubles=True),
                field(Kind.BOOLEAN, has_nulls=True),
                field(Kind.INTEGER),
                field(Kind.TIMESTAMPTZ),
                field(Kind.TIMESTAMPTZ, as_text=True),
                field(Kind.FLOAT, non_finite=2, has_nulls=True),
            ]
        )
    )
    ours = {"name": "a", "pgType": "some type", "pgOid": 1}
    assert described == {
        "fields": [
            {**ours, "type": "integer", "extDtype": "Int64"},
            {**ours, "type": "integer", "extDtype": "float64"},
            {**ours, "type": "integer"},
            {**ours, "type": "boolean", "extDtype": "boolean"},
            {**ours, "type": "integer"},
            {**ours, "type": "datetime", "tz": "UTC"},
            {**ours, "type": "string"},
            {**ours, "type": "number", "nonFinite": 2},
        ],
        "pandas_version": "1.4.0",
    }


def test_built_in_types_have_their_modifiers():
    assert built_in_type(1700, ((38 << 16) | 10) + 4).name == "numeric(38,10)"
    assert built_in_type(1700, ((6 << 16) | 0x7FE) + 4).name == "numeric(6,-2)"
    assert built_in_type(1115, 3).name == "timestamp(3) without time zone[]"
    assert built_in_type(1115, 3).element is Kind.TIMESTAMP
    assert built_in_type(1186, 100) is None
    assert built_in_type(999_999, -1) is None


def test_datetimes_fit_what_nanoseconds_hold():
    assert fits_datetime("1677-09-21T00:12:43.145225", "2262-04-11T23:47:16.854775")
    assert not fits_datetime("1677-09-21T00:12:43.145224", "2000-01-01T00:00:00.000000")
    assert not fits_datetime("2000-01-01T00:00:00.000000", "2262-04-11T23:47:16.854776")
