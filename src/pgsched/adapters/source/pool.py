"""Connections kept for the next run at the same source: only after a clean end, for a minute at most."""

from __future__ import annotations

import asyncio

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
        self._is_closed = False

    def take(self, address: SourceAddress) -> Session | None:
        """Return a session that is alive, the latest used first, None when there is none."""
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

    def close(self) -> None:
        """Close all of them and keep none from now on."""
        self._is_closed = True
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
