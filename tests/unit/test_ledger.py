"""The ledger explains each instant once, from the record."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgsched.domain.ledger import (
    Entry,
    Fate,
    Past,
    Phase,
    Recorded,
    RecordedGap,
    expected,
    explain,
    newest_expected,
)
from pgsched.domain.planning import Gap
from pgsched.domain.runs import Run, RunStatus, SkipReason, Trigger
from pgsched.domain.schedules import Schedule, ScheduleType

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def at(hours: float) -> datetime:
    return START + hours * HOUR


def hourly(since: float = 0, **changes: object) -> Phase:
    schedule = Schedule(type=ScheduleType.INTERVAL, expr="PT1H", timezone="UTC", anchor=START)
    given = {"since": at(since), "schedule": schedule, "enabled": True, "first_at": at(since)}
    return Phase(**(given | changes))


def past(*phases: Phase, now: float = 10, **changes: object) -> Past:
    given = {
        "query_id": 1,
        "name": "orders",
        "now": at(now),
        "phases": phases or (hourly(),),
        "next_run_at": at(int(now) + 1),
        "workers_since": at(-1000),
        "attended": ((at(-1000), at(now)),),
    }
    return Past(**(given | changes))


def row(
    hours: float, status: RunStatus = RunStatus.SUCCESS, *, late_s: float = 0.0, **changes: object
) -> Recorded:
    started = (
        None if status in (RunStatus.SKIPPED, RunStatus.QUEUED) else at(hours) + timedelta(seconds=late_s)
    )
    given = {
        "id": int(hours) + 1,
        "query_id": 1,
        "scheduled_at": at(hours),
        "job_timezone": "UTC",
        "run_started_at": started,
        "status": status,
        "attempt": 0 if started is None else 1,
        "trigger": Trigger.SCHEDULE,
    }
    recorded = changes.pop("recorded_at", at(hours))
    return Recorded(run=Run(**(given | changes)), at=recorded)


def told(known: Past, hours: float, *rows: Recorded, gaps: tuple[RecordedGap, ...] = ()) -> Entry:
    (entry,), _ = explain(known, rows, gaps, start=at(hours), end=at(hours) + timedelta(seconds=1), limit=5)
    assert entry.at == at(hours)
    return entry


@pytest.mark.parametrize(
    ("recorded", "fate", "detail"),
    [
        (row(3), Fate.RAN, "ran in time"),
        (row(3, late_s=0.9), Fate.RAN, "ran in time"),
        (row(3, late_s=75), Fate.LATE, "ran 75.0 s late"),
        (row(3, late_s=9, attempt=3), Fate.LATE, "ran 9.0 s late, at try 3"),
        (
            row(3, late_s=90, recorded_at=at(3) + timedelta(seconds=89)),
            Fate.LATE,
            "ran 90.0 s late, found 89.0 s after it was due",
        ),
        (row(3, RunStatus.RUNNING), Fate.RUNNING, "a worker runs it, try 1"),
        (
            row(3, RunStatus.ERROR, error_code="query_failed", error_message="no such table"),
            Fate.FAILED,
            "at try 1: no such table",
        ),
        (
            row(3, RunStatus.ERROR, error_code="source_unreachable", error_message="refused", attempt=3),
            Fate.SOURCE_DOWN,
            "at try 3: refused",
        ),
        (row(3, RunStatus.CANCELLED, error_message="on request"), Fate.CANCELLED, "on request"),
        (
            row(3, RunStatus.SKIPPED, error_code="overlap", error_message="the earlier run was not over"),
            Fate.SKIPPED,
            "the earlier run was not over",
        ),
        (row(3, RunStatus.SKIPPED, error_code="deadline", error_message="waited"), Fate.MISSED, "waited"),
        (
            row(3, RunStatus.SKIPPED, error_code="misfire", recorded_at=at(5)),
            Fate.MISSED,
            "found 7200.0 s after it was due; the misfire policy recorded it without a run",
        ),
        (
            row(3, RunStatus.QUEUED, attempt=2, error_code="query_failed"),
            Fate.WAITING,
            "waits for its next try after query_failed",
        ),
    ],
)
def test_instant_with_a_run_is_told_by_it(recorded: Recorded, fate: Fate, detail: str) -> None:
    entry = told(past(), 3, recorded)
    assert (entry.outcome, entry.detail, entry.run_id, entry.status) == (fate, detail, 4, recorded.run.status)


def test_missed_instant_says_that_no_worker_was_there() -> None:
    known = past(attended=((at(4), at(10)),))
    entry = told(known, 3, row(3, RunStatus.SKIPPED, error_code="misfire", recorded_at=at(4)))
    assert entry.detail.startswith("found 3600.0 s after it was due, no worker was there when it was;")


def test_instant_in_a_gap_is_told_by_its_reason() -> None:
    gap = RecordedGap(
        gap=Gap(from_at=at(0), to_at=at(200), instants=201, reason=SkipReason.MISFIRE), at=at(201)
    )
    entry = told(past(now=300), 3, gaps=(gap,))
    assert entry.outcome is Fate.MISSED
    assert entry.detail.endswith("(one of 201 instants recorded together)")


def test_paused_instant_tells_after_which_failures() -> None:
    known = past(hourly(), hourly(2.5, pause_reason="3 failures in a row, the last: no"))
    entry = told(known, 3, row(3, RunStatus.SKIPPED, error_code="paused"))
    assert (entry.outcome, entry.detail) == (
        Fate.PAUSED,
        "the query was paused: 3 failures in a row, the last: no",
    )


@pytest.mark.parametrize(
    ("known", "fate"),
    [
        (past(hourly(), hourly(2.5, enabled=False)), Fate.DISABLED),
        (past(now=2.5), Fate.NOT_DUE),
        (past(next_run_at=at(3)), Fate.DUE),
        (past(deleted_to=at(3)), Fate.DELETED),
        (past(), Fate.UNRECORDED),
        (past(hourly(), hourly(2.5, pause_reason="cannot be planned"), next_run_at=None), Fate.PAUSED),
    ],
)
def test_instant_without_a_record_says_why_there_is_none(known: Past, fate: Fate) -> None:
    assert told(known, 3).outcome is fate


def test_edited_schedule_leaves_the_past_as_it_was() -> None:
    half = Schedule(type=ScheduleType.INTERVAL, expr="PT30M", timezone="UTC", anchor=at(5))
    known = past(hourly(), Phase(since=at(4.5), schedule=half, enabled=True, first_at=at(5)))
    found = [instant for instant, _ in expected(known, at(3), at(6.1))]
    assert found == [at(3), at(4), at(5), at(5.5), at(6)]


def test_backlog_reaches_back_before_the_query_was_there() -> None:
    known = past(hourly(5, first_at=at(0)))
    assert [instant for instant, _ in expected(known, at(-5), at(3))] == [at(0), at(1), at(2)]
    assert newest_expected(known, at(2.5)) == at(2)


def test_schedule_that_cannot_be_read_any_more_names_nothing() -> None:
    gone = Schedule(type=ScheduleType.CRON, expr="0 * * * *", timezone="Nowhere/Gone", anchor=None)
    known = past(Phase(since=at(0), schedule=gone, enabled=True))
    assert newest_expected(known, at(5)) is None
    assert explain(known, (row(3),), (), start=at(0), end=at(9), limit=5)[0][0].outcome is Fate.RAN


SETS = ("eu", "us")


def test_sets_of_an_instant_have_entries_of_their_own() -> None:
    known = past(hourly(), hourly(2.5, sets=SETS), hourly(4.5, sets=("us",)))
    gap = RecordedGap(
        gap=Gap(from_at=at(3), to_at=at(4), instants=2, reason=SkipReason.MISFIRE), at=at(5), params="us"
    )
    rows = (row(2), row(3, params="eu"), row(5, RunStatus.RUNNING, params="us"))
    found, _ = explain(known, rows, (gap,), start=at(2), end=at(6), limit=10)
    assert [(entry.at, entry.params, entry.outcome) for entry in found] == [
        (at(2), None, Fate.RAN),
        (at(3), "eu", Fate.RAN),
        (at(3), "us", Fate.MISSED),
        (at(4), "eu", Fate.UNRECORDED),
        (at(4), "us", Fate.MISSED),
        (at(5), "us", Fate.RUNNING),
    ]
    assert newest_expected(known, at(9), "eu") == at(4)


@given(limit=st.integers(1, 7), only=st.sampled_from([None, *SETS]))
def test_pages_never_part_the_sets_of_an_instant(limit: int, only: str | None) -> None:
    known = past(hourly(), hourly(4.5, sets=SETS), hourly(9.5), now=12)
    wanted = [(at(hours), name) for hours in range(15) for name in (SETS if 4.5 < hours < 9.5 else (None,))]
    start: datetime | None = at(0)
    told: list[Entry] = []
    while start is not None:
        page, following = explain(known, (), (), start=start, end=at(15), limit=limit, params=only)
        assert len(page) <= max(limit, len(SETS))
        assert following is None or following > start
        told += page
        start = following
    assert [(entry.at, entry.params) for entry in told] == [
        each for each in wanted if only is None or each[1] == only
    ]


@settings(deadline=None)
@given(
    changes=st.lists(st.tuples(st.floats(0, 48), st.integers(20, 240), st.booleans()), max_size=5),
    limit=st.integers(1, 7),
    recorded=st.sets(st.integers(0, 47)),
)
def test_pages_hold_each_instant_once_in_order(
    changes: list[tuple[float, int, bool]], limit: int, recorded: set[int]
) -> None:
    phases = [hourly()]
    for since, minutes, enabled in sorted(changes):
        schedule = Schedule(
            type=ScheduleType.INTERVAL, expr=f"PT{minutes}M", timezone="UTC", anchor=at(int(since))
        )
        phases.append(Phase(since=at(since), schedule=schedule, enabled=enabled, first_at=at(int(since) + 1)))
    known = past(*phases, now=24)
    rows = tuple(row(hours) for hours in sorted(recorded))
    start: datetime | None = at(0)
    entries: list[Entry] = []
    while start is not None:
        page, following = explain(
            known,
            tuple(each for each in rows if each.run.scheduled_at >= start)[: limit + 1],
            (),
            start=start,
            end=at(48),
            limit=limit,
        )
        assert len(page) <= limit
        entries += page
        start = following
    wanted = {instant for instant, _ in expected(known, at(0), at(48))} | {at(hours) for hours in recorded}
    assert [entry.at for entry in entries] == sorted(wanted)
    assert all(
        (entry.run_id is not None) == (entry.at in {at(hours) for hours in recorded}) for entry in entries
    )
