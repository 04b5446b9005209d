"""A clock for durations: it only counts, and goes on while the machine is suspended."""

from __future__ import annotations

import sys
import time

if sys.platform == "linux":
    # CLOCK_MONOTONIC stands still during a suspend (clock_gettime(2)): a lease would be trusted for as long
    # as the machine slept.
    def elapsed_s() -> float:
        """Return seconds since some moment; only differences mean anything."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

else:

    def elapsed_s() -> float:
        """Return seconds since some moment; only differences mean anything."""
        return time.monotonic()
