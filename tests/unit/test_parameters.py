"""Declarations, values and sets of parameters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgsched.domain.errors import InvalidInput
from pgsched.domain.parameters import Value, param_sets_from, parameters_from
from pgsched.entrypoints.cli.parameters import declarations

KEYS = st.sampled_from(["name", "type", "default", "values", "sql", "a"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(JSON, JSON)
def test_whatever_is_written_is_read_or_refused_and_comes_back(parameters, sets):
    try:
        read = parameters_from(parameters)
        read_sets = param_sets_from(sets, read)
    except InvalidInput:
        return
    assert parameters_from([each.describe() for each in read]) == read
    assert param_sets_from([each.describe() for each in read_sets], read) == read_sets


@pytest.mark.parametrize(
    ("typed", "type_", "default"),
    [
        ("day:date=2026-01-01", "date", Value(text="2026-01-01")),
        ("day:date=current_date - 7", "date", Value(sql="current_date - 7")),
        ("since:timestamptz=now() - interval '1 day'", "timestamp with time zone",
         Value(sql="now() - interval '1 day'")),
        ("n:int=3", "integer", Value(text="3")),
        ("n:int8[]={1,2}", "bigint[]", Value(text="{1,2}")),
        ("word:text=now()", "text", Value(text="now()")),
        ("word:text:=upper('x')", "text", Value(sql="upper('x')")),
        ("word=x", "text", Value(text="x")),
        ("word", "text", None),
    ],
)  # fmt: skip
def test_typed_declarations(typed, type_, default):
    [given] = declarations([typed])
    if default is None:
        assert "default" not in given
        return
    [parameter] = parameters_from([given])
    assert (parameter.type, parameter.default) == (type_, default)


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"name": "N", "type": "int"}, "lower-case"),
        ({"name": "scheduled_at", "type": "date"}, "always there"),
        ({"name": "n", "type": "money"}, "type must be one of"),
        ({"name": "n", "type": "int", "default": "one"}, "literal of type integer"),
        ({"name": "n", "type": "int", "default": 2**31}, "literal of type integer"),
        ({"name": "n", "type": "int", "default": 1, "x": 1}, "x is not known"),
    ],
)
def test_faults_say_what_is_wrong(given, what):
    with pytest.raises(InvalidInput, match=what):
        parameters_from([given])


def test_sets_are_complete_and_name_what_is_declared():
    declared = parameters_from([{"name": "n", "type": "int"}])
    with pytest.raises(InvalidInput, match="neither a default nor a set"):
        param_sets_from([], declared)
    with pytest.raises(InvalidInput, match="gives no value to n"):
        param_sets_from({"one": {}}, declared)
    with pytest.raises(InvalidInput, match="m is not declared"):
        param_sets_from({"one": {"n": 1, "m": 2}}, declared)
