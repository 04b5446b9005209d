"""How many records of this process could not be written where they belong."""

from __future__ import annotations

import logging


def lost_records() -> int:
    """Return how many records went to stderr instead of the log file, or could not be formatted."""
    return sum(getattr(handler, "lost", 0) for handler in logging.getLogger().handlers)
