"""What stands where the metadata database stands, for whoever opens and closes it."""

from __future__ import annotations


class NoDatabase:
    """Opens and closes nothing."""

    async def open(self) -> None:
        """Do nothing."""

    async def close(self) -> None:
        """Do nothing."""

    def abandon(self) -> None:
        """Do nothing."""
