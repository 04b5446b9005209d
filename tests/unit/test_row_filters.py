"""Which rows a filter shows."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgsched.domain.row_filters import columns_of, equal, filter_json, fingerprint, shows

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.decimals(allow_nan=False, allow_infinity=False),
    st.text(),
)


def read(text: str) -> object:
    return json.loads(text, parse_float=Decimal)


@given(scalars)
def test_value_equals_itself_as_written(value):
    assert equal(read(filter_json(value)), value)


@pytest.mark.parametrize(
    ("stored", "wanted", "same"),
    [
        ("1", 1.0, True),
        ("1.00", 1, True),
        ("0.1", 0.1, True),
        ("0.1000000000000000055511151231257827", 0.1, False),
        ("9007199254740993", 9007199254740992.0, False),
        ("9007199254740993", 9007199254740993, True),
        ("1", True, False),
        ("true", 1, False),
        ("true", True, True),
        ("0", False, False),
        ("null", None, True),
        ("null", "", False),
        ('"null"', None, False),
        ('"1"', 1, False),
        ('"a"', "A", False),
        ("-0.0", 0, True),
        ("[1]", 1, False),
        ("{}", None, False),
    ],
)
def test_values_are_equal_when_kind_and_value_are(stored, wanted, same):
    assert equal(read(stored), wanted) is same


def test_row_is_shown_when_every_column_of_any_filter_has_one_of_its_values():
    filters = [{"region": ("east", "west"), "year": (2026,)}, {"owner": (None,)}]
    assert shows(filters, {"region": "west", "year": 2026, "owner": 1})
    assert shows(filters, {"region": "north", "year": 1, "owner": None})
    assert not shows(filters, {"region": "west", "year": 2025, "owner": 1})
    assert not shows([], {"region": "west"})


def test_column_that_is_not_there_shows_nothing_not_even_to_null():
    assert not shows([{"gone": (None,)}], {"region": "east"})
    assert not shows([{"region": ()}], {"region": "east"})
    assert shows([{}], {"region": "east"})
    assert columns_of([{"b": (1,), "a": ()}, {"b": ()}]) == ("a", "b")


def test_fingerprint_tells_filters_apart_and_not_their_order():
    east, west = {"region": ("east",)}, {"region": ("west",)}
    prints = [fingerprint(filters) for filters in (None, (), (east,), (west,), (east, west), ({},))]
    assert len(set(prints)) == len(prints)
    assert fingerprint((east, west)) == fingerprint((west, east))
    assert fingerprint(({"a": (1, 2), "b": ()},)) == fingerprint(({"b": (), "a": (2, 1)},))
    assert fingerprint(({"a": ("1",)},)) != fingerprint(({"a": (1,)},))
