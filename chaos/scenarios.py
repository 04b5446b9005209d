"""A short scenario for each planted defect, in which it must show; without the defect nothing must."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from chaos import faults
from chaos.chaos import Chaos
from chaos.load import Query
from chaos.mutants import DEFECTS
from chaos.run import beside, judge, stage

#: seconds of a lease here: short, so that many end
LEASE_S = 4.0


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What to set up, what to do, and which of the checker's kinds must be found."""

    queries: tuple[Query, ...]
    act: Callable[[Chaos], Awaitable[object]]
    finds: frozenset[str]
    setup: str = ""


async def _wait(_chaos: Chaos) -> None:
    await asyncio.sleep(6)


#: runs that a worker held, of which somebody else is at work on a later attempt
_RETAKEN = """
select count(*) filter (where r.status = 'running' and last.writer <> %(frozen)s), count(*)
from (select distinct on (run_id) run_id, writer from witness.run
      where old_status = 'queued' and status = 'running' and at < to_timestamp(%(since)s)
      order by run_id, seq desc) held
join query_run r on r.id = held.run_id
cross join lateral (
    select writer from witness.run
    where run_id = r.id and old_status = 'queued' and status = 'running' order by seq desc limit 1) last
where held.writer = %(frozen)s and not exists (
    select from witness.run w
    where w.run_id = r.id and w.old_status = 'running' and w.at < to_timestamp(%(since)s) and w.seq > (
        select max(seq) from witness.run c
        where c.run_id = r.id and c.status = 'running' and c.old_status = 'queued'
          and c.at < to_timestamp(%(since)s)) and w.status <> 'running')"""


async def _freeze_writers(chaos: Chaos) -> None:
    """Freeze whoever is about to record a success until others are at work on all that it held."""
    for _ in range(4):
        if chaos.stale_writes("landed"):
            return
        member = await chaos.hit("succeed_borrowed", "stop", within_s=20)
        if member is None:
            continue
        hurt = chaos.fleet.hurt(member.name, "freeze")
        told = {"frozen": member.name, "since": hurt.since}
        end = asyncio.get_running_loop().time() + 30
        while asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.05)
            ((retaken, held),) = await chaos.ask(_RETAKEN, told)
            if held and retaken == held:
                break
        member.send(signal.SIGCONT)
        hurt.until = time.time() + 2
        await asyncio.sleep(1)


async def _kill_holders(chaos: Chaos) -> None:
    for _ in range(4):
        await asyncio.sleep(2.5)
        await faults.kill_worker(chaos)


async def _kill_between(chaos: Chaos) -> None:
    for _ in range(3):
        await faults.kill_at("between")(chaos)


async def _cut_off(chaos: Chaos) -> None:
    await asyncio.sleep(3)
    await asyncio.gather(*(faults.cut_off(chaos) for _ in range(3)))


def _last_fold() -> datetime:
    """The last Sunday of October that is over, when Berlin sets its clocks back at 01:00 UTC."""
    now = datetime.now(UTC)
    for year in (now.year, now.year - 1):
        day = datetime(year, 10, 31, 1, tzinfo=UTC)
        day -= timedelta(days=(day.weekday() + 1) % 7)
        if day < now - timedelta(days=1):
            return day
    raise AssertionError("unreachable")


def _fold_query() -> Query:
    behind = datetime.now(UTC) - (_last_fold() - timedelta(days=3))
    return Query(
        name="fold",
        every_s=0,
        cron="30 2 * * *",
        timezone="Europe/Berlin",
        behind_s=int(behind.total_seconds()),
    )


_TICKS = tuple(Query(name=f"tick{n}", every_s=1) for n in range(8))
_SLOW = tuple(Query(name=f"slow{n}", every_s=6, sleep_s=6) for n in range(4))
_LASTING = tuple(Query(name=f"lasting{n}", every_s=30, sleep_s=25) for n in range(6))

SCENARIOS: dict[str, Scenario] = {
    "finish_by_id": Scenario(queries=_SLOW, act=_freeze_writers, finds=frozenset({"stale"})),
    "finish_by_status": Scenario(queries=_SLOW, act=_freeze_writers, finds=frozenset({"stale"})),
    "rescue_reads_then_writes": Scenario(
        queries=(*_SLOW, *_LASTING), act=_kill_holders, finds=frozenset({"rescue"})
    ),
    "no_unique_index": Scenario(
        queries=_TICKS, act=_wait, finds=frozenset({"duplicated"}), setup="drop index query_run_instant_key"
    ),
    "local_clock": Scenario(queries=_TICKS, act=_wait, finds=frozenset({"phantom"})),
    "blob_apart": Scenario(
        queries=_TICKS,
        act=_kill_between,
        finds=frozenset({"torn"}),
        setup="drop trigger query_run_has_blob on query_run;"
        "drop trigger query_run_blob_has_success on query_run_blob",
    ),
    "drift": Scenario(queries=_TICKS, act=_wait, finds=frozenset({"phantom", "missed"})),
    "fold_twice": Scenario(
        queries=(_fold_query(),),
        act=_wait,
        finds=frozenset({"phantom", "gap"}),
        setup="update query_job set next_run_at = anchor_at + interval '1 minute' where name = 'fold'",
    ),
    "no_self_kill": Scenario(queries=_LASTING, act=_cut_off, finds=frozenset({"self_kill"})),
    "skipped_gap": Scenario(
        queries=(Query(name="behind", every_s=10, behind_s=3600), *_TICKS[:1]),
        act=_wait,
        finds=frozenset({"missed"}),
    ),
}


async def play(name: str, *, defective: bool = True) -> dict[str, list[str]]:
    """Play one scenario, with its defect or without; return what the checker found."""
    scenario = SCENARIOS[name]
    setup = scenario.setup if defective or "drop" not in scenario.setup else ""
    async with (
        stage(
            scenario.queries,
            random.Random(1),
            lease_s=LEASE_S,
            workers=3,
            apis=0,
            mutant=name if defective else "",
            setup=setup,
        ) as chaos,
        beside(chaos.keep()),
    ):
        await asyncio.sleep(2)
        await scenario.act(chaos)
        checker = await judge(chaos)
        for text in chaos.wrong_answers:
            checker.found.add("answer", text)
        return dict(checker.found.wrong)


async def catch(names: list[str] | None, *, control: bool = False) -> int:
    """Play the scenarios, print what was found; 0 when every defect was caught (or, in a control, none)."""
    missed = 0
    for name in names or list(DEFECTS):
        found = await play(name, defective=not control)
        caught = SCENARIOS[name].finds & set(found)
        missed += bool(found) if control else not caught
        told = ", ".join(f"{kind} ({len(texts)})" for kind, texts in found.items()) or "nothing"
        print(f"{name}: {'clean' if control else 'caught' if caught else 'NOT CAUGHT'}: {told}", flush=True)
        for kind in sorted(caught or found):
            print(f"    {kind}: {found[kind][0]}", flush=True)
    return 1 if missed else 0
