"""Declarations, values and sets of parameters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgsched.domain.errors import InvalidInput
from pgsched.domain.parameters import Value, exact_number, param_sets_from, parameters_from
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
        ({"name": "n", "type": "int[]", "default": [1, "two"]}, r"literal of type integer\[\]"),
        ({"name": "n", "type": "int[]", "default": [[1, 2], [3]]}, r"literal of type integer\[\]"),
        ({"name": "n", "type": "int[]", "default": [[1, 2], 3]}, r"literal of type integer\[\]"),
        ({"name": "n", "type": "int[]", "default": [[[[[[[1]]]]]]]}, r"literal of type integer\[\]"),
        ({"name": "n", "type": "text[]", "default": [{"a": 1}]}, r"literal of type text\[\]"),
        ({"name": "n", "type": "jsonb[]", "default": ["no JSON"]}, r"literal of type jsonb\[\]"),
        ({"name": "n", "type": "jsonb", "default": "NaN"}, "literal of type jsonb"),
        ({"name": "n", "type": "jsonb", "default": [float("nan")]}, "literal of type jsonb"),
        ({"name": "n", "type": "json", "default": "[" * 5000}, "literal of type json"),
        ({"name": "n", "type": "json", "default": "[" * 4000 + "]" * 4000}, "literal of type json"),
        (
            {"name": "n", "type": "text", "default": "x" * 10_001},
            "has 10001 characters; a value may have 10000",
        ),
    ],
)
def test_faults_say_what_is_wrong(given, what):
    with pytest.raises(InvalidInput, match=what):
        parameters_from([given])


@pytest.mark.parametrize(
    ("type_", "given", "text"),
    [
        ("text[]", ["a", None, 'b"\\', "", True], r'{"a",NULL,"b\"\\","","true"}'),
        ("text[]", [["a", "b"], ["c", None]], '{{"a","b"},{"c",NULL}}'),
        ("int[]", [[[1], [2]], [[3], [4]]], '{{{"1"},{"2"}},{{"3"},{"4"}}}'),
        ("int[]", [], "{}"),
        ("jsonb[]", [{"a": 1}, [1, 2], None, "3"], r'{"{\"a\": 1}","[1, 2]",NULL,"3"}'),
        ("date[]", ["2026-01-01", "today"], '{"2026-01-01","today"}'),
    ],
)
def test_lists_are_arrays_of_as_many_dimensions(type_, given, text):
    [parameter] = parameters_from([{"name": "n", "type": type_, "default": given}])
    assert parameter.default == Value(text=text)


@pytest.mark.parametrize(
    "digits", ["0.1", "1e300", "-2.50", "0.0", "-0.0", "123456789.125", "0.10000000000000001", "4.9e-324"]
)
def test_a_number_is_read_when_a_double_holds_all_of_it(digits):
    assert exact_number(digits) == float(digits)


@pytest.mark.parametrize(
    "digits",
    ["0.1234567890123456789", "1e400", "-1e-400", "1e-999999999999999999999", "0e-99999999999999999999999"],
)
def test_a_number_that_would_lose_digits_is_refused(digits):
    with pytest.raises(ValueError, match="write it as text"):
        exact_number(digits)


def test_sets_have_a_name_and_values_and_nothing_else():
    declared = parameters_from([{"name": "n", "type": "int", "default": 1}])
    with pytest.raises(InvalidInput, match="value is not known"):
        param_sets_from([{"name": "one", "value": {"n": 2}}], declared)


def test_sets_are_complete_and_name_what_is_declared():
    declared = parameters_from([{"name": "n", "type": "int"}])
    with pytest.raises(InvalidInput, match="neither a default nor a set"):
        param_sets_from([], declared)
    with pytest.raises(InvalidInput, match="gives no value to n"):
        param_sets_from({"one": {}}, declared)
    with pytest.raises(InvalidInput, match="m is not declared"):
        param_sets_from({"one": {"n": 1, "m": 2}}, declared)
