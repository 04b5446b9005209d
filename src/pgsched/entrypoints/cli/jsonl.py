"""Reading requests a line each (``--jsonl``), however long a line is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO


def bounded_lines(stream: IO[bytes], longest: int) -> Iterator[bytes]:
    """Yield the lines without their end, in order, as they come.

    Of a line of more than ``longest`` bytes only the first ``longest + 1`` are yielded, so that it can be
    told; its rest is read over and never held.
    """
    while line := stream.readline(longest + 2):
        rest = line
        while len(rest) == longest + 2 and not rest.endswith(b"\n"):
            rest = stream.readline(longest + 2)
        yield line.removesuffix(b"\n")[: longest + 1]
