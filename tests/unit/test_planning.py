"""Planning: every due instant has one fate, and the policies say which."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgsched.domain.jobs import Job, JobSpec, MisfirePolicy, OverlapPolicy
from pgsched.domain.planning import GAP_THRESHOLD, GRACE, ActiveRuns, Plan, plan_due
from pgsched.domain.runs import MAX_WAITING, RunStatus, SkipReason
from pgsched.domain.schedules import ScheduleType

ANCHOR = datetime(2026, 3, 28, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
IDLE = ActiveRuns()


def job(*, next_run_at: datetime | None = ANCHOR, paused: bool = False, **changes: object) -> Job:
    """A job every minute from ANCHOR on."""
    spec = {
        "name": "orders",
        "title": "Orders",
        "sql_text": "select 1",
        "data_source_id": 1,
        "schedule_type": ScheduleType.INTERVAL,
        "schedule_expr": "PT1M",
    }
    return Job(
        id=7,
        spec=JobSpec(**(spec | changes)),
        anchor_at=ANCHOR,
        next_run_at=next_run_at,
        paused_at=ANCHOR if paused else None,
        pause_reason="failures" if paused else None,
        created_at=ANCHOR,
        updated_at=ANCHOR,
    )


def after(minutes: float) -> datetime:
    return ANCHOR + MINUTE * minutes


def queued(plan: Plan) -> list[datetime]:
    return [run.instant for run in plan.runs if run.skipped is None]


def skipped(plan: Plan) -> dict[datetime, SkipReason]:
    return {run.instant: run.skipped for run in plan.runs if run.skipped is not None}


def accounted(plan: Plan) -> int:
    """How many instants the plan says anything about."""
    return len(plan.runs) + sum(gap.instants for gap in plan.gaps)


jobs = st.builds(
    job,
    paused=st.booleans(),
    overlap_policy=st.sampled_from(OverlapPolicy),
    misfire_policy=st.sampled_from(MisfirePolicy),
    misfire_window=st.sampled_from(["PT1M", "PT2H", "P1D", "P1M"]),
    schedule_expr=st.sampled_from(["PT1S", "PT7S", "PT1M", "PT1H", "P1D", "P1M"]),
    timezone=st.sampled_from(["UTC", "Europe/Berlin", "Australia/Lord_Howe"]),
    start_deadline_s=st.none() | st.integers(1, 1000),
    jitter_s=st.integers(0, 300),
)
cron_jobs = st.builds(
    job,
    misfire_policy=st.sampled_from(MisfirePolicy),
    overlap_policy=st.sampled_from(OverlapPolicy),
    schedule_type=st.just(ScheduleType.CRON),
    schedule_expr=st.sampled_from(["* * * * *", "*/7 * * * *", "30 2 * * *", "0 0 * * MON", "0 * 29 3 *"]),
    timezone=st.sampled_from(["UTC", "Europe/Berlin"]),
    next_run_at=st.just(datetime(2026, 3, 28, 13, tzinfo=UTC)),
)
lateness = st.one_of(
    st.timedeltas(timedelta(0), timedelta(seconds=90)),
    st.timedeltas(timedelta(0), timedelta(hours=3)),
    st.timedeltas(timedelta(0), timedelta(days=3)),
)
actives = st.builds(ActiveRuns, queued=st.integers(0, MAX_WAITING + 1), running=st.integers(0, 4))


# what holds for every policy


@settings(max_examples=300, deadline=None)
@given(job=jobs | cron_jobs, late=lateness, active=actives)
def test_plan_accounts_for_every_due_instant_once(job: Job, late: timedelta, active: ActiveRuns) -> None:
    assert job.next_run_at is not None
    now = job.next_run_at + late
    plan = plan_due(job, now, active)
    first = next(job.schedule.instants_after(job.next_run_at, inclusive=True))
    due = (first <= now) + job.schedule.count_between(first, now)
    assert accounted(plan) == due
    rows = [run.instant for run in plan.runs]
    assert len(set(rows)) == len(rows)
    for gap in plan.gaps:
        assert gap.from_at <= gap.to_at
        assert not any(gap.from_at <= instant <= gap.to_at for instant in rows)
        assert gap.instants == 1 + job.schedule.count_between(gap.from_at, gap.to_at)
    for earlier, later in pairwise(plan.gaps):
        assert earlier.to_at < later.from_at


@settings(max_examples=200, deadline=None)
@given(job=jobs | cron_jobs, late=lateness, active=actives)
def test_plan_moves_on_to_the_first_instant_not_yet_due(
    job: Job, late: timedelta, active: ActiveRuns
) -> None:
    assert job.next_run_at is not None
    now = job.next_run_at + late
    plan = plan_due(job, now, active)
    assert plan.next_run_at == job.schedule.next_after(now)
    assert plan_due(job, now, active) == plan


@settings(max_examples=200, deadline=None)
@given(job=jobs | cron_jobs, late=lateness, active=actives)
def test_plan_is_written_in_few_rows_each_oldest_first(job: Job, late: timedelta, active: ActiveRuns) -> None:
    assert job.next_run_at is not None
    plan = plan_due(job, job.next_run_at + late, active)
    assert len(queued(plan)) <= MAX_WAITING
    assert len(plan.runs) <= 2 * GAP_THRESHOLD + MAX_WAITING
    instants = [run.instant for run in plan.runs]
    assert instants == sorted(instants)
    assert all(gap.instants > GAP_THRESHOLD for gap in plan.gaps)


@settings(max_examples=200, deadline=None)
@given(job=jobs | cron_jobs, late=lateness, active=actives)
def test_planned_run_starts_no_earlier_than_its_instant_and_no_later_than_the_next(
    job: Job, late: timedelta, active: ActiveRuns
) -> None:
    assert job.next_run_at is not None
    for run in plan_due(job, job.next_run_at + late, active).runs:
        following = job.schedule.next_after(run.instant)
        assert following is not None
        assert run.instant <= run.ready_at <= following
        assert run.ready_at <= run.instant + timedelta(seconds=job.spec.jitter_s)
        assert run.status is (RunStatus.QUEUED if run.skipped is None else RunStatus.SKIPPED)
        if run.skipped is None and job.spec.start_deadline_s is not None:
            assert run.deadline_at == run.instant + timedelta(seconds=job.spec.start_deadline_s)
        else:
            assert run.deadline_at is None


# what is due


@pytest.mark.parametrize("next_run_at", [None, after(1)])
def test_nothing_is_planned_before_it_is_due(next_run_at: datetime | None) -> None:
    now = after(1) - timedelta(microseconds=1)
    assert plan_due(job(next_run_at=next_run_at), now, IDLE) == Plan(next_run_at=next_run_at)


def test_instant_is_due_at_its_very_moment() -> None:
    plan = plan_due(job(), ANCHOR, IDLE)
    assert (queued(plan), plan.next_run_at) == ([ANCHOR], after(1))


def test_schedule_that_has_ended_has_no_next_instant() -> None:
    last = datetime(9999, 12, 28, 23, 59, tzinfo=UTC)
    plan = plan_due(job(next_run_at=last), last, IDLE)
    assert (queued(plan), plan.next_run_at) == ([last], None)


# misfires


def test_once_runs_the_newest_and_records_the_rest() -> None:
    plan = plan_due(job(misfire_policy=MisfirePolicy.ONCE), after(5.5), IDLE)
    assert queued(plan) == [after(5)]
    assert skipped(plan) == {after(k): SkipReason.MISFIRE for k in range(5)}


def test_once_runs_an_instant_found_late() -> None:
    """``once`` means the newest runs however late it is, as long as the window holds it."""
    late = job(misfire_policy=MisfirePolicy.ONCE, schedule_expr="P1D")
    assert queued(plan_due(late, after(60 * 23), IDLE)) == [ANCHOR]


def test_once_takes_a_backlog_younger_than_a_minute_for_one() -> None:
    plan = plan_due(job(schedule_expr="PT10S"), ANCHOR + timedelta(seconds=45), IDLE)
    assert queued(plan) == [ANCHOR + timedelta(seconds=40)]
    assert set(skipped(plan).values()) == {SkipReason.MISFIRE}


def test_all_runs_each_oldest_first_whatever_the_overlap_policy() -> None:
    for policy in OverlapPolicy:
        late = job(misfire_policy=MisfirePolicy.ALL, overlap_policy=policy)
        assert queued(plan_due(late, after(5.5), IDLE)) == [after(k) for k in range(6)]


def test_all_runs_the_newest_hundred() -> None:
    plan = plan_due(job(misfire_policy=MisfirePolicy.ALL), after(149.5), IDLE)
    assert queued(plan) == [after(k) for k in range(50, 150)]
    assert skipped(plan) == {after(k): SkipReason.MISFIRE for k in range(50)}


def test_skip_runs_only_what_is_found_in_time() -> None:
    late = job(misfire_policy=MisfirePolicy.SKIP)
    assert queued(plan_due(late, after(0) + GRACE, IDLE)) == [after(0)]
    plan = plan_due(late, after(5.5), IDLE)
    assert queued(plan) == [after(5)]
    assert skipped(plan) == {after(k): SkipReason.MISFIRE for k in range(5)}
    plan = plan_due(job(misfire_policy=MisfirePolicy.SKIP, schedule_expr="PT1H"), after(1.1), IDLE)
    assert (queued(plan), skipped(plan)) == ([], {ANCHOR: SkipReason.MISFIRE})


@pytest.mark.parametrize("policy", MisfirePolicy)
def test_instants_before_the_window_never_run(policy: MisfirePolicy) -> None:
    late = job(misfire_policy=policy, misfire_window="PT3M")
    plan = plan_due(late, after(10), IDLE)
    assert all(instant >= after(7) for instant in queued(plan))
    assert skipped(plan)[after(6)] is SkipReason.MISFIRE
    if policy is MisfirePolicy.ALL:
        assert queued(plan) == [after(k) for k in (7, 8, 9, 10)]


def test_many_missed_instants_become_one_gap() -> None:
    plan = plan_due(job(), after(GAP_THRESHOLD + 1), IDLE)
    [gap] = plan.gaps
    assert (gap.from_at, gap.to_at, gap.instants) == (after(0), after(GAP_THRESHOLD), GAP_THRESHOLD + 1)
    assert (gap.reason, queued(plan), skipped(plan)) == (
        SkipReason.MISFIRE,
        [after(GAP_THRESHOLD + 1)],
        {},
    )


def test_as_many_missed_instants_as_deserve_rows_have_them() -> None:
    plan = plan_due(job(), after(GAP_THRESHOLD), IDLE)
    assert (plan.gaps, len(skipped(plan))) == ((), GAP_THRESHOLD)


def test_backlog_of_years_is_planned_without_walking_through_it() -> None:
    late = job(schedule_expr="PT1S")
    plan = plan_due(late, ANCHOR + timedelta(days=3650), IDLE)
    assert accounted(plan) == 3650 * 86_400 + 1
    assert queued(plan) == [ANCHOR + timedelta(days=3650)]


def test_instants_of_a_paused_query_are_recorded_as_such() -> None:
    plan = plan_due(job(paused=True), after(2), IDLE)
    assert (queued(plan), plan.next_run_at) == ([], after(3))
    assert skipped(plan) == {after(k): SkipReason.PAUSED for k in range(3)}
    [gap] = plan_due(job(paused=True), after(500), IDLE).gaps
    assert (gap.instants, gap.reason) == (501, SkipReason.PAUSED)


# overlaps


@pytest.mark.parametrize(
    ("policy", "active", "runs"),
    [
        (OverlapPolicy.SKIP, IDLE, True),
        (OverlapPolicy.SKIP, ActiveRuns(running=1), False),
        (OverlapPolicy.SKIP, ActiveRuns(queued=1), False),
        (OverlapPolicy.QUEUE, ActiveRuns(running=1), True),
        (OverlapPolicy.QUEUE, ActiveRuns(running=1, queued=1), False),
        (OverlapPolicy.QUEUE_ALL, ActiveRuns(running=1, queued=MAX_WAITING - 1), True),
        (OverlapPolicy.QUEUE_ALL, ActiveRuns(running=1, queued=MAX_WAITING), False),
        (OverlapPolicy.CANCEL_PREVIOUS, ActiveRuns(running=1, queued=1), True),
        (OverlapPolicy.ALLOW, ActiveRuns(running=4, queued=MAX_WAITING - 1), True),
        (OverlapPolicy.ALLOW, ActiveRuns(running=4, queued=MAX_WAITING), False),
    ],
)
def test_instant_waits_or_is_skipped_beside_runs_that_are_not_over(
    policy: OverlapPolicy, active: ActiveRuns, runs: bool
) -> None:
    plan = plan_due(job(overlap_policy=policy), ANCHOR, active)
    assert queued(plan) == ([ANCHOR] if runs else [])
    assert skipped(plan) == ({} if runs else {ANCHOR: SkipReason.OVERLAP})


@pytest.mark.parametrize("policy", OverlapPolicy)
@pytest.mark.parametrize("active", [IDLE, ActiveRuns(running=1), ActiveRuns(queued=1)])
def test_earlier_runs_are_cancelled_only_where_the_policy_says_so(
    policy: OverlapPolicy, active: ActiveRuns
) -> None:
    plan = plan_due(job(overlap_policy=policy), ANCHOR, active)
    assert plan.cancel_previous is (policy is OverlapPolicy.CANCEL_PREVIOUS and active != IDLE)


def test_nothing_is_cancelled_for_instants_that_do_not_run() -> None:
    late = job(
        overlap_policy=OverlapPolicy.CANCEL_PREVIOUS, misfire_policy=MisfirePolicy.SKIP, schedule_expr="PT1H"
    )
    plan = plan_due(late, after(30), ActiveRuns(running=1))
    assert (queued(plan), plan.cancel_previous) == ([], False)


def test_overlap_is_judged_one_instant_after_the_other() -> None:
    """Found in time together, under ``misfire_policy=skip``: the first waits, the second overlaps with it."""
    both = job(misfire_policy=MisfirePolicy.SKIP, schedule_expr="PT30S")
    plan = plan_due(both, ANCHOR + timedelta(seconds=30), IDLE)
    assert queued(plan) == [ANCHOR]
    assert skipped(plan) == {ANCHOR + timedelta(seconds=30): SkipReason.OVERLAP}


def test_cancel_previous_runs_the_newest_of_several() -> None:
    both = job(
        misfire_policy=MisfirePolicy.SKIP,
        overlap_policy=OverlapPolicy.CANCEL_PREVIOUS,
        schedule_expr="PT30S",
    )
    plan = plan_due(both, ANCHOR + timedelta(seconds=30), IDLE)
    assert queued(plan) == [ANCHOR + timedelta(seconds=30)]
    assert skipped(plan) == {ANCHOR: SkipReason.OVERLAP}


# jitter


def test_jitter_is_the_same_for_every_worker_and_spreads() -> None:
    spread = job(jitter_s=50, misfire_policy=MisfirePolicy.ALL)
    plans = [plan_due(spread, after(90), IDLE) for _ in range(2)]
    assert plans[0] == plans[1]
    delays = sorted((run.ready_at - run.instant).total_seconds() for run in plans[0].runs)
    assert delays[0] < 10 < 40 < delays[-1] < 50


def test_jitter_never_reaches_past_the_next_instant() -> None:
    spread = job(jitter_s=86_400, misfire_policy=MisfirePolicy.ALL)
    assert all(run.ready_at <= run.instant + MINUTE for run in plan_due(spread, after(90), IDLE).runs)
