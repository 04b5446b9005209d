"""Throw statements at the guard, run what it allows, and look whether anything at the source changed.

``python -m fuzz [--minutes M] [--seed N] [--pg-bin FOLDER]``; the same seed throws the same statements. What
is thrown: a call of every built-in function with typed arguments, the statements of ``corpus.sql`` mutated,
and statements drawn by hypothesis. Each is judged by ``pgsched sql check --jsonl`` in a process whose memory
is limited; then one fence at a time has to hold alone (``fuzz.arena``). Ends with 1 when the guard died, hung
or lied, or when the canary changed; what did it is printed and stands in ``.fuzz/failures.jsonl``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections import Counter
from pathlib import Path

from fuzz.arena import Arena, Throw
from fuzz.calls import calls
from fuzz.canary import furnished
from fuzz.grammar import drawn
from fuzz.judge import GuardFault, Judge
from fuzz.mutate import Mutator

#: statements judged together
BATCH = 100
FAILURES = Path(".fuzz/failures.jsonl")


class Session:
    """One run of the fuzzer."""

    def __init__(self, seed: int, until: float) -> None:
        self.random = random.Random(seed)
        self.mutator = Mutator(self.random)
        self.until = until
        self.codes: Counter[str] = Counter()
        self.failures: list[dict[str, object]] = []

    async def sweep(self, judge: Judge, arena: Arena) -> None:
        """Call every built-in function, in an order of the seed's, for a third of the time at most."""
        statements = calls(arena.canary.admin)
        self.random.shuffle(statements)
        until = time.monotonic() + (self.until - time.monotonic()) / 3
        for start in range(0, len(statements), BATCH):
            if time.monotonic() >= until:
                return
            await self.throw(judge, arena, statements[start : start + BATCH])

    async def wander(self, judge: Judge, arena: Arena) -> None:
        """Throw mutated and drawn statements until the time is over."""
        while time.monotonic() < self.until:
            statements = [self.mutator.mutated() for _ in range(BATCH)]
            statements += drawn(BATCH // 2, self.random.getrandbits(32))
            await self.throw(judge, arena, statements)

    async def throw(self, judge: Judge, arena: Arena, statements: list[str]) -> None:
        """Judge statements and let the arena run them."""
        try:
            verdicts = judge.verdicts(statements)
        except GuardFault as fault:
            self.fail("the guard", fault.why, fault.sql)
            return
        throws = []
        for sql, verdict in zip(statements, verdicts, strict=True):
            self.codes[verdict.code or "allowed"] += 1
            throws.append(Throw(sql=sql, is_allowed=verdict.is_allowed, is_built_in=verdict.is_built_in))
        for fence, sql, changed in await arena.run(throws):
            self.fail(fence, f"changed: {', '.join(changed)}", sql)

    def fail(self, where: str, why: str, sql: str) -> None:
        """Tell of a failure and keep it."""
        print(f"FAILURE of {where}: {why}\n  {sql[:500]!r}", flush=True)
        self.failures.append({"fence": where, "why": why, "sql": sql})
        FAILURES.parent.mkdir(exist_ok=True)
        with FAILURES.open("a") as file:
            file.write(json.dumps(self.failures[-1]) + "\n")


async def main(minutes: float, seed: int, pg_bin: Path | None) -> int:
    """Fuzz for so long; return the exit code."""
    began = time.monotonic()
    session = Session(seed, began + minutes * 60)
    async with furnished(pg_bin) as canary:
        print(f"seed {seed}, {minutes:g} minutes, Postgres {canary.version}", flush=True)
        with Judge() as judge:
            async with Arena(canary) as arena:
                await session.sweep(judge, arena)
                swept = sum(session.codes.values())
                print(f"{swept} calls of built-in functions, {session.codes['allowed']} allowed", flush=True)
                await session.wander(judge, arena)
                tell(session, arena, time.monotonic() - began)
    return 1 if session.failures else 0


def tell(session: Session, arena: Arena, seconds: float) -> None:
    """Print what was done."""
    total = sum(session.codes.values())
    print(f"{total} statements judged in {seconds:.0f} s, {total / seconds:.0f} a second:")
    for code, count in session.codes.most_common():
        print(f"  {code:28} {count:8}")
    for fence, (ran, answered) in arena.counts.items():
        print(f"held alone: {fence:32} {ran:8} statements run, {answered} without an SQL error")
    print(f"{len(session.failures)} failures")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    parser.add_argument(
        "--pg-bin", type=lambda text: Path(text).resolve(), help="programs of the Postgres to run on"
    )
    given = parser.parse_args()
    sys.exit(asyncio.run(main(given.minutes, given.seed, given.pg_bin)))
