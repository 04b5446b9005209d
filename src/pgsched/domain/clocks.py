"""Whether a clock that should only go on was set.

The metadata database's clock decides what is due, so what happens when somebody sets it must not be left to
chance: forwards, everything named by the time between would be caught up with at once, and a moment later
found to be in the future; backwards, what was promised for a moment from now lies hours ahead. No clock can
tell by itself that it was set; one that only counts, watched beside it, can.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

#: seconds by which two clocks may part between two readings: slewing, answers that came late
SLACK_S = 5.0
#: seconds from which on a step forwards is not acted on at once
LARGE_S = 300.0
#: seconds to wait then whether the step is taken back
DOUBT_S = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """Two clocks, read together."""

    #: what the clock that may be set says
    now: datetime
    #: seconds of one that only counts, time asleep included
    elapsed_s: float


def step_between(earlier: Reading, later: Reading) -> float:
    """Return the seconds by which the clock was set forwards (negative: back); 0.0 when it only went on."""
    passed = later.elapsed_s - earlier.elapsed_s
    step = (later.now - earlier.now).total_seconds() - passed
    return step if abs(step) > SLACK_S else 0.0


def doubt_after(step_s: float) -> float:
    """Return the seconds for which nothing new is planned after a step of the clock."""
    return DOUBT_S if step_s >= LARGE_S else 0.0
