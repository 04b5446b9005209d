"""Whether a clock was set."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgsched.domain.clocks import DOUBT_S, LARGE_S, SLACK_S, Reading, doubt_after, step_between

START = Reading(now=datetime(2026, 3, 29, 0, 59, tzinfo=UTC), asked_s=1000.0, answered_s=1000.0)

durations = st.floats(0, 1e7)


def later(passed_s: float, step_s: float = 0.0, late_s: float = 0.0) -> Reading:
    """A reading after so many seconds, of a clock that was set, whose answer came late."""
    return Reading(
        now=START.now + timedelta(seconds=passed_s + step_s),
        asked_s=START.answered_s + passed_s,
        answered_s=START.answered_s + passed_s + late_s,
    )


@given(durations, st.floats(-SLACK_S + 0.01, SLACK_S - 0.01))
def test_clock_that_goes_on_was_not_set(passed_s: float, slewed_s: float) -> None:
    assert step_between(START, later(passed_s, slewed_s)) == 0.0


@given(durations, durations, durations)
def test_answer_that_comes_late_says_nothing_of_the_clock(
    first_s: float, late_s: float, then_s: float
) -> None:
    late = later(first_s, late_s=late_s)
    assert step_between(START, late) == 0.0
    assert step_between(late, later(first_s + late_s + then_s)) == 0.0


@given(durations, st.floats(SLACK_S + 0.01, 1e8), st.sampled_from([1, -1]))
def test_step_is_told_with_its_direction(passed_s: float, size_s: float, sign: int) -> None:
    assert step_between(START, later(passed_s, sign * size_s)) == pytest.approx(sign * size_s, abs=1e-3)


@given(durations, st.floats(SLACK_S + 0.01, 1e8))
def test_step_taken_back_leaves_nothing(passed_s: float, size_s: float) -> None:
    there, back = later(passed_s, size_s), later(2 * passed_s)
    assert step_between(START, there) > 0 > step_between(there, back)
    assert step_between(START, back) == 0.0


def test_large_step_forwards_alone_is_doubted() -> None:
    assert [doubt_after(step) for step in (0.0, -1e6, LARGE_S - 1, LARGE_S)] == [0, 0, 0, DOUBT_S]
