"""Connections kept for the next run at the same source: only after a clean end, for a minute at most.

They count in the source's ``max_concurrency`` over all workers. So before one is kept, ``keep`` notes how
many this process may have open, runs included; others leave it that many places until it says less or the
note expires. Notes are made when the number grows and renewed once a minute, not for each run.

A process never has more connections in all than it runs at once: one that waits for no run of this process
would only take its place from another.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from pgsched.adapters.source.session import Session
from pgsched.application.ports.execution import Keep, SourceAddress
from pgsched.domain.errors import DatabaseFault

#: seconds a connection is kept idle
KEPT_S = 60.0
#: seconds beyond that for which a note holds, so that it need not be renewed with each run
NOTE_EXTRA_S = 60.0
#: seconds that noting may take; it must not hold up a run whose rows are all there
_NOTE_TIMEOUT_S = 1.0


@dataclass(slots=True)
class _Source:
    """What this process has open at one source."""

    #: sessions: busy, being cleared and idle
    opened: int = 0
    #: how many were noted
    noted: int = 0
    #: until when that note holds, loop seconds
    until: float = 0.0
    #: how the last run of the source noted
    keep: Keep | None = None
    #: sessions that wait for a run, the latest used last
    idle: list[tuple[SourceAddress, Session, asyncio.TimerHandle]] = field(default_factory=list)
    #: sessions whose runs are over and that are being cleared for the next one
    settling: set[asyncio.Task[None]] = field(default_factory=set)


class KeptSessions:
    """Idle sessions by their whole address, password included: who knows less gets none of them."""

    def __init__(self, *, kept_s: float, most: int | None) -> None:
        """Start empty; ``most`` connections in all before an idle one is closed for each new one."""
        self._kept_s = kept_s
        self._most = most
        self._sources: dict[int, _Source] = {}
        self._is_closed = False
        #: notes being taken back
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        """How many are idle or being cleared for the next run."""
        return sum(len(source.idle) + len(source.settling) for source in self._sources.values())

    async def take(self, address: SourceAddress) -> Session | None:
        """Return a session that is alive, the latest used first, None when there is none.

        One that is being cleared is waited for: a source never has more connections than runs. Those of the
        same source under another address are closed: the source was changed.
        """
        source = self._sources.get(address.source_id)
        if source is None:
            return None
        while (session := self._idle_one(source, address)) is None and source.settling:
            await asyncio.wait(source.settling, return_when=asyncio.FIRST_COMPLETED)
        return session

    def opened(self, address: SourceAddress) -> None:
        """Count a session that is about to be made; if there are too many, close one that waits for a run."""
        self._sources.setdefault(address.source_id, _Source()).opened += 1
        if self._most is not None and sum(source.opened for source in self._sources.values()) > self._most:
            waiting = [source for source in self._sources.values() if source.idle]
            if waiting:
                longest = min(waiting, key=lambda source: source.idle[0][2].when())
                kept_for, session, timer = longest.idle[0]
                timer.cancel()
                self._expire(kept_for, session)

    def closed(self, address: SourceAddress) -> None:
        """Count a session off that was closed elsewhere, or never came about."""
        self._sources[address.source_id].opened -= 1

    async def note(self, address: SourceAddress, keep: Keep, keep_s: float | None = None) -> bool:
        """Make sure that as many as are open now are noted for as long as one is kept."""
        kept_s = self._kept_s if keep_s is None else keep_s
        if self._is_closed:
            return False
        source = self._sources[address.source_id]
        now = asyncio.get_running_loop().time()
        source.keep = keep
        # clearing a session takes a moment, too
        if source.noted >= source.opened and source.until >= now + kept_s + _NOTE_TIMEOUT_S:
            return True
        wanted, for_s = max(source.opened, source.noted), kept_s + NOTE_EXTRA_S
        try:
            async with asyncio.timeout(_NOTE_TIMEOUT_S):
                await keep(wanted, for_s)
        except (DatabaseFault, TimeoutError):
            return False
        source.noted, source.until = max(source.noted, wanted), max(source.until, now + for_s)
        return True

    def settle(
        self,
        address: SourceAddress,
        session: Session,
        cleanup: Callable[[], Awaitable[None]],
        keep_s: float | None = None,
    ) -> None:
        """Clear a session after its run, in the background, and keep it when that went well."""
        kept_s = self._kept_s if keep_s is None else keep_s
        settling = self._sources[address.source_id].settling
        task = asyncio.create_task(self._settle(address, session, cleanup, kept_s))
        settling.add(task)
        task.add_done_callback(settling.discard)

    async def close(self) -> None:
        """Close all of them, keep none from now on, and take the notes back."""
        self._is_closed = True
        settling = [task for source in self._sources.values() for task in source.settling]
        for task in settling:
            task.cancel()
        await asyncio.gather(*settling, return_exceptions=True)
        for source_id, source in self._sources.items():
            for address, session, timer in source.idle:
                timer.cancel()
                self._close(address, session)
            source.idle.clear()
            await self._note_less(source_id)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _settle(
        self,
        address: SourceAddress,
        session: Session,
        cleanup: Callable[[], Awaitable[None]],
        kept_s: float,
    ) -> None:
        try:
            await cleanup()
            if not session.is_clean:
                await session.abandon()
        except BaseException:
            self._close(address, session)
            raise
        if self._is_closed or not session.is_clean:
            self._close(address, session)
            return
        timer = asyncio.get_running_loop().call_later(kept_s, self._expire, address, session)
        self._sources[address.source_id].idle.append((address, session, timer))

    def _idle_one(self, source: _Source, address: SourceAddress) -> Session | None:
        while source.idle:
            kept_for, session, timer = source.idle.pop()
            timer.cancel()
            if kept_for == address and session.is_alive:
                session.is_kept = True
                return session
            self._close(kept_for, session)
        return None

    async def _note_less(self, source_id: int) -> None:
        source = self._sources[source_id]
        if source.keep is None or source.noted <= source.opened:
            return
        source.noted = source.opened
        # what is not told now expires by itself
        with contextlib.suppress(DatabaseFault, TimeoutError):
            async with asyncio.timeout(_NOTE_TIMEOUT_S):
                await source.keep(source.noted, self._kept_s + NOTE_EXTRA_S)

    def _expire(self, address: SourceAddress, session: Session) -> None:
        source = self._sources[address.source_id]
        source.idle = [entry for entry in source.idle if entry[1] is not session]
        self._close(address, session)
        task = asyncio.get_running_loop().create_task(self._note_less(address.source_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _close(self, address: SourceAddress, session: Session) -> None:
        session.close()
        self.closed(address)
