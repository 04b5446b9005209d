"""Rows that are too large for jsonb, and rows that are too many to be stored at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgsched.adapters.source import bounds
from pgsched.adapters.source.bounds import parted, refuse_unstorable
from pgsched.domain.errors import ResultRejected

NAMES = ["a", "b"]


@pytest.fixture(autouse=True, scope="module")
def small_bounds():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bounds, "MOST_ROW_BYTES", 10)
        patch.setattr(bounds, "PART_BYTES", 25)
        yield


@given(st.lists(st.integers(0, 60)))
def test_parts_are_small_unless_one_row_is_not(sizes):
    rows = [(b"x" * size, None) for size in sizes]
    parts = list(parted(rows))
    assert [row for part in parts for row in part] == rows
    assert all(part for part in parts)
    assert all(len(part) == 1 or sum(map(bounds.size_of, part)) <= 25 for part in parts)


def test_a_value_too_large_is_named_with_a_way_out():
    rows = [(b"x" * 10, None), (b"", b"y" * 11)]
    refuse_unstorable(rows[:1], NAMES, before=7, room=100)
    with pytest.raises(ResultRejected) as refused:
        refuse_unstorable(rows, NAMES, before=7, room=100)
    assert refused.value.detail == (
        'the value of column "b" in row 9 has 11 bytes, and a value can have at most 10 to be stored as '
        "jsonb: select a part of it (left, substring)"
    )


def test_a_row_too_large_names_its_largest_column():
    with pytest.raises(ResultRejected, match=r'row 1 has 11 bytes, 6 of them in column "b", and a row'):
        refuse_unstorable([(b"x" * 5, b"y" * 6)], NAMES, before=0, room=11)


@pytest.mark.parametrize("room", [0, 10, 15])
def test_what_is_not_going_to_be_stored_is_not_refused(room):
    refuse_unstorable([(b"x" * 5, None), (b"x" * 11, None)], NAMES, before=0, room=room)
