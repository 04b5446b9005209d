"""What is wrong with an installation, judged from one look at everything: findings, and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from pgsched.application.ports.upkeep import Figures
from pgsched.domain.freshness import is_stale

#: seconds that a run may wait until somebody should look
LONG_WAIT_S = 300.0
#: seconds that an instant may be overdue until somebody should look
LONG_DELAY_S = 60.0
#: most queries that one finding names
MOST_NAMED = 10


class Level(StrEnum):
    """How bad a finding is."""

    #: as it should be
    OK = "ok"
    #: works, and somebody should look
    WARNING = "warning"
    #: does not work
    PROBLEM = "problem"


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What one check found."""

    #: what was looked at, one word
    check: str
    #: how bad it is
    level: Level
    #: what was found, half a sentence
    detail: str
    #: what to do, empty where nothing is to be done
    advice: str = ""


def judge(figures: Figures, *, version: str) -> Iterator[Finding]:
    """Judge workers, queue, planning and queries."""
    yield from _workers(figures, version)
    yield from _queue(figures)
    yield from _queries(figures)


def _workers(figures: Figures, version: str) -> Iterator[Finding]:
    alive = [worker for worker in figures.workers if worker.alive]
    if not alive:
        level = Level.PROBLEM if any(each.job.spec.enabled for each in figures.queries) else Level.WARNING
        yield Finding(
            check="workers",
            level=level,
            detail="no worker is running",
            advice="start one with pgsched worker",
        )
    else:
        yield Finding(check="workers", level=Level.OK, detail=f"{len(alive)} running")
    for worker in figures.workers:
        name = f"worker {worker.id} ({worker.host}, process {worker.pid})"
        if not worker.alive:
            yield Finding(
                check="workers",
                level=Level.WARNING,
                detail=f"{name} ended without a word, last seen {worker.seen_at:%Y-%m-%d %H:%M:%S} UTC",
                advice="look for its end in the system's log (memory, kill -9, a host cut off)",
            )
        elif worker.version != version:
            yield Finding(
                check="workers",
                level=Level.WARNING,
                detail=f"{name} is version {worker.version}, this is {version}",
                advice="restart it when the upgrade is over",
            )


def _queue(figures: Figures) -> Iterator[Finding]:
    if figures.stuck:
        yield Finding(
            check="queue",
            level=Level.PROBLEM,
            detail=f"{figures.stuck} runs hold a lease that is over",
            advice="a running worker rescues them within seconds: see that one runs and reaches the database",
        )
    if figures.longest_wait_s > LONG_WAIT_S:
        busy = [source.name for source in figures.sources if source.waiting][:MOST_NAMED]
        yield Finding(
            check="queue",
            level=Level.WARNING,
            detail=f"{figures.waiting} runs wait, the first for {figures.longest_wait_s:.0f} s,"
            f" for {', '.join(busy)}",
            advice="start more workers, or raise the source's max_concurrency",
        )
    if figures.planning_delay_s > LONG_DELAY_S:
        yield Finding(
            check="planning",
            level=Level.PROBLEM,
            detail=f"an instant has been due for {figures.planning_delay_s:.0f} s and nobody has planned it",
            advice="see that a worker runs, and its log",
        )
    if not figures.stuck and figures.longest_wait_s <= LONG_WAIT_S:
        told = f"{figures.waiting} waiting, {figures.running} running, {figures.later} for later"
        yield Finding(check="queue", level=Level.OK, detail=told)


def _queries(figures: Figures) -> Iterator[Finding]:
    paused = [each.job for each in figures.queries if each.job.paused_at is not None]
    for job in paused[:MOST_NAMED]:
        yield Finding(
            check="queries",
            level=Level.WARNING,
            detail=f"{job.spec.name} is paused: {job.pause_reason}",
            advice=f"see pgsched runs list {job.spec.name}; enabling it again ends the pause",
        )
    stale = [
        each.job.spec
        for each in figures.queries
        if each.job.paused_at is None and is_stale(each.job, each.last_success_at, figures.now)
    ]
    for spec in stale[:MOST_NAMED]:
        yield Finding(
            check="queries",
            level=Level.WARNING,
            detail=f"{spec.name} had no success for {spec.fresh_for or 'two of its periods'}",
            advice=f"pgsched runs list {spec.name} says why",
        )
    more = len(paused[MOST_NAMED:]) + len(stale[MOST_NAMED:])
    if more:
        yield Finding(
            check="queries", level=Level.WARNING, detail=f"and {more} more", advice="see pgsched status"
        )
    if not paused and not stale:
        yield Finding(check="queries", level=Level.OK, detail=f"{figures.query_count}, none stale or paused")
