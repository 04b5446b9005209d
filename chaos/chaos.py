"""One chaos: the fleet at work, faults thrown at it, and the quiet at the end in which it is judged."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg

from chaos import failpoints
from chaos.fleet import Fleet, Member
from chaos.load import Query
from chaos.place import Place
from chaos.proxy import Link, Proxy

WITNESS = Path(__file__).with_name("witness.sql")
_BY_HAND = """
insert into query_run (query_id, scheduled_at, job_timezone, status, trigger, data_source_id, ready_at,
    exclusive)
select id, clock_timestamp(), timezone, 'queued', 'manual', data_source_id, clock_timestamp(),
    overlap_policy <> 'allow'
from query_job where id = %s"""
_CANCEL_ONE = """
update query_run set cancel_requested_at = clock_timestamp()
where status = 'running'
  and id = (select id from query_run where status = 'running' order by random() limit 1)"""


@dataclass(kw_only=True)
class Chaos:
    """What faults can reach."""

    place: Place
    fleet: Fleet
    rng: random.Random
    sources: dict[str, Proxy]
    queries: dict[int, Query]
    #: workers that shall be there
    workers: int = 3
    #: API processes that shall be there
    apis: int = 1
    #: faults at the same time
    at_once: int = 2
    #: faults that happened, by kind
    done: Counter[str] = field(default_factory=Counter)
    #: when the server was back and when the next claim was made, unix seconds
    returns: list[tuple[float, float]] = field(default_factory=list)
    #: what could not be done on this machine
    notes: list[str] = field(default_factory=list)
    #: held while the metadata server is down on purpose
    meta_busy: asyncio.Lock = field(default_factory=asyncio.Lock)
    source_busy: asyncio.Lock = field(default_factory=asyncio.Lock)
    wrong_answers: list[str] = field(default_factory=list)
    answers: Counter[int] = field(default_factory=Counter)
    _over: bool = False

    async def ask(
        self, statement: Any, parameters: Any = None, *, source: bool = False
    ) -> list[tuple[Any, ...]]:
        """Run SQL as the superuser of the metadata database, or of the source."""
        conninfo = self.place.source_admin if source else self.place.meta_admin
        async with await psycopg.AsyncConnection.connect(
            conninfo, autocommit=True, connect_timeout=3, application_name="driver"
        ) as connection:
            cursor = await connection.execute(statement, parameters)
            return await cursor.fetchall() if cursor.description is not None else []

    async def keep(self) -> None:
        """Replace members that ended, after a while."""
        while not self._over:
            await asyncio.sleep(0.2)
            for member in (*self.fleet.workers, *self.fleet.apis):
                if not member.is_alive and not any(hurt.who == member.name for hurt in self.fleet.hurts):
                    # a failpoint's note may be on its way to whoever waits for it
                    await asyncio.sleep(2.5)
                    if "upgrade pgsched" in self.fleet.said(member):
                        # started by an older release in the moment of an upgrade, it refuses as it should
                        self.fleet.hurt(member.name, "stop")
                    elif not any(hurt.who == member.name for hurt in self.fleet.hurts):
                        self.wrong_answers.append(
                            f"{member.name} ended by itself: {self.fleet.said(member)[-400:]}"
                        )
                        self.fleet.hurt(member.name, "kill")
            if len(self.fleet.alive()) < self.workers:
                await asyncio.sleep(self.rng.uniform(0, 0.8))
                await self.fleet.worker()
            if sum(api.is_alive for api in self.fleet.apis) < self.apis:
                await self.fleet.api()

    async def people(self) -> None:
        """Ask for runs by hand and cancel some."""
        names = [(query_id, query) for query_id, query in self.queries.items() if query.every_s]
        while not self._over:
            await asyncio.sleep(self.rng.uniform(0.5, 1.5))
            with suppress(psycopg.Error, OSError):
                if self.rng.random() < 0.5:
                    query_id, _ = self.rng.choice(names)
                    await self.ask(
                        _BY_HAND,
                        [query_id],
                    )
                else:
                    await self.ask(_CANCEL_ONE)

    async def readers(self) -> None:
        """Read like dashboards do: what is latest never goes back, and no answer is a surprise."""
        import httpx

        newest: dict[tuple[str, str], tuple[datetime, int]] = {}
        names = [query.name for query in self.queries.values() if not query.broken and query.rows < 1000]
        async with httpx.AsyncClient(timeout=20) as client:
            while not self._over:
                await asyncio.sleep(0.05)
                apis = [api for api in self.fleet.apis if api.is_alive]
                if not apis:
                    continue
                api, name = self.rng.choice(apis), self.rng.choice(names)
                url = f"http://127.0.0.1:{api.port}/api/queries/{name}/runs/latest"
                try:
                    answer = await client.get(url)
                except httpx.HTTPError:
                    continue
                self.answers[answer.status_code] += 1
                if answer.status_code not in (200, 404, 503):
                    self.wrong_answers.append(f"{url}: {answer.status_code} {answer.text[:200]}")
                if answer.status_code != 200:
                    continue
                run = answer.json()
                place = (datetime.fromisoformat(run["scheduled_at"]), run["id"])
                if place < newest.get((api.name, name), place):
                    self.wrong_answers.append(f"{name} went back from {newest[api.name, name]} to {place}")
                newest[api.name, name] = place
                made_by = {row["made_by"] for row in run["result"]["data"]}
                if made_by != {f"pgsched:{run['id']}/{run['attempt']}"}:
                    self.wrong_answers.append(
                        f"run {run['id']}/{run['attempt']} shows the result of {made_by}"
                    )

    async def faults(self, seconds: float, kinds: list[Any], first: Any) -> None:
        """Throw faults until the time is over, ``first`` first; every kind comes before one comes twice."""
        end = time.monotonic() + seconds
        going: set[asyncio.Task[None]] = set()
        bag: list[Any] = [first]
        while time.monotonic() < end:
            going = {task for task in going if not task.done() or task.result()}
            if len(going) < self.at_once:
                if not bag:
                    bag = list(kinds)
                    self.rng.shuffle(bag)
                going.add(asyncio.create_task(self._one(bag.pop())))
            await asyncio.sleep(self.rng.uniform(0.1, 0.8))
        if going:
            await asyncio.wait(going)
            for task in going:
                task.result()

    async def _one(self, kind: Any) -> None:
        try:
            happened = await kind(self)
        except (psycopg.Error, OSError) as error:
            # the database that a fault wanted to ask was away because of another
            self.notes.append(f"{kind.__name__}: {type(error).__name__}")
            return
        if happened:
            self.done[happened] += 1

    async def heal(self) -> None:
        """Undo every fault and wait until the whole fleet is there."""
        for proxy in (*self.sources.values(), *(member.link for member in self.fleet.workers)):
            await proxy.spoil(Link.GOOD)
        self.fleet.hosts.mend()
        for member in self.fleet.alive():
            member.send(signal.SIGCONT)
        for name in failpoints.NAMES:
            (self.place.folder / "armed" / name).unlink(missing_ok=True)
        if self.place.meta.pid is None:
            await self.place.meta.start()

    async def rest(self) -> Any:
        """Let the fleet come to rest; return the instant up to which everything must have an outcome."""
        await asyncio.sleep(self.fleet.lease_s + 7)
        ((until,),) = await self.ask("select clock_timestamp() - interval '6 seconds'")
        return until

    def stale_writes(self, fate: str) -> int:
        """How many writes were sent after their lease had ended and were ``refused`` or ``landed``."""
        return len(list((self.place.folder / "armed" / "stale").glob(f"{fate}-*")))

    def finish(self) -> None:
        """End the tasks that keep going."""
        self._over = True

    async def hit(self, name: str, action: str, *, within_s: float) -> Member | None:
        """Arm a failpoint and wait for a member to meet its fate there."""
        armed = self.place.folder / "armed"
        for note in (armed / "hits").glob(f"{name}-*"):
            note.unlink()
        (armed / f"{name}.new").write_text(action)
        (armed / f"{name}.new").rename(armed / name)
        end = time.monotonic() + within_s
        while time.monotonic() < end:
            for member in self.fleet.workers:
                if self._note_of(name, member).exists():
                    return member
            await asyncio.sleep(0.02)
        try:
            (armed / name).unlink()
        except FileNotFoundError:
            # taken at the last moment; its note is on the way
            await asyncio.sleep(1)
            return next((m for m in self.fleet.workers if self._note_of(name, m).exists()), None)
        return None

    def _note_of(self, name: str, member: Member) -> Path:
        return self.place.folder / "armed" / "hits" / f"{name}-{member.process.pid}"
