"""A uniform sample of a stream of unknown length, bounded by rows and bytes.

Each row draws a random number, and the rows of the lowest numbers stay ("bottom-k": Cohen and Kaplan,
"Summarizing Data using Bottom-k Sketches", 2007).
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from random import Random
from typing import Generic, TypeVar

Row = TypeVar("Row")


class Reservoir(Generic[Row]):
    """Keeps the longest beginning, of the rows in a random order, that fits.

    At most ``most_rows`` rows of at most ``most_bytes`` together. The random order is that of numbers drawn
    one for each row. They know neither a row's place in the stream nor its size, so every order is as likely
    as any other: rows of equal size are equally likely to be kept, wherever they stand, and where all rows
    are of one size each is as likely as any other. A row that takes much of the bytes ends the beginning
    sooner than a small one would: it is kept less often, and leaves fewer others.

    A row larger than ``most_bytes`` could not be kept by itself. It is passed over and takes no part in the
    order: the sample is that of the other rows, as if it were not there.

    Why the stream may be forgotten: let ``_bound`` be the lowest number that was ever let go. Its row and
    those before it were too many or too large together when it went; with more rows they are so still, and
    nothing at or beyond ``_bound`` belongs to the longest beginning. All rows below it are here.
    """

    def __init__(self, *, most_rows: int, most_bytes: int, random: Random) -> None:
        """Start empty."""
        #: rows offered so far
        self.seen = 0
        self._most_rows = most_rows
        self._most_bytes = most_bytes
        self._random = random
        #: only rows with a lower number are kept
        self._bound = 1.0 if most_rows > 0 else 0.0
        #: the number of the row just chosen
        self._drawn = 0.0
        self._bytes = 0
        #: number (negative: the highest comes first), place in the stream, bytes, row
        self._kept: list[tuple[float, int, int, Row]] = []

    def chooses(self) -> bool:
        """Count one more row of the stream and say whether it is to be kept (then ``keep`` it)."""
        self.seen += 1
        self._drawn = self._random.random()
        return self._drawn < self._bound

    def keep(self, row: Row, size: int) -> None:
        """Keep the row just chosen, which takes ``size`` bytes, in place of others; not one too large."""
        if size > self._most_bytes:
            return
        heappush(self._kept, (-self._drawn, self.seen, size, row))
        self._bytes += size
        while len(self._kept) > self._most_rows or self._bytes > self._most_bytes:
            self.shrink()

    def shrink(self) -> None:
        """Let the row go that comes last in the random order."""
        number, _, size, _ = heappop(self._kept)
        self._bound = -number
        self._bytes -= size

    def leave_out(self, is_too_large: Callable[[Row], bool]) -> None:
        """Let the rows go that turn out too large to be kept by themselves; they make no room for others."""
        self._kept = [kept for kept in self._kept if not is_too_large(kept[3])]
        heapify(self._kept)
        self._bytes = sum(size for _, _, size, _ in self._kept)

    def rows(self) -> list[Row]:
        """Return the rows kept, in the order of the stream."""
        return [row for _, _, _, row in sorted(self._kept, key=lambda kept: kept[1])]
