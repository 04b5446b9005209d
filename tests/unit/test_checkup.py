"""What a look at the figures is judged to be."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from pgsched.application.checkup import Level, judge
from pgsched.application.ports.upkeep import Distribution, Figures, QueryFigure, SourceFigure, WorkerFigure
from pgsched.domain.freshness import is_stale
from pgsched.domain.jobs import Job, JobSpec
from pgsched.domain.retention import Limits, limits_of
from pgsched.domain.schedules import ScheduleType

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
NONE = Distribution(bounds=(), counts=(0,), seconds=0)
WORKER = WorkerFigure(
    id=7,
    host="here",
    pid=1,
    version="1",
    concurrency=4,
    running=0,
    started_at=NOW,
    seen_at=NOW,
    alive=True,
)
HEALTHY = Figures(
    now=NOW,
    counts=(),
    durations=NONE,
    lateness=NONE,
    queries=(),
    query_count=0,
    sources=(),
    workers=(WORKER,),
    waiting=0,
    later=0,
    running=0,
    stuck=0,
    longest_wait_s=0,
    planning_delay_s=0,
    recent_lateness_s=None,
    failures=(),
)


def job(**changes: object) -> Job:
    given = {
        "name": "orders",
        "title": "Orders",
        "sql_text": "select 1",
        "data_source_id": 1,
        "schedule_type": ScheduleType.INTERVAL,
        "schedule_expr": "PT1H",
    }
    made = NOW - timedelta(days=1)
    paused = changes.pop("paused_at", None)
    return Job(
        id=1,
        spec=JobSpec(**(given | changes)),
        anchor_at=made,
        next_run_at=None,
        paused_at=paused,
        pause_reason=paused and "three failures",
        created_at=made,
        updated_at=made,
    )


def query(of: Job, age_h: float | None) -> QueryFigure:
    at = None if age_h is None else NOW - timedelta(hours=age_h)
    return QueryFigure(job=of, last_success_at=at, stored_runs=0, stored_bytes=0, deleted_to=None)


def worst(**changes: object) -> dict[str, Level]:
    """The worst level of each check."""
    order = list(Level)
    found: dict[str, Level] = {}
    for finding in judge(replace(HEALTHY, **changes), version="1"):
        found[finding.check] = max(found.get(finding.check, Level.OK), finding.level, key=order.index)
        assert finding.level is Level.OK or finding.advice
    return found


def test_healthy_installation_is_all_right() -> None:
    assert worst() == {"workers": Level.OK, "queue": Level.OK, "queries": Level.OK}


def test_no_worker_is_a_problem_where_something_is_to_run() -> None:
    assert worst(workers=())["workers"] is Level.WARNING
    assert worst(workers=(), queries=(query(job(), 0.1),))["workers"] is Level.PROBLEM
    assert worst(workers=(), queries=(query(job(enabled=False), 0.1),))["workers"] is Level.WARNING


def test_worker_that_vanished_or_is_of_another_version_is_told() -> None:
    assert worst(workers=(WORKER, replace(WORKER, alive=False)))["workers"] is Level.WARNING
    assert worst(workers=(replace(WORKER, version="2"),))["workers"] is Level.WARNING


def test_queue_that_waits_names_its_sources() -> None:
    source = SourceFigure(id=1, name="shop", max_concurrency=4, running=4, waiting=3)
    found = replace(HEALTHY, waiting=3, longest_wait_s=301, sources=(source,))
    (finding,) = [each for each in judge(found, version="1") if each.level is Level.WARNING]
    assert "3 runs wait, the first for 301 s, for shop" in finding.detail
    assert worst(longest_wait_s=299)["queue"] is Level.OK


def test_stuck_runs_and_instants_that_nobody_plans_are_problems() -> None:
    assert worst(stuck=1)["queue"] is Level.PROBLEM
    assert worst(planning_delay_s=61)["planning"] is Level.PROBLEM


def test_stale_and_paused_queries_are_named() -> None:
    found = replace(
        HEALTHY, queries=(query(job(name="old"), 3), query(job(name="stopped", paused_at=NOW), 9))
    )
    told = " ".join(each.detail for each in judge(found, version="1") if each.check == "queries")
    assert "old had no success" in told
    assert "stopped is paused: three failures" in told


def test_many_stale_queries_are_counted_not_listed() -> None:
    found = replace(HEALTHY, queries=tuple(query(job(name=f"q{n}"), 3) for n in range(25)))
    findings = [each for each in judge(found, version="1") if each.check == "queries"]
    assert len(findings) == 11
    assert findings[-1].detail == "and 15 more"


def test_query_is_stale_after_two_periods_and_a_minute() -> None:
    assert not is_stale(job(), NOW - timedelta(hours=2, seconds=60), NOW)
    assert is_stale(job(), NOW - timedelta(hours=2, seconds=61), NOW)
    assert is_stale(job(), None, NOW)
    assert not is_stale(job(enabled=False), None, NOW)


def test_query_with_fresh_for_is_stale_by_that_alone() -> None:
    assert not is_stale(job(fresh_for="P1D"), NOW - timedelta(hours=24), NOW)
    assert is_stale(job(fresh_for="P1D"), NOW - timedelta(hours=24, seconds=1), NOW)
    assert is_stale(job(fresh_for="PT1M"), NOW - timedelta(seconds=61), NOW)
    old = replace(HEALTHY, queries=(query(job(fresh_for="PT1M"), 3),))
    (told,) = [each.detail for each in judge(old, version="1") if each.check == "queries"]
    assert told.endswith("had no success for PT1M")


def test_limits_of_a_query_win_over_the_general_ones() -> None:
    general = Limits(keep_runs=9, keep_days=3)
    assert limits_of(job(keep_runs=5).spec, general) == Limits(keep_runs=5, keep_days=3)
    assert limits_of(job().spec, general) == general
    assert not Limits().any
