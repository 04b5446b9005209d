"""The ledger against a life of a query made up at random: everything is told once, and nothing is made up."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest
from factories import failure, new_source, success, worker_info

from pgsched.domain.audit import Actor
from pgsched.domain.ledger import Fate
from pgsched.domain.planning import plan_due
from pgsched.entrypoints.in_memory import in_memory

BY = Actor(name="test")
SCHEDULES = (
    *(("interval", period) for period in ("PT7S", "PT1M", "PT10M", "PT1H", "P1D")),
    *(("cron", expr) for expr in ("*/5 * * * *", "30 2 * * *", "15 1-3 * * *", "@hourly")),
)
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe")
#: half an hour or two before clocks change, and a day without a change
STARTS = tuple(
    datetime(2099, *rest, tzinfo=UTC)
    for rest in ((3, 29, 0, 30), (10, 24, 23, 30), (3, 8, 6), (11, 1, 4), (6, 1, 12))
)
#: what an instant without a row of its own may be said to be once it has come
WITHOUT_A_ROW = {Fate.DISABLED, Fate.MISSED, Fate.PAUSED, Fate.SKIPPED, Fate.DUE}
UNTOLD = {Fate.UNRECORDED, Fate.BEFORE, Fate.DELETED}


class Life:
    """A query, what happened to it, and since when it was as it was."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.world = in_memory()
        self.clock, self.container = self.world.clock, self.world.container
        start = self.rng.choice(STARTS) + timedelta(milliseconds=self.rng.randrange(5000))
        self.clock.step((start - self.clock.read()).total_seconds())
        self.phases = []

    async def begin(self) -> None:
        await self.container.sources().add(new_source(name="shop"))
        given = {
            **self.schedule(),
            "name": "q",
            "title": "t",
            "sql_text": "select 1",
            "data_source": "shop",
            "timezone": self.rng.choice(ZONES),
            "overlap_policy": self.rng.choice(["skip", "queue", "queue_all", "allow", "cancel_previous"]),
            "misfire_policy": self.rng.choice(["once", "all", "skip"]),
            "misfire_window": self.rng.choice(["P1D", "PT1H", "PT10M"]),
            "pause_after_failures": self.rng.choice([0, 0, 2]),
            "start_deadline_s": self.rng.choice([None, None, 1, 600]),
            "enabled": self.rng.random() < 0.8,
        }
        if self.rng.random() < 0.3:
            seconds = self.rng.randrange(-90_000, 9_000)
            given["start_at"] = (self.clock.read() + timedelta(seconds=seconds)).isoformat()
        job = await self.container.add_job()(given, BY)
        self.phases.append((self.clock.read(), job))

    def schedule(self) -> dict[str, str]:
        kind, expr = self.rng.choice(SCHEDULES)
        return {"schedule_type": kind, "schedule_expr": expr}

    async def go_on(self) -> None:
        match self.rng.choice(["wait", "wait", "wait", "plan", "work", "work", "edit", "zone", "toggle"]):
            case "wait":
                self.clock.advance(self.rng.choice([0.3, 5, 61, 600, 3600, 7200, 40_000, 100_000]))
            case "plan":
                await self.container.queue().plan_due(plan_due)
            case "work":
                await self.work()
            case "edit":
                await self.change(**self.schedule())
            case "zone":
                await self.change(timezone=self.rng.choice(ZONES))
            case "toggle":
                await self.change(enabled=self.rng.random() < 0.6)

    async def work(self) -> None:
        queue = self.container.queue()
        async with self.container.workers().enlist(worker_info()) as attendance:
            await queue.reap()
            await queue.plan_due(plan_due)
            for claim in await queue.claim(attendance.worker_id, limit=5):
                self.clock.advance(self.rng.choice([0, 0.2, 3]))
                if self.rng.random() < 0.5:
                    await queue.succeed(claim.hold, success())
                else:
                    await queue.fail(claim.hold, failure(), retry_in_s=self.rng.choice([None, 20]))

    async def change(self, **given: object) -> None:
        job = await self.container.change_job()("q", given, BY)
        self.phases.append((self.clock.read(), job))

    async def told(self, start: datetime, end: datetime) -> list:
        items, explain = [], self.container.explain_instants()
        while start is not None:
            page = await explain.ledger("q", start, end, limit=self.rng.choice([37, 500, 10_000]))
            items, start = items + list(page.items), page.next_start
        return items


@pytest.mark.parametrize("seed", range(60))
async def test_every_instant_is_told_once_and_truly(seed: int) -> None:
    life = Life(seed)
    await life.begin()
    for _ in range(life.rng.randrange(3, 14)):
        await life.go_on()
    now = life.clock.read()
    end = now + timedelta(hours=3)
    items = await life.told(datetime(2099, 1, 1, tzinfo=UTC), end)
    told = {item.at: item for item in items}
    assert [item.at for item in items] == sorted(told)

    rows = [record.run for record in life.world.store.runs.values()]
    assert {run.scheduled_at: run.id for run in rows} == {
        at: item.run_id for at, item in told.items() if item.run_id is not None
    }
    together = [item for item in items if item.run_id is None and "recorded together" in item.detail]
    assert len(together) == sum(gap.instants for gap in life.world.store.gaps.values())
    next_run_at = (await life.container.jobs().get("q")).next_run_at
    for item in items:
        assert item.outcome not in UNTOLD, item
        if item.at > now:
            assert item.outcome in (Fate.NOT_DUE, Fate.DISABLED), item
        elif item.run_id is None:
            assert item.outcome in WITHOUT_A_ROW, item
        if item.outcome is Fate.DUE:
            assert next_run_at is not None
            assert item.at >= next_run_at
        if item.outcome is Fate.DISABLED:
            known = [job for since, job in life.phases if since <= item.at]
            assert not (known or [life.phases[0][1]])[-1].spec.enabled, item

    for number, (since, job) in enumerate(life.phases):
        until = life.phases[number + 1][0] if number + 1 < len(life.phases) else end
        for at in job.schedule.instants_after(max(since, job.anchor_at), inclusive=True):
            if at >= until:
                break
            assert at in told


async def test_times_at_the_ends_of_the_calendar_are_answered() -> None:
    life = Life(0)
    await life.begin()
    explain = life.container.explain_instants()
    first, last = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
    assert (await explain.why("q", first)).entry.outcome is Fate.BEFORE
    assert (await explain.why("q", last)).following is None
    page = await explain.ledger("q", first, last, limit=3)
    assert len(page.items) == 3
    assert not (await explain.ledger("q", None, first + timedelta(days=9), limit=3)).items
