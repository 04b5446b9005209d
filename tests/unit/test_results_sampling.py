"""The reservoir behind ``on_limit = sample``."""

from __future__ import annotations

from random import Random

import pytest

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
