"""Reading requests a line each (``--jsonl``), however long a line is."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import IO

#: most lines answered together
MOST_TOGETHER = 32


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


def lines_as_they_come(stream: IO[bytes], longest: int) -> Iterator[list[bytes]]:
    """Yield the bounded lines in order, those that are there together.

    Who waits for each answer gets each at once; who writes many has them answered together, which is quicker.
    """
    # bounded, so that a quick writer does not fill the memory
    waiting: queue.Queue[bytes | None] = queue.Queue(MOST_TOGETHER)

    def read() -> None:
        for line in bounded_lines(stream, longest):
            waiting.put(line)
        waiting.put(None)

    # it may be reading still when the command is interrupted
    threading.Thread(target=read, daemon=True).start()
    line = waiting.get()
    while line is not None:
        together = [line]
        try:
            while len(together) < MOST_TOGETHER and (line := waiting.get_nowait()) is not None:
                together.append(line)
        except queue.Empty:
            yield together
            line = waiting.get()
        else:
            yield together
            line = line if line is None else waiting.get()
