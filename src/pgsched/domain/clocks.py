"""Whether a clock that should only go on was set.

The metadata database's clock decides what is due, so what happens when somebody sets it must not be left to
chance: forwards, everything named by the time between would be caught up with at once, and a moment later
found to be in the future; backwards, what was promised for a moment from now lies hours ahead. No clock can
tell by itself that it was set; one that only counts, watched beside it, can.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

#: seconds by which two clocks may part between two readings: one is slewed, or a little faster
SLACK_S = 5.0
#: seconds from which on a step forwards is not acted on at once
LARGE_S = 300.0
#: seconds to wait then whether the step is taken back
DOUBT_S = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """What a clock said that may be set, and when it was asked by one that only counts."""

    #: what it said
    now: datetime
    #: seconds of the other one before it was asked, time asleep included
    asked_s: float
    #: seconds of the other one when the answer was here
    answered_s: float


def step_between(earlier: Reading, later: Reading) -> float:
    """Return the seconds by which the clock was set forwards (negative: back), at least; 0.0 when it was not.

    An answer that took long (a process that was stopped, a slow network) may be as old as that.
    """
    moved = (later.now - earlier.now).total_seconds()
    forwards = moved - (later.answered_s - earlier.asked_s)
    back = moved - (later.asked_s - earlier.answered_s)
    return forwards if forwards > SLACK_S else back if back < -SLACK_S else 0.0


def doubt_after(step_s: float) -> float:
    """Return the seconds for which nothing new is planned after a step of the clock."""
    return DOUBT_S if step_s >= LARGE_S else 0.0
