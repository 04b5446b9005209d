"""Ten planted defects, each as somebody might write it. They live here and in a mutant's process alone."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo


def plant(name: str) -> None:
    """Change the production code of this process; an empty name changes nothing."""
    from pgsched.adapters.postgres import finishing

    if name:
        # the defects are planted in the statement that ends one run
        finishing.SMALL_BYTES = -1  # type: ignore[misc]
        DEFECTS[name]()


def _finish_by(condition: str) -> None:
    from pgsched.adapters.postgres import runs_sql as sql

    for statement in ("SUCCEED", "FAIL", "RETRY", "CANCELLED"):
        setattr(sql, statement, _other(getattr(sql, statement), sql.HELD, condition))


def _other(text: str, old: str, new: str) -> str:
    """Replace what must be there: a defect that is not planted is caught by nobody."""
    assert old in text, f"there is no {old!r} any more"
    return text.replace(old, new)


def finish_by_id() -> None:
    """The outcome is written wherever the id says, held or not."""
    _finish_by("id = %(run_id)s")


def finish_by_status() -> None:
    """The outcome is written whenever the run is running, whoever runs it."""
    _finish_by("id = %(run_id)s and status = 'running'")


def rescue_reads_then_writes() -> None:
    """Lost runs are read first and written a moment later."""
    from pgsched.adapters.postgres import runs
    from pgsched.adapters.postgres import runs_sql as sql

    head, tail = sql.REAP.split("r as (\n", 1)
    look = head.rstrip().rstrip(",") + "\nselect id from lost"
    write = (
        "with gone as (select 0 as id where false),\n"
        "lost as (select id from query_run where id = any(%(ids)s) and status = 'running'),\nr as (\n" + tail
    )

    async def reap(self: Any) -> Any:
        ids = [row["id"] for row in await self._many(look, {})]
        if not ids:
            return []
        await asyncio.sleep(random.uniform(1.0, 2.5))
        told = {"ids": ids, "lost": "lost", "cancelled": "cancelled"}
        return [runs.run_from(row) for row in await self._many(write, told)]

    runs.PostgresRunQueue.reap = reap  # type: ignore[method-assign]


def no_unique_index() -> None:
    """Nobody locks and no index guards: planners look whether the instant is there and insert it."""
    from pgsched.adapters.postgres import runs_sql as sql

    sql.LOCK_DUE = _other(sql.LOCK_DUE, "for no key update skip locked", "")  # type: ignore[misc]
    sql.INSERT_PLANNED = _other(  # type: ignore[misc]
        sql.INSERT_PLANNED,
        "on conflict (query_id, scheduled_at, params) where trigger = 'schedule' do nothing",
        "where not exists (select from query_run r where r.query_id = planned.query_id"
        " and r.scheduled_at = planned.scheduled_at and r.trigger = 'schedule')",
    )


def local_clock() -> None:
    """What is due is decided by this machine's clock, which is three seconds fast."""
    from pgsched.adapters.postgres import runs_sql as sql

    fast = "(clock_timestamp() + interval '3 seconds')"
    sql.LOCK_DUE = _other(sql.LOCK_DUE, "clock_timestamp()", fast)  # type: ignore[misc]


def blob_apart() -> None:
    """The status is committed first, the result in a transaction of its own."""
    from chaos import failpoints
    from pgsched.adapters.postgres import finishing
    from pgsched.adapters.postgres import runs_sql as sql

    head, tail = sql.SUCCEED.split("blob as (\n", 1)
    insert, rest = tail.split("),\nswept", 1)
    status_only = head + "swept" + rest
    blob_only = _other(insert, " from r", " from (select %(run_id)s::bigint as id) r")

    async def succeed(self: Any, hold: Any, success: Any) -> Any:
        told = finishing._told(hold, success)
        async with self._database.pipeline() as pipeline:
            answer = pipeline.send(status_only, told)
        if not answer.rows:
            raise finishing.lost(hold)
        failpoints.reached("between")
        async with self._database.pipeline() as pipeline:
            pipeline.send(blob_only, told)
        return finishing.run_from(answer.rows[0])

    finishing.Finishing.succeed = succeed  # type: ignore[method-assign]


def _planning(decide: Callable[..., Any]) -> None:
    from pgsched.application import work

    right = work.plan_due
    work.plan_due = lambda *args: decide(right, *args)  # type: ignore[assignment]


def drift() -> None:
    """The next instant is a period after the planner came by."""
    from pgsched.domain.durations import Duration
    from pgsched.domain.planning import Plan, PlannedRun

    def decide(_right: Any, job: Any, now: datetime, _active: Any) -> Any:
        if job.next_run_at is None or job.next_run_at > now:
            return Plan(next_run_at=job.next_run_at)
        period = Duration.parse(job.spec.schedule_expr).elapsed or timedelta(days=1)
        run = PlannedRun(instant=job.next_run_at, ready_at=job.next_run_at)
        return Plan(runs=(run,), next_run_at=now + period)

    _planning(decide)


def fold_twice() -> None:
    """A fixed time that the clock shows twice fires twice."""
    from pgsched.domain.schedules import Schedule, ScheduleType

    right = Schedule.instants_after

    def instants_after(self: Any, after: datetime, *, inclusive: bool = False) -> Iterator[datetime]:
        for at in right(self, after, inclusive=inclusive):
            yield at
            again = at + timedelta(hours=1)
            zone = ZoneInfo(self.timezone)
            if self.type is ScheduleType.CRON and again.astimezone(zone).time() == at.astimezone(zone).time():
                yield again

    Schedule.instants_after = instants_after  # type: ignore[method-assign]


def no_self_kill() -> None:
    """A worker that cannot renew its leases goes on as if nothing had happened."""
    from pgsched.application.held_runs import HeldRuns

    async def distrust(_self: Any) -> None:
        await asyncio.Event().wait()

    HeldRuns.distrust = distrust  # type: ignore[method-assign]


def skipped_gap() -> None:
    """What shall not run is forgotten instead of recorded."""

    def decide(right: Any, *args: Any) -> Any:
        plan = right(*args)
        return replace(plan, gaps=(), runs=tuple(run for run in plan.runs if run.skipped is None))

    _planning(decide)


DEFECTS: dict[str, Callable[[], None]] = {
    defect.__name__: defect
    for defect in (
        finish_by_id,
        finish_by_status,
        rescue_reads_then_writes,
        no_unique_index,
        local_clock,
        blob_apart,
        drift,
        fold_twice,
        no_self_kill,
        skipped_gap,
    )
}
