"""The long test: everything together, then the verdict in numbers."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import random
import re
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import psycopg

from chaos.chaos import WITNESS, Chaos
from chaos.checker import Checker
from chaos.faults import ALL, freeze_at
from chaos.fleet import Fleet
from chaos.load import BACKLOG, LOAD, SALT, Query, furnish
from chaos.namespaces import hosts
from chaos.place import place
from chaos.proxy import Proxy
from chaos.record import read
from chaos.takeover import takeovers, told, told_returns

#: an attempt to write for a run that another holds by now, refused by its token
_REFUSED = re.compile(r"run\.lease_lost")


@asynccontextmanager
async def stage(
    queries: tuple[Query, ...],
    rng: random.Random,
    *,
    lease_s: float,
    workers: int,
    apis: int,
    mutant: str = "",
    setup: str = "",
) -> AsyncIterator[Chaos]:
    """Servers, proxies, queries and the witness; the fleet comes with ``chaos.keep``."""
    async with place(own_disk=not mutant) as where, hosts(wanted=bool(apis)) as own_hosts:
        address = (where.meta.superuser.host, where.source.superuser.port)
        sources = {name: Proxy(address, host=own_hosts.sources_at) for name in ("shop", "narrow")}
        for proxy in sources.values():
            await proxy.open()
        for folder in ("armed/hits", "armed/stale", "clock"):
            (where.folder / folder).mkdir(parents=True)
        with psycopg.connect(where.meta_admin, autocommit=True) as connection:
            connection.execute(WITNESS.read_text())  # type: ignore[arg-type]
        known = await furnish(where, sources, queries)
        if setup:
            with psycopg.connect(where.meta_admin, autocommit=True) as connection:
                connection.execute(setup)  # type: ignore[arg-type]
        fleet = Fleet(place=where, lease_s=lease_s, mutant=mutant, hosts=own_hosts)
        try:
            yield Chaos(
                place=where, fleet=fleet, rng=rng, sources=sources, queries=known, workers=workers, apis=apis
            )
        finally:
            await fleet.close()
            for proxy in sources.values():
                await proxy.close()


async def judge(chaos: Chaos) -> Checker:
    """Heal everything, let it rest, read the record; the checker has applied its rules."""
    await chaos.heal()
    until = await chaos.rest()
    where = chaos.place
    record = await asyncio.to_thread(read, where.meta_admin, where.source_admin, where.source_log, SALT)
    chaos.finish()
    if os.environ.get("CHAOS_KEEP") == "1":
        # what the verdict was found in, to judge it again with other rules
        kept = (record, chaos.queries, chaos.fleet.hurts, chaos.fleet.lease_s, until)
        (where.folder / "record.pickle").write_bytes(pickle.dumps(kept))
    checker = Checker(record, chaos.queries, chaos.fleet.hurts, lease_s=chaos.fleet.lease_s, until=until)
    checker.check()
    if chaos.stale_writes("landed"):
        checker.found.add(
            "stale", f"{chaos.stale_writes('landed')} writes sent after their lease changed something"
        )
    return checker


@asynccontextmanager
async def beside(*works: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Let coroutines go on during the block; what they raised is raised at its end."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def run(
    *, seconds: float, rng: random.Random, seed: int, lease_s: float, workers: int, apis: int, at_once: int
) -> int:
    """Run it, print the verdict, return the exit code."""
    print(
        f"chaos: seed {seed}, {seconds:g} s of faults, lease {lease_s:g} s, {workers} workers, {apis} API",
        flush=True,
    )
    async with (
        stage(LOAD + BACKLOG, rng, lease_s=lease_s, workers=workers, apis=apis) as chaos,
        beside(chaos.keep(), chaos.people(), chaos.readers()),
    ):
        chaos.at_once = at_once
        if chaos.place.disk is None:
            chaos.notes.append("no tmpfs could be mounted: the disk was never full")
        if not chaos.fleet.hosts.all:
            chaos.notes.append("no network namespaces could be made: black holes were the proxies' alone")
        await asyncio.sleep(4)
        await chaos.faults(seconds, list(ALL), freeze_at("succeed_borrowed"))
        return report(chaos, await judge(chaos))


def report(chaos: Chaos, checker: Checker) -> int:
    """Print what was done and found; return the exit code."""
    fleet, findings = chaos.fleet, checker.found
    said = {member.name: fleet.log(member) + fleet.said(member) for member in (*fleet.workers, *fleet.apis)}
    for name, text in said.items():
        if "Traceback" in text:
            findings.add("traceback", f"{name}: {text[text.index('Traceback') - 300 :][:1500]}")
    for text in chaos.wrong_answers:
        findings.add("answer", text)
    refused = chaos.stale_writes("refused") + sum(len(_REFUSED.findall(text)) for text in said.values())
    if not refused:
        findings.add("nothing proved", "no stale write was even tried")
    print(f"{sum(chaos.done.values())} faults of {len(chaos.done)} kinds:")
    for kind, count in sorted(chaos.done.items()):
        print(f"  {count:4} {kind}")
    figures: dict[str, Any] = {
        "members": len(fleet.workers) + len(fleet.apis),
        **dict(findings.seen),
        "stale writes refused": refused,
        "API answers": dict(sorted(chaos.answers.items())),
    }
    print(json.dumps(figures))
    ready = fleet.ready()
    for line in (*told(takeovers(checker, ready)), *told_returns(chaos.returns, fleet.hurts, ready)):
        print(line)
    for note in sorted(set(chaos.notes)):
        print(f"note: {note} ({chaos.notes.count(note)} times)")
    for kind, texts in findings.wrong.items():
        print(f"WRONG {kind}: {len(texts)}")
        for text in texts[:8]:
            print(f"    {text}")
    print(
        "verdict: "
        + ("broken" if findings.wrong else "nothing missed, duplicated, stuck or torn; no stale write landed")
    )
    return 1 if findings.wrong else 0
