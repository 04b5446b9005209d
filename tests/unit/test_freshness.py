"""A result is fresh for as long as its query says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from pgsched.domain.freshness import Freshness

ENDED = datetime(2026, 1, 31, 12, tzinfo=UTC)


def freshness(fresh_for: str | None, later: timedelta) -> Freshness:
    return Freshness(since=ENDED, fresh_for=fresh_for, now=ENDED + later)


@given(later=st.integers(-10, 100_000))
def test_result_is_stale_once_its_time_is_over(later: int) -> None:
    found = freshness("PT1H", timedelta(seconds=later))
    assert found.is_stale == (later > 3600)
    assert found.fresh_until == ENDED + timedelta(hours=1)
    assert found.age_s == max(0, later)


def test_months_are_those_of_the_calendar() -> None:
    assert freshness("P1M", timedelta()).fresh_until == datetime(2026, 2, 28, 12, tzinfo=UTC)
    assert freshness("P9000Y", timedelta(days=3650)).is_stale is False


def test_result_without_a_bound_never_grows_stale() -> None:
    found = freshness(None, timedelta(days=3650))
    assert (found.is_stale, found.fresh_until) == (False, None)
