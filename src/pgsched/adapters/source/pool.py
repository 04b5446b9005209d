"""Connections kept for the next run at the same source: only after a clean end, for a minute at most.

They count in the source's ``max_concurrency`` over all workers. So before one is kept, this process asks for
places for all that it has open, runs included, and renews that while it keeps any; others leave it as many as
were granted (``places``). What is open beyond them is closed.

A process never has more connections in all than it runs at once: one that waits for no run of this process
would only take its place from another.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from pgsched.adapters.source.places import Places
from pgsched.adapters.source.session import Session
from pgsched.application.ports.execution import Keep, SourceAddress

log = logging.getLogger(__name__)

#: seconds a connection is kept idle
KEPT_S = 60.0
#: seconds between two looks at the places that idle connections have
LOOK_EVERY_S = 2.0


#: sees to the end of what clears a session for the next run
Cleanup: TypeAlias = Callable[[], Awaitable[None]]


class _Idle(NamedTuple):
    """A session that waits for a run."""

    address: SourceAddress
    session: Session
    #: loop time at which it has waited for long enough
    until: float
    #: answers that are still to be read, None when there are none
    cleanup: Cleanup | None = None


@dataclass(slots=True)
class _Source:
    """What this process has open at one source."""

    #: sessions: busy, being cleared and idle
    opened: int = 0
    #: how many of them others leave it a place for
    places: Places = field(default_factory=Places)
    #: sessions that wait for a run, the latest used last
    idle: list[_Idle] = field(default_factory=list)
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
        #: places being given back
        self._tasks: set[asyncio.Task[None]] = set()
        #: looks after idle connections, once there is one
        self._keeper: asyncio.Task[None] | None = None

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
        self._close_surplus(source)
        while (session := await self._idle_one(source, address)) is None and source.settling:
            await asyncio.wait(source.settling, return_when=asyncio.FIRST_COMPLETED)
        return session

    def opened(self, address: SourceAddress) -> None:
        """Count a session that is about to be made; if there are too many, close one that waits for a run."""
        self._sources.setdefault(address.source_id, _Source()).opened += 1
        if self._most is not None and sum(source.opened for source in self._sources.values()) > self._most:
            waiting = [source for source in self._sources.values() if source.idle]
            if waiting:
                longest = min(waiting, key=lambda source: source.idle[0].until)
                self._expire(longest, longest.idle[:1])

    def closed(self, address: SourceAddress) -> None:
        """Count a session off that was closed elsewhere, or never came about."""
        self._sources[address.source_id].opened -= 1

    async def has_place(self, address: SourceAddress, keep: Keep) -> bool:
        """Say whether a session whose run ends may stay open; one that may not is counted off.

        It may when there is a place for every one that stays.
        """
        source = self._sources[address.source_id]
        if not self._is_closed:
            source.places.ask_by(keep)
            if await source.places.have(lambda: source.opened):
                return True
            self._close_surplus(source)
            if source.opened <= source.places.now:
                return True
        source.opened -= 1
        return False

    def settle(
        self,
        address: SourceAddress,
        session: Session,
        cleanup: Cleanup,
        *,
        is_sent: bool,
        keep_s: float | None = None,
    ) -> None:
        """Keep a session whose run is over, once it is cleared.

        Where all that clears it was sent already (``is_sent``), whoever takes it next reads the answers,
        which are there by then; otherwise it is cleared in the background.
        """
        kept_s = self._kept_s if keep_s is None else keep_s
        if self._keeper is None and not self._is_closed:
            self._keeper = asyncio.create_task(self._look_after())
        if is_sent:
            self._rest(address, session, kept_s, cleanup)
            return
        settling = self._sources[address.source_id].settling
        task = asyncio.create_task(self._settle(address, session, cleanup, kept_s))
        settling.add(task)
        task.add_done_callback(settling.discard)

    async def close(self) -> None:
        """Close all of them, keep none from now on, and give their places back; runs under way go on."""
        self._is_closed = True
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        settling = [task for source in self._sources.values() for task in source.settling]
        for task in settling:
            task.cancel()
        await asyncio.gather(*settling, return_exceptions=True)
        for source in self._sources.values():
            self._close_idle(source, len(source.idle))
        # a run has its own place
        nothing = [source.places.give_back(lambda: 0) for source in self._sources.values()]
        await asyncio.gather(*nothing, return_exceptions=True)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _settle(
        self,
        address: SourceAddress,
        session: Session,
        cleanup: Cleanup,
        kept_s: float,
    ) -> None:
        if await self._is_cleared(address, session, cleanup):
            self._rest(address, session, kept_s)

    async def _is_cleared(self, address: SourceAddress, session: Session, cleanup: Cleanup) -> bool:
        """See to the end of the cleanup; a session that cannot be cleared is closed."""
        try:
            await cleanup()
            if not session.is_clean:
                await session.abandon()
        except BaseException:
            self._close(address, session)
            raise
        if not session.is_clean:
            self._close(address, session)
        return session.is_clean

    def _rest(
        self, address: SourceAddress, session: Session, kept_s: float, cleanup: Cleanup | None = None
    ) -> None:
        if self._is_closed:
            self._close(address, session)
            return
        until = asyncio.get_running_loop().time() + kept_s
        self._sources[address.source_id].idle.append(_Idle(address, session, until, cleanup))

    async def _idle_one(self, source: _Source, address: SourceAddress) -> Session | None:
        while source.idle:
            one = source.idle.pop()
            session = one.session
            if one.address != address:
                self._close(one.address, session)
            elif one.cleanup is None or await self._is_cleared(address, session, one.cleanup):
                # after what clears it was read there is seldom more; the run is begun anew if there is
                if session.is_alive if one.cleanup is None else session.is_idle:
                    session.is_kept = True
                    return session
                self._close(address, session)
        return None

    async def _look_after(self) -> None:
        """Close what has waited for long or has no place, and renew the places of the rest, for ever."""
        loop = asyncio.get_running_loop()
        pause = min(LOOK_EVERY_S, self._kept_s / 2)
        while True:
            await asyncio.sleep(pause)
            next_look = loop.time() + pause
            for source in self._sources.values():
                if waited := [one for one in source.idle if one.until < next_look]:
                    self._expire(source, waited)
            await asyncio.gather(*map(self._see_to_places, self._sources.values()))

    async def _see_to_places(self, source: _Source) -> None:
        self._close_surplus(source)
        try:
            if source.places.is_old and (source.idle or source.settling):
                await source.places.have(lambda: source.opened)
            # of connections that ended with their runs
            await _give_back(source)
        except Exception:
            # nobody awaits the task; what cannot be renewed is closed when its time is over
            log.exception("places at a source were not renewed", extra={"action": "source.places"})
        self._close_surplus(source)

    def _close_surplus(self, source: _Source) -> None:
        self._close_idle(source, source.opened - source.places.now)

    def _close_idle(self, source: _Source, most: int) -> None:
        """Close those that have waited longest."""
        while source.idle and most > 0:
            one = source.idle.pop(0)
            self._close(one.address, one.session)
            most -= 1

    def _expire(self, source: _Source, idle: Sequence[_Idle]) -> None:
        """Close those that have waited for long, and leave their places to others."""
        for one in idle:
            source.idle.remove(one)
            self._close(one.address, one.session)
        task = asyncio.get_running_loop().create_task(_give_back(source))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _close(self, address: SourceAddress, session: Session) -> None:
        session.close()
        self.closed(address)


async def _give_back(source: _Source) -> None:
    await source.places.give_back(lambda: source.opened)
