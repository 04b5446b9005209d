"""Connections kept for the next run at the same source: only after a clean end, for a minute at most."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from pgsched.adapters.source.session import Session
from pgsched.application.ports.execution import SourceAddress

#: seconds a connection is kept idle
KEPT_S = 60.0


class KeptSessions:
    """Idle sessions by their whole address, password included: who knows less gets none of them."""

    def __init__(self, *, kept_s: float) -> None:
        """Start empty."""
        self._kept_s = kept_s
        self._idle: dict[SourceAddress, list[tuple[Session, asyncio.TimerHandle]]] = {}
        #: sessions whose runs are over and that are being cleared for the next one
        self._settling: dict[SourceAddress, set[asyncio.Task[None]]] = {}
        self._is_closed = False

    def __len__(self) -> int:
        """How many are idle or being cleared for the next run."""
        return sum(map(len, self._idle.values())) + sum(map(len, self._settling.values()))

    async def take(self, address: SourceAddress) -> Session | None:
        """Return a session that is alive, the latest used first, None when there is none.

        One that is being cleared is waited for: a source never has more connections than runs.
        """
        while (session := self._idle_one(address)) is None and (settling := self._settling.get(address)):
            await asyncio.wait(settling, return_when=asyncio.FIRST_COMPLETED)
        return session

    def settle(
        self, address: SourceAddress, session: Session, cleanup: Callable[[], Awaitable[None]]
    ) -> None:
        """Clear a session after its run, in the background, and keep it when that went well."""
        task = asyncio.create_task(self._settle(address, session, cleanup))
        settling = self._settling.setdefault(address, set())
        settling.add(task)
        task.add_done_callback(lambda done: self._settled(address, done))

    def _settled(self, address: SourceAddress, task: asyncio.Task[None]) -> None:
        settling = self._settling[address]
        settling.discard(task)
        if not settling:
            del self._settling[address]

    async def _settle(
        self, address: SourceAddress, session: Session, cleanup: Callable[[], Awaitable[None]]
    ) -> None:
        try:
            await cleanup()
        except BaseException:
            session.close()
            raise
        if session.is_clean:
            self.keep(address, session)
        else:
            await session.abandon()

    def _idle_one(self, address: SourceAddress) -> Session | None:
        idle = self._idle.get(address, [])
        while idle:
            session, timer = idle.pop()
            timer.cancel()
            if not idle:
                self._idle.pop(address, None)
            if session.is_alive:
                session.is_kept = True
                return session
            session.close()
        return None

    def keep(self, address: SourceAddress, session: Session) -> None:
        """Keep a session after its run; one that did not end cleanly is closed."""
        if self._is_closed or not session.is_clean:
            session.close()
            return
        timer = asyncio.get_running_loop().call_later(self._kept_s, self._expire, address, session)
        self._idle.setdefault(address, []).append((session, timer))

    async def close(self) -> None:
        """Close all of them and keep none from now on."""
        self._is_closed = True
        settling = [task for tasks in self._settling.values() for task in tasks]
        for task in settling:
            task.cancel()
        await asyncio.gather(*settling, return_exceptions=True)
        for idle in self._idle.values():
            for session, timer in idle:
                timer.cancel()
                session.close()
        self._idle.clear()

    def _expire(self, address: SourceAddress, session: Session) -> None:
        rest = [pair for pair in self._idle.get(address, []) if pair[0] is not session]
        if rest:
            self._idle[address] = rest
        else:
            self._idle.pop(address, None)
        session.close()
