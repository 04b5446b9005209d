"""The reservoir behind ``on_limit = sample``."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgsched.domain.sampling import Reservoir


def sample(count: int, *, most_rows: int, most_bytes: int = 10**9, size: int = 1, seed: int = 1) -> list[int]:
    reservoir: Reservoir[int] = Reservoir(most_rows=most_rows, most_bytes=most_bytes, random=Random(seed))
    for number in range(count):
        if reservoir.chooses():
            reservoir.keep(number, size)
    assert reservoir.seen == count
    return reservoir.rows()


@pytest.mark.parametrize("count", [0, 1, 10])
def test_a_stream_that_fits_is_kept_whole(count):
    assert sample(count, most_rows=10, most_bytes=10) == list(range(count))


def test_rows_come_in_the_order_of_the_stream():
    kept = sample(1000, most_rows=50)
    assert len(kept) == 50
    assert kept == sorted(kept)


def test_bytes_bound_the_sample_as_rows_do():
    assert len(sample(1000, most_rows=500, most_bytes=99, size=10)) == 9
    assert sample(1000, most_rows=500, most_bytes=5, size=10) == []
    assert sample(100, most_rows=0) == []


@pytest.mark.parametrize("limits", [{"most_rows": 10}, {"most_rows": 1000, "most_bytes": 100, "size": 10}])
def test_every_row_is_as_likely_as_any_other(limits):
    picked = [0] * 10
    for seed in range(1000):
        for number in sample(100, seed=seed, **limits):
            picked[number // 10] += 1
    # 10,000 picks into ten tenths: 1000 each, standard deviation 30
    assert all(870 < count < 1130 for count in picked)


class Drawn(Random):
    """Random numbers that are known beforehand."""

    def __init__(self, numbers: list[float]) -> None:
        super().__init__()
        self._numbers = iter(numbers)

    def random(self) -> float:
        return next(self._numbers)


def kept(rows: list[tuple[float, int]], *, most_rows: int, most_bytes: int) -> list[int]:
    """The places of the rows kept of a stream of (number drawn, size)."""
    drawn = Drawn([number for number, _ in rows])
    reservoir: Reservoir[int] = Reservoir(most_rows=most_rows, most_bytes=most_bytes, random=drawn)
    for place, (_, size) in enumerate(rows):
        if reservoir.chooses():
            reservoir.keep(place, size)
    return reservoir.rows()


NUMBERS = st.floats(min_value=0, max_value=1, exclude_max=True)
STREAMS = st.lists(st.tuples(NUMBERS, st.integers(0, 12)), max_size=30, unique_by=lambda row: row[0])


@given(STREAMS, st.integers(0, 10), st.integers(0, 40))
def test_the_sample_is_the_longest_beginning_in_the_order_drawn(rows, most_rows, most_bytes):
    beginning, room = [], most_bytes
    for number, size in sorted(row for row in rows if row[1] <= most_bytes):
        room -= size
        if room < 0 or len(beginning) == most_rows:
            break
        beginning.append(number)
    places = kept(rows, most_rows=most_rows, most_bytes=most_bytes)
    assert places == sorted(places)
    assert {rows[place][0] for place in places} == set(beginning)


@given(STREAMS, st.integers(1, 10), st.integers(0, 40), st.data())
def test_rows_too_large_have_no_bearing_on_the_others(rows, most_rows, most_bytes, data):
    giants = data.draw(st.sets(st.integers(0, len(rows) - 1)) if rows else st.just(set()))
    sizes = [most_bytes + 1 if place in giants else size for place, (_, size) in enumerate(rows)]
    among = [(number, size) for (number, _), size in zip(rows, sizes, strict=True)]
    others = [row for row in among if row[1] <= most_bytes]
    limits = {"most_rows": most_rows, "most_bytes": most_bytes}
    assert [among[place] for place in kept(among, **limits)] == [
        others[place] for place in kept(others, **limits)
    ]


@given(STREAMS, st.integers(1, 10), st.integers(0, 40))
def test_a_sample_is_not_empty_where_one_row_fits(rows, most_rows, most_bytes):
    fits = any(size <= most_bytes for _, size in rows)
    assert bool(kept(rows, most_rows=most_rows, most_bytes=most_bytes)) == fits


@pytest.mark.parametrize("place", [0, 50, 99])
def test_a_row_of_most_of_the_bytes_leaves_the_others_alike(place):
    picked = [0] * 100
    for seed in range(2000):
        reservoir: Reservoir[int] = Reservoir(most_rows=100, most_bytes=150, random=Random(seed))
        for number in range(100):
            if reservoir.chooses():
                reservoir.keep(number, 140 if number == place else 1)
        for number in reservoir.rows():
            picked[number] += 1
    others = [count for number, count in enumerate(picked) if number != place]
    # each in about 1011 of 2000 samples, standard deviation 22
    assert max(others) - min(others) < 200
    assert 0 < picked[place] < min(others)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=40), st.integers(1, 60), st.integers(0, 2**32))
def test_what_is_left_out_afterwards_leaves_the_others(sizes, most_bytes, seed):
    reservoir: Reservoir[int] = Reservoir(most_rows=30, most_bytes=most_bytes, random=Random(seed))
    for size in sizes:
        if reservoir.chooses():
            reservoir.keep(size, size)
    before = reservoir.rows()
    reservoir.leave_out(lambda row: row > 5)
    assert reservoir.rows() == [row for row in before if row <= 5]
    while reservoir.rows():
        left = len(reservoir.rows())
        reservoir.shrink()
        assert len(reservoir.rows()) == left - 1
