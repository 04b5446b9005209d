"""Finding the addresses of hosts, so that a name server that says nothing holds up nobody else.

The system's resolver can be neither cancelled nor given a time: one that waits keeps its thread for a minute
and more. An event loop lends it a thread of few (uvloop four), which names that never come would fill, and
waits for them when it ends. So each lookup has a thread of its own, which ends with the process.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any, TypeAlias

#: most hosts looked up at once, those included that nobody waits for any more
MOST_HOSTS = 64

#: what ``socket.getaddrinfo`` returns
Found: TypeAlias = list[tuple[Any, ...]]


class Lookups:
    """Lookups under way; who asks for what is being looked up waits for the same answer.

    Answers are kept for nobody who asks later. To be used on one event loop.
    """

    def __init__(self, *, find: Callable[..., Found] = socket.getaddrinfo, most: int = MOST_HOSTS) -> None:
        """``find`` is called as ``socket.getaddrinfo`` is, in a thread of its own."""
        self._find = find
        self._most = most
        self._under_way: dict[tuple[Any, ...], asyncio.Future[Found]] = {}

    async def find(self, *asked: Any) -> Found:
        """Return what is found for the arguments of ``socket.getaddrinfo``.

        Raises:
            OSError: no such host, or too many are being looked up.
            UnicodeError: the host is no name.
        """
        answer = self._under_way.get(asked)
        if answer is None:
            answer = self._begin(asked)
        # who gives up leaves the answer to the others
        return await asyncio.shield(answer)

    def _begin(self, asked: tuple[Any, ...]) -> asyncio.Future[Found]:
        if len(self._under_way) >= self._most:
            raise OSError(f"{self._most} other hosts are being looked up, and no name server answers")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Found] = loop.create_future()
        # nobody may be left to hear of an error
        answer.add_done_callback(lambda done: done.cancelled() or done.exception())
        thread = threading.Thread(
            target=self._look_up, args=(loop, asked, answer), name="pgsched-lookup", daemon=True
        )
        try:
            thread.start()
        except RuntimeError as error:
            raise OSError(f"no thread to look it up in: {error}") from None
        self._under_way[asked] = answer
        return answer

    def _look_up(
        self, loop: asyncio.AbstractEventLoop, asked: tuple[Any, ...], answer: asyncio.Future[Found]
    ) -> None:
        found: Found | Exception
        try:
            found = self._find(*asked)
        except Exception as error:
            found = error
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(self._end, asked, answer, found)

    def _end(self, asked: tuple[Any, ...], answer: asyncio.Future[Found], found: Found | Exception) -> None:
        del self._under_way[asked]
        if isinstance(found, Exception):
            answer.set_exception(found)
        else:
            answer.set_result(found)
