"""No request waits for a database that is gone, and no process takes on more than it can hold."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final

from pgsched.application.watching import Watching
from pgsched.domain.errors import DatabaseUnavailable
from pgsched.entrypoints.http.problems import Overloaded

#: seconds that a request waits, at least, for a database that is not seen
PATIENCE_S: Final = 1.5
_AGAIN_S: Final = 0.25
#: seconds later than meant that tell that this process had no time
_HELD_UP_S: Final = 0.25
#: requests that try a database which is not seen, at once
_MOST_TRYING: Final = 32
#: requests that are answered at once by one process
MOST_UNDER_WAY: Final = 2000


class Deadline:
    """Lets requests be answered, each within reason."""

    def __init__(self, watching: Watching | None, *, most: int = MOST_UNDER_WAY) -> None:
        """Take what sees the database, None where nothing does and every request is waited for."""
        self._watching = watching
        self._most = most
        #: requests under way
        self.under_way = 0
        self._left: set[asyncio.Task[None]] = set()

    async def keep(self, call: Coroutine[Any, Any, None]) -> None:
        """Wait for a call, as long as the database is seen.

        A call that is given up is not cancelled: the driver would first ask the server to cancel. It ends by
        itself when its connection is shut.

        Raises:
            DatabaseUnavailable: the call did not end and the database is not seen.
            Overloaded: too many are under way.
        """
        watching = self._watching
        seen = watching is None or watching.trusted
        if self.under_way >= self._most or (not seen and self.under_way >= _MOST_TRYING):
            call.close()
            if seen:
                raise Overloaded("too many requests are under way; try again in a moment")
            raise _away()
        self.under_way += 1
        task = asyncio.create_task(call)
        task.add_done_callback(self._ended)
        if watching is None:
            await task
            return
        loop, patience = asyncio.get_running_loop(), PATIENCE_S
        while True:
            began = loop.time()
            try:
                done, _ = await asyncio.wait({task}, timeout=patience)
            except asyncio.CancelledError:
                task.cancel()
                raise
            if done:
                task.result()
                return
            # a process that was held up itself has not looked either: that says nothing of the database
            held_up = loop.time() - began > patience + _HELD_UP_S
            if not watching.trusted and not held_up:
                self._left.add(task)
                raise _away()
            patience = _AGAIN_S

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.under_way -= 1
        if task in self._left:
            self._left.discard(task)
            if not task.cancelled():
                task.exception()  # nobody asks for it any more


def _away() -> DatabaseUnavailable:
    return DatabaseUnavailable("the metadata database was not seen for more than a second")
