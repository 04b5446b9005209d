"""Chunks of a large result on their way to the store while the next rows are fetched and encoded."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from types import TracebackType

#: chunks under way at once: the store parses one while the next is written to it
MOST_UNDER_WAY = 2


class Staging:
    """Hands chunks to the store in order, a few at a time; memory holds no more than those.

    A context: at its end every chunk has arrived, or the first fault is raised; an exception inside ends
    what is under way.
    """

    def __init__(self, stage: Callable[[int, bytes], Awaitable[None]]) -> None:
        """``stage`` stores a chunk under its number, from 0."""
        self._stage = stage
        self._under_way: deque[asyncio.Task[None]] = deque()
        #: chunks handed over so far
        self.chunks = 0

    async def __aenter__(self) -> Staging:
        return self

    async def add(self, rows: bytes) -> None:
        """Hand over one chunk, waiting while others are under way; raises what storing an earlier one did."""
        if len(self._under_way) >= MOST_UNDER_WAY:
            await self._under_way.popleft()
        self._under_way.append(asyncio.ensure_future(self._stage(self.chunks, rows)))
        self.chunks += 1

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            while error is None and self._under_way:
                await self._under_way.popleft()
        finally:
            for task in self._under_way:
                task.cancel()
            await asyncio.gather(*self._under_way, return_exceptions=True)
