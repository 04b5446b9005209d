"""A clock that is moved by hand, so that tests travel in time without sleeping."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Final

#: where a clock stands unless told otherwise; not a whole second, so that whoever cuts fractions shows
START: Final = datetime(2099, 6, 1, 12, 0, 0, 250_000, tzinfo=UTC)


class ManualClock:
    """The port ``Clock``; stands still unless it was made ticking."""

    def __init__(self, start: datetime = START, *, ticking: bool = False) -> None:
        """Begin at ``start`` (aware); ``ticking`` adds the real time that passes from here."""
        self._at = start.astimezone(UTC)
        self._ticking_since = time.monotonic() if ticking else None

    async def now(self) -> datetime:
        """Return where the clock stands, UTC."""
        return self.read()

    def read(self) -> datetime:
        """Return the same without awaiting."""
        if self._ticking_since is None:
            return self._at
        return self._at + timedelta(seconds=time.monotonic() - self._ticking_since)

    def advance(self, seconds: float) -> None:
        """Let so many seconds pass; time never goes back.

        Raises:
            ValueError: the number is negative.
        """
        if seconds < 0:
            raise ValueError("time does not go back")
        self._at += timedelta(seconds=seconds)

    def step(self, seconds: float) -> None:
        """Set the clock by so many seconds, back where negative, as somebody might set a server's."""
        self._at += timedelta(seconds=seconds)
