"""What a process may trust of its memory: kept true by looking at the database several times a second.

The rule against races is an order: the epoch is read first, what depends on it after, and a value is kept
only in the generation that was there before its loading began. A generation ends when the epoch moved, and
when this process itself changed something.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from pgsched.application.ports.watch import Ended, QueryRights, Sighting, Watch
from pgsched.domain.errors import DatabaseFault, DatabaseUnavailable

#: seconds from the end of one look to the beginning of the next
EVERY_S: Final = 0.25
#: seconds after the beginning of the last look that succeeded during which memory may be believed
TRUSTED_S: Final = 1.0
#: seconds without a look after which whoever waits for the database is told that it is gone
LOST_S: Final = 3.0
#: seconds between looks that were asked for
_SOON_S: Final = 0.02
#: most queries, and most runs, that are watched at once
MOST: Final = 1024
#: seconds that a query or run is watched for after it was last asked for
_HOT_S: Final = 60.0

_log = logging.getLogger(__name__)


class Generation:
    """What was loaded since rights last changed, as far as is known here; dropped as a whole."""

    __slots__ = ("callers", "ids", "rights")

    def __init__(self, rights: Iterable[QueryRights] = ()) -> None:
        #: by query's id
        self.rights: dict[int, QueryRights] = {each.query_id: each for each in rights}
        #: query's id by name
        self.ids: dict[str, int] = {each.name: each.query_id for each in self.rights.values()}
        #: who asked, by what they showed; whoever fills it bounds it
        self.callers: dict[Any, Any] = {}


class Watching:
    """Looks, and holds what was seen."""

    def __init__(
        self,
        watch: Watch,
        *,
        lost: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the port, what to do when the database is gone, and a monotonic clock in seconds."""
        self._watch = watch
        self._lost = lost
        self._clock = clock
        #: what is known under the current epoch
        self.generation = Generation()
        #: the latest success of each watched query, as of the last look
        self.latest: dict[int, Ended | None] = {}
        #: the watched runs that are there and over, as of the last look
        self.runs: dict[int, Ended] = {}
        self._epoch = 0
        self._seen_at = float("-inf")
        #: when the database last answered, be it that its schema is another; the start counts
        self._heard_at = clock()
        self._queries = _Hot()
        self._runs = _Hot()
        self._soon = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()
        #: code of the fault that was told, None while there is none
        self._told_lost: str | None = None

    @property
    def trusted(self) -> bool:
        """Whether the database was seen within the last second, so that memory may be believed."""
        return self._clock() - self._seen_at < TRUSTED_S

    def asks_for_query(self, query_id: int) -> None:
        """Watch a query for the next minute."""
        if self._queries.add(query_id):
            self._soon.set()

    def met(self, query_id: int, latest: Ended) -> None:
        """Note that the database answered with this latest success; look again at once if that is news."""
        self._queries.add(query_id)
        if self.latest.get(query_id) != latest:
            self._soon.set()

    def asks_for_run(self, run_id: int) -> None:
        """Watch a run for the next minute."""
        if self._runs.add(run_id):
            self._soon.set()

    def forget(self) -> None:
        """Begin a new generation: this process changed something, and nobody may be answered as before."""
        self.generation = Generation()
        self._soon.set()

    async def catch_up(self) -> None:
        """Look now, so that nothing is believed any more that a change committed before now has made untrue.

        When the database cannot be seen, all that was known of rights is forgotten.
        """
        asked = self._clock()
        try:
            await self._look_since(asked)
        except DatabaseFault as fault:
            self._note(fault)
            self.forget()

    async def run(self) -> None:
        """Look until cancelled."""
        try:
            while True:
                try:
                    await self._look_since(self._clock())
                except DatabaseFault as fault:
                    self._note(fault)
                except Exception:  # whatever it was, the next look may succeed
                    _log.exception("a look at the database failed", extra={"action": "watch.error"})
                self._tell_if_lost()
                await asyncio.sleep(_SOON_S)
                self._soon.clear()
                try:
                    async with asyncio.timeout(EVERY_S - _SOON_S):
                        await self._soon.wait()
                except TimeoutError:
                    pass
        finally:
            await self._watch.close()

    async def _look_since(self, asked: float) -> None:
        """Look, unless somebody else's look that began since has just succeeded."""
        async with self._one_at_a_time:
            if self._seen_at < asked:
                await self._look(self._clock())

    async def _look(self, began: float) -> None:
        queries, runs = self._queries.at(began), self._runs.at(began)
        generation = self.generation
        seen = await self._watch.look(queries, runs)
        # Read after the epoch was: never older than it. What a change here overtook is dropped below.
        rights: dict[int, QueryRights] = {}
        moved = seen.epoch != self._epoch
        wanted = [each for each in seen.latest if moved or each not in generation.rights]
        if wanted:
            rights = dict(await self._watch.rights(wanted))
        self._take(seen, generation, rights, began=began)

    def _take(
        self, seen: Sighting, before: Generation, rights: dict[int, QueryRights], *, began: float
    ) -> None:
        self.latest = dict(seen.latest)
        self.runs = dict(seen.runs)
        if before is not self.generation:
            # Changed here meanwhile: what was read may be older than that. What was loaded since may be older
            # than the epoch that was seen.
            if seen.epoch != self._epoch:
                self.generation = Generation()
            self._soon.set()
        elif seen.epoch != self._epoch:
            self.generation = Generation(rights.values())
        else:
            for each in rights.values():
                before.rights[each.query_id] = each
                before.ids[each.name] = each.query_id
        self._epoch = seen.epoch
        self._seen_at = began
        if self._told_lost is not None:
            self._told_lost = None
            _log.info("the metadata database is back", extra={"action": "watch.back"})

    def _note(self, fault: DatabaseFault) -> None:
        if not isinstance(fault, DatabaseUnavailable):
            self._heard_at = self._clock()
        if not self.trusted and self._told_lost != fault.code:
            self._told_lost = fault.code
            _log.error("%s", fault.detail, extra={"action": "watch.lost", "error_code": fault.code})

    def _tell_if_lost(self) -> None:
        if self._clock() - max(self._seen_at, self._heard_at) > LOST_S:
            self._lost()


class _Hot:
    """The ids asked for lately: bounded, the one asked for longest ago goes first."""

    def __init__(self) -> None:
        #: asked for since the last look
        self._asked: set[int] = set()
        #: seconds of the clock at the look after the last asking; in that order
        self._hot: dict[int, float] = {}

    def add(self, each: int) -> bool:
        """Note that it was asked for; whether it was not watched before."""
        if each in self._asked or len(self._asked) >= MOST:
            return False
        self._asked.add(each)
        return each not in self._hot

    def at(self, now: float) -> list[int]:
        """Return what is watched in a look that begins now."""
        kept = {each: at for each, at in self._hot.items() if now - at < _HOT_S and each not in self._asked}
        kept.update(dict.fromkeys(self._asked, now))
        for each in list(kept)[: max(len(kept) - MOST, 0)]:
            del kept[each]
        self._hot, self._asked = kept, set()
        return list(kept)
