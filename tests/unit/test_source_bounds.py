"""Rows that are too large for jsonb, and rows that are too many to be stored at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgsched.adapters.source import bounds
from pgsched.adapters.source.bounds import parted, refuse_unstorable
from pgsched.adapters.source.encoding import RowEncoder
from pgsched.domain.errors import ResultRejected
from pgsched.domain.results import built_in_type

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


@pytest.mark.parametrize(
    ("oid", "value"),
    [
        (25, b"x"), (25, b"\x01\x02"), (1700, b"-Infinity"), (1700, b"12.50"), (114, b"[1,  2]"),
        (1022, b"{-Infinity,NaN,1e+300,1.5,NULL}"), (1009, rb'{a,"b c","\"\\",NULL}'), (1009, b"{Infinity}"),
        (199, rb'{"{\"a\":1}","\"b\"",3}'), (1185, b'{"1890-01-01 00:00:00+00:19:32"}'),
        (1007, b"[2147483646:2147483646][-5:-5]={{1}}"), (1000, b"{t,f}"), (1001, rb'{"\\x00"}'),
    ],
)  # fmt: skip
def test_no_value_is_written_in_fewer_bytes_than_are_reckoned_with(oid, value):
    types = [built_in_type(oid, -1)]
    written = RowEncoder(["a"], types).encode([(value,)])
    assert 0 <= bounds.Sizes(types).least_of((value,)) <= len(written) - len(b'{"a":}')
