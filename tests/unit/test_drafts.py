"""What people write about queries and sources, judged field by field."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from certificates import CERTIFICATE
from hypothesis import given
from hypothesis import strategies as st

from pgsched.domain.instants import instant_of
from pgsched.domain.job_changes import changes_plan, drafted_job, revised
from pgsched.domain.jobs import Job, JobSpec, OverlapPolicy
from pgsched.domain.schedules import ScheduleType
from pgsched.domain.source_changes import LOCATION, drafted_source, password_faults
from pgsched.domain.sources import DataSource, SealedPassword, SslMode

NOW = datetime(2026, 1, 1, 12, 0, 30, 500, tzinfo=UTC)
JOB = {
    "name": "orders",
    "title": "Orders",
    "sql_text": "select 1",
    "data_source_id": 1,
    "schedule_type": "interval",
    "schedule_expr": "PT1H",
}
SOURCE = {"name": "shop", "host": "db.example", "dbname": "shop", "username": "reader"}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


def job(**changes: object) -> Job:
    values = {"anchor_at": NOW.replace(microsecond=0), "next_run_at": NOW + timedelta(minutes=7)} | changes
    spec = values.pop("spec", None) or JobSpec(**JOB | {"schedule_type": ScheduleType.INTERVAL})
    return Job(id=1, spec=spec, created_at=NOW, updated_at=NOW, **values)


def fields_at_fault(draft) -> set[str]:
    return {fault.field.partition(".")[0] for fault in draft.faults}


def test_right_fields_are_a_spec_of_the_domain_s_types() -> None:
    draft = drafted_job(JOB | {"overlap_policy": "allow", "keep_runs": None})
    assert draft.faults == ()
    assert draft.value.overlap_policy is OverlapPolicy.ALLOW
    assert draft.value.keep_runs is None


def test_all_faults_are_told_at_once_whether_of_type_rule_or_absence() -> None:
    draft = drafted_job(
        {"name": "1", "title": 5, "sql_text": "select 1", "max_rows": 0, "enabled": "yes", "nonsense": 1}
    )
    assert fields_at_fault(draft) == {
        "name",
        "title",
        "max_rows",
        "enabled",
        "nonsense",
        "data_source_id",
        "schedule_type",
        "schedule_expr",
    }
    assert len(draft.faults) == 8


@given(value=st.dictionaries(st.sampled_from([*JobSpec.__dataclass_fields__, "x"]), JSON, max_size=6))
def test_anything_written_about_a_query_has_faults_or_is_right(value: dict) -> None:
    draft = drafted_job(JOB | value)
    if not draft.faults:
        assert drafted_job({name: getattr(draft.value, name) for name in JOB}).faults == ()
    assert fields_at_fault(draft) <= value.keys()


@given(value=st.dictionaries(st.sampled_from([*SOURCE, "port", "sslmode", "sslrootcert", "x"]), JSON))
def test_anything_written_about_a_source_has_faults_or_is_right(value: dict) -> None:
    draft = drafted_source(SOURCE | value)
    assert fields_at_fault(draft) <= value.keys() | {"sslrootcert"}


@pytest.mark.parametrize("wrong", [True, 1.5, "5", [5]])
def test_a_number_is_a_whole_number_and_no_truth(wrong: object) -> None:
    assert fields_at_fault(drafted_job(JOB | {"max_rows": wrong})) == {"max_rows"}


def test_what_is_absent_stays_and_null_is_the_default() -> None:
    before = job().spec
    before = drafted_job({"max_rows": 5, "description": "x"}, before).value
    after = drafted_job({"description": None, "title": "Sales"}, before).value
    assert (after.max_rows, after.description, after.title) == (5, "", "Sales")
    assert fields_at_fault(drafted_job({"title": None}, before)) == {"title"}


def test_rule_over_two_fields_is_told_too() -> None:
    assert fields_at_fault(drafted_source(SOURCE | {"sslmode": "verify-ca"})) == {"sslrootcert"}


# plans


def test_another_schedule_is_anchored_at_the_whole_second_of_now_and_due_then() -> None:
    before, now = job(), NOW + timedelta(seconds=5)
    after = revised(before, drafted_job({"schedule_expr": "PT2H"}, before.spec).value, now)
    assert after.anchor_at == after.next_run_at == now.replace(microsecond=0)


def test_another_schedule_within_the_second_of_a_planned_instant_begins_with_the_next_second() -> None:
    before = job()
    after = revised(before, drafted_job({"schedule_expr": "PT2H"}, before.spec).value, NOW)
    assert after.anchor_at == after.next_run_at == NOW.replace(microsecond=0) + timedelta(seconds=1)


def test_schedule_told_to_start_at_a_planned_instant_does_not_name_it_again() -> None:
    before = job()
    start = NOW.replace(microsecond=0)
    spec = drafted_job({"schedule_expr": "PT2H"}, before.spec).value
    after = revised(before, spec, NOW, start_at=start)
    assert (after.anchor_at, after.next_run_at) == (start, start + timedelta(hours=2))


@pytest.mark.parametrize("field", ["title", "max_rows", "sql_text"])
def test_what_is_no_schedule_leaves_the_plan_alone(field: str) -> None:
    before = job()
    spec = drafted_job({field: 7 if field == "max_rows" else "seven"}, before.spec).value
    assert not changes_plan(before, spec)
    after = revised(before, spec, NOW + timedelta(days=1))
    assert (after.anchor_at, after.next_run_at) == (before.anchor_at, before.next_run_at)


def test_disabling_and_enabling_keeps_the_anchor() -> None:
    before = job()
    off = revised(before, drafted_job({"enabled": False}, before.spec).value, NOW)
    assert (off.next_run_at, off.anchor_at) == (None, before.anchor_at)
    later = NOW + timedelta(hours=2, minutes=1)
    on = revised(off, before.spec, later, resume=True)
    assert (on.anchor_at, on.next_run_at) == (before.anchor_at, before.anchor_at + timedelta(hours=3))


def test_start_that_is_the_anchor_already_changes_nothing() -> None:
    before = job()
    assert not changes_plan(before, before.spec, start_at=NOW)
    assert changes_plan(before, before.spec, start_at=NOW + timedelta(seconds=1))


def test_enabling_ends_a_pause_without_moving_what_comes_next() -> None:
    paused = job(paused_at=NOW, pause_reason="failures", consecutive_failures=3)
    kept = revised(paused, paused.spec, NOW)
    assert kept.paused_at == NOW
    after = revised(paused, paused.spec, NOW, resume=True)
    assert (after.paused_at, after.pause_reason, after.consecutive_failures) == (None, None, 0)
    assert after.next_run_at == paused.next_run_at


def test_query_that_could_not_be_planned_goes_on_when_it_is_enabled_again() -> None:
    stuck = job(next_run_at=None, paused_at=NOW, pause_reason="cannot be planned")
    assert revised(stuck, stuck.spec, NOW, resume=True).next_run_at == NOW.replace(hour=13, microsecond=0)


# passwords of sources


def source(**changes: object) -> DataSource:
    sealed = SealedPassword(ciphertext=b"x", algo="a", key_version=1)
    given = {"id": 1, "port": 5432, "password": sealed, "created_at": NOW, "updated_at": NOW, **SOURCE}
    return DataSource(**given | changes)


@pytest.mark.parametrize(
    "change",
    [
        {"host": "elsewhere"},
        {"host": "DB.example"},
        {"port": 5433},
        {"dbname": "x"},
        {"username": "x"},
        {"sslmode": "disable"},
        {"sslmode": "verify-full"},
        {"sslrootcert": CERTIFICATE},
    ],
)
def test_password_must_come_with_whatever_decides_where_it_goes(change: dict) -> None:
    before = source()
    [fault] = password_faults(before, drafted_source(change, before).value)
    assert [fault.field] == list(change)
    assert password_faults(source(password=None), drafted_source(change, source(password=None)).value) == ()


def test_saying_again_what_is_so_moves_no_password() -> None:
    before = source(sslmode=SslMode.REQUIRE)
    same = {name: getattr(before, name) for name in LOCATION}
    assert password_faults(before, drafted_source(same | {"max_concurrency": 9}, before).value) == ()


# instants


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("2026-01-01T00:00:00Z", datetime(2026, 1, 1, tzinfo=UTC)),
        ("2026-01-01t02:00:00.5 02:00", datetime(2026, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC)),
        ("2026-01-01T00:00:00", None),
        ("2026-06-31T00:00:00Z", None),
        ("2026-01-01", None),
        ("0001-01-01T00:00:00+23:00", None),
        ("٢026-01-01T00:00:00Z", None),
    ],
)
def test_instants_have_an_offset_or_are_none(text: str, read: datetime | None) -> None:
    assert instant_of(text) == read
