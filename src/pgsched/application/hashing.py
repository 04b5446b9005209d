"""How many passwords are hashed at once: each takes a core for 50 ms and 19 MiB."""

from __future__ import annotations

import asyncio
import math
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pgsched.application.ports.secrets import PasswordHasher
from pgsched.domain.errors import TooManyRequests

#: seconds that one hash takes, about
_HASH_S = 0.05
#: how many may wait for each that runs: more would wait for longer than people do
_WAITING_EACH = 32
#: seconds that one waits at most, however slow the machine is just now
_LONGEST_WAIT_S = 5
_BUSY = "too many passwords are being checked"


class BoundedHashing:
    """A ``PasswordHasher`` in threads, as many at once as there are cores; a bounded number waits."""

    def __init__(self, hasher: PasswordHasher, *, at_once: int | None = None) -> None:
        self._hasher = hasher
        self._at_once = at_once or os.cpu_count() or 1
        self._free = asyncio.Semaphore(self._at_once)
        self._waiting = 0

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for a core and hold it; inside, ``hash`` and ``verify`` may be awaited one after another.

        Raises:
            TooManyRequests: too many wait already, or it took too long.
        """
        if self._waiting >= self._at_once * _WAITING_EACH:
            wait = math.ceil(self._waiting * _HASH_S / self._at_once)
            raise TooManyRequests(_BUSY, retry_after_s=wait)
        self._waiting += 1
        try:
            async with asyncio.timeout(_LONGEST_WAIT_S):
                await self._free.acquire()
        except TimeoutError:
            raise TooManyRequests(_BUSY, retry_after_s=_LONGEST_WAIT_S) from None
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._free.release()

    async def hash(self, password: str) -> str:
        """Hash inside a slot."""
        return await asyncio.to_thread(self._hasher.hash, password)

    async def verify(self, stored: str, password: str) -> bool:
        """Compare inside a slot."""
        return await asyncio.to_thread(self._hasher.verify, stored, password)

    def needs_rehash(self, stored: str) -> bool:
        """Whether parameters or pepper moved since the hash was made."""
        return self._hasher.needs_rehash(stored)
