"""A uniform sample of a stream of unknown length (Vitter, "Random Sampling with a Reservoir", 1985)."""

from __future__ import annotations

from random import Random
from typing import Generic, TypeVar

Row = TypeVar("Row")


class Reservoir(Generic[Row]):
    """Keeps rows such that each row of the stream so far is as likely to be kept as any other.

    At most ``most_rows`` rows of at most ``most_bytes`` together: when the bytes do not suffice, random rows
    leave and the sample stays smaller from then on.
    """

    def __init__(self, *, most_rows: int, most_bytes: int, random: Random) -> None:
        """Start empty."""
        #: rows offered so far
        self.seen = 0
        self._capacity = most_rows
        self._most_bytes = most_bytes
        self._random = random
        self._bytes = 0
        self._kept: list[tuple[int, int, Row]] = []

    def chooses(self) -> bool:
        """Count one more row of the stream and say whether it is to be kept (then ``keep`` it)."""
        self.seen += 1
        return self._random.random() * self.seen < self._capacity

    def keep(self, row: Row, size: int) -> None:
        """Keep the row just chosen, which takes ``size`` bytes, in place of a random one."""
        if len(self._kept) >= self._capacity:
            self._drop()
        self._kept.append((self.seen, size, row))
        self._bytes += size
        while self._bytes > self._most_bytes:
            self._drop()
            self._capacity = len(self._kept)

    def shrink(self) -> None:
        """Let one random row go."""
        self._drop()

    def rows(self) -> list[Row]:
        """Return the rows kept, in the order of the stream."""
        return [row for _, _, row in sorted(self._kept, key=lambda kept: kept[0])]

    def _drop(self) -> None:
        index = self._random.randrange(len(self._kept))
        self._kept[index], self._kept[-1] = self._kept[-1], self._kept[index]
        self._bytes -= self._kept.pop()[1]
