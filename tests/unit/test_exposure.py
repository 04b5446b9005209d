"""Numbers of results as metrics: what is told, and that there is a bound whatever the result."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from pgsched.domain.exposure import LONGEST_LABEL, MOST_COLUMNS, MOST_VALUES, Value, exposed_values

KINDS = {
    "integer": st.none() | st.integers(-(10**400), 10**400),
    "number": st.none() | st.floats(),
    "string": st.none() | st.text(max_size=LONGEST_LABEL * 2),
    "boolean": st.none() | st.booleans(),
}


def schema(**types: str) -> dict[str, object]:
    return {"fields": [{"name": name, "type": kind} for name, kind in types.items()]}


def told(rows: list[dict], **types: str) -> list[tuple[str, str, float]]:
    values, _ = exposed_values(schema(**types), rows, rows_of_all=len(rows))
    return [(value.row, value.column, value.number) for value in values]


def test_rows_are_named_by_the_first_column_that_is_no_number() -> None:
    rows = [{"n": 1, "status": "new", "sum": 1.5}, {"n": 2, "status": None, "sum": None}]
    assert told(rows, n="integer", status="string", sum="number") == [
        ("new", "n", 1.0),
        ("new", "sum", 1.5),
        ("None", "n", 2.0),
    ]


def test_rows_that_it_does_not_tell_apart_are_named_by_their_place() -> None:
    assert told([{"a": "x", "n": 1}, {"a": "x", "n": 2}], a="string", n="integer") == [
        ("0", "n", 1.0),
        ("1", "n", 2.0),
    ]
    assert told([{"n": 7}], n="integer") == [("0", "n", 7.0)]


def test_what_is_beyond_the_bound_is_counted() -> None:
    rows = [{"n": n} for n in range(MOST_VALUES)]
    values, left_out = exposed_values(schema(n="integer"), rows, rows_of_all=100_000)
    assert (len(values), left_out) == (MOST_VALUES, 100_000 - MOST_VALUES)


def test_no_number_tells_nothing() -> None:
    assert exposed_values(schema(a="string"), [{"a": "x"}], rows_of_all=1) == ((), 0)
    assert told([{"n": 10**400}, {"n": math.inf}], n="number") == []


@given(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=40), st.data())
def test_series_are_bounded_and_differ_whatever_the_result(kinds: list[str], data: st.DataObject) -> None:
    types = {f"c{place}": kind for place, kind in enumerate(kinds)}
    rows = data.draw(
        st.lists(st.fixed_dictionaries({name: KINDS[kind] for name, kind in types.items()}), max_size=12)
    )
    values, left_out = exposed_values(schema(**types), rows, rows_of_all=len(rows))
    assert len(values) <= MOST_VALUES
    assert len({value.column for value in values}) <= MOST_COLUMNS
    assert len({(value.row, value.column) for value in values}) == len(values)
    assert 0 <= left_out <= len(rows)
    for value in values:
        assert isinstance(value, Value)
        assert max(len(value.row), len(value.column)) <= LONGEST_LABEL
        assert math.isfinite(value.number)
