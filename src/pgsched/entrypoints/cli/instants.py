"""Instants as options take them."""

from __future__ import annotations

from datetime import datetime

import click


def instant_of(text: str, option: str) -> datetime:
    """Read an ISO 8601 time with its offset; what has none is refused rather than guessed at."""
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        raise click.BadParameter(
            "must be ISO 8601 with an offset, such as 2026-01-01T06:00:00Z", param_hint=option
        )
    return instant
