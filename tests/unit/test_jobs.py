"""Jobs, and the names, texts and audiences that go with them."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgsched.domain.audience import EVERYTHING, Audience, anonymous
from pgsched.domain.errors import InvalidInput
from pgsched.domain.jobs import Job, JobSpec, Visibility
from pgsched.domain.names import MAX_DESCRIPTION, MAX_TITLE, NAME, name_fault, text_fault
from pgsched.domain.schedules import Schedule, ScheduleType

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def spec(**changes: object) -> JobSpec:
    given = {
        "name": "orders",
        "title": "Orders",
        "sql_text": "select 1",
        "data_source_id": 1,
        "schedule_type": ScheduleType.INTERVAL,
        "schedule_expr": "PT6H",
    }
    return JobSpec(**(given | changes))


def fields_at_fault(**changes: object) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        spec(**changes)
    assert all(fault.message for fault in caught.value.faults)
    return [fault.field for fault in caught.value.faults]


def test_policies_have_the_defaults_that_are_promised() -> None:
    given = spec()
    promised = {
        "description": "",
        "timezone": "UTC",
        "enabled": True,
        "visibility": "public",
        "overlap_policy": "skip",
        "misfire_policy": "once",
        "misfire_window": "P1D",
        "start_deadline_s": None,
        "jitter_s": 0,
        "max_attempts": 3,
        "retry_backoff_s": 5,
        "timeout_ms": 300_000,
        "max_rows": 10_000,
        "max_bytes": 8 * 1024 * 1024,
        "on_limit": "truncate",
        "pause_after_failures": 0,
        "keep_runs": None,
        "keep_days": None,
        "fresh_for": None,
        "expose_metrics": False,
        "parameters": (),
        "param_sets": (),
    }
    assert {name: getattr(given, name) for name in promised} == promised
    required = {"name", "title", "sql_text", "data_source_id", "schedule_type", "schedule_expr"}
    assert {field.name for field in fields(JobSpec)} == set(promised) | required


BOUNDS = {
    "start_deadline_s": (1, 31_536_000),
    "jitter_s": (0, 86_400),
    "max_attempts": (1, 100),
    "retry_backoff_s": (1, 900),
    "timeout_ms": (1, 86_400_000),
    "max_rows": (1, 1_000_000_000),
    "max_bytes": (1, 1 << 40),
    "pause_after_failures": (0, 1_000_000),
    "keep_runs": (1, 1_000_000_000),
    "keep_days": (1, 36_500),
}


@pytest.mark.parametrize("field", BOUNDS)
def test_numbers_are_taken_within_their_bounds_and_refused_beyond(field: str) -> None:
    least, most = BOUNDS[field]
    for value in (least, most):
        assert getattr(spec(**{field: value}), field) == value
    for value in (least - 1, most + 1, -1):
        assert fields_at_fault(**{field: value}) == [field]


@pytest.mark.parametrize("field", BOUNDS)
def test_none_is_taken_only_where_it_means_something(field: str) -> None:
    if field in {"start_deadline_s", "keep_runs", "keep_days"}:
        assert getattr(spec(**{field: None}), field) is None
    else:
        assert fields_at_fault(**{field: None}) == [field]


def test_only_what_everyone_may_read_is_told_in_metrics() -> None:
    assert spec(expose_metrics=True).expose_metrics
    for visibility in (Visibility.USERS, Visibility.RESTRICTED):
        assert fields_at_fault(expose_metrics=True, visibility=visibility) == ["expose_metrics"]


def test_all_faults_are_told_at_once() -> None:
    assert fields_at_fault(name="", title=" ", description="\x00", jitter_s=-1, max_rows=0) == [
        "name",
        "title",
        "description",
        "jitter_s",
        "max_rows",
    ]


def test_title_is_one_line_and_a_description_may_have_lines() -> None:
    assert spec(title="x" * MAX_TITLE, description="a\n\tb\r\n" + "x" * (MAX_DESCRIPTION - 6))
    assert fields_at_fault(title="a\nb") == ["title"]
    assert fields_at_fault(title="x" * (MAX_TITLE + 1)) == ["title"]
    assert fields_at_fault(description="x" * (MAX_DESCRIPTION + 1)) == ["description"]


def test_job_has_the_schedule_of_its_spec_and_anchor() -> None:
    made = Job(
        id=1,
        spec=spec(timezone="Europe/Berlin"),
        anchor_at=NOW,
        next_run_at=None,
        created_at=NOW,
        updated_at=NOW,
    )
    assert made.schedule == Schedule(
        type=ScheduleType.INTERVAL, expr="PT6H", timezone="Europe/Berlin", anchor=NOW
    )


# names and texts


@given(name=st.from_regex(NAME, fullmatch=True))
def test_names_can_stand_in_a_url_and_are_no_number(name: str) -> None:
    assert name_fault("name", name) is None
    assert name.isascii()
    assert not name[0].isdigit()
    assert set(name) & set("/?#%&=+ ") == set()
    assert 1 <= len(name) <= 63


@given(name=st.text(max_size=70))
def test_other_names_are_refused_with_their_field(name: str) -> None:
    fault = name_fault("source", name)
    assert (fault is None) is bool(NAME.fullmatch(name))
    assert fault is None or fault.field == "source"


@given(
    text=st.text(alphabet=st.characters(codec=None), max_size=12),
    lines=st.booleans(),
    longest=st.integers(0, 12),
)
def test_texts_without_a_fault_can_be_stored_and_shown(text: str, lines: bool, longest: int) -> None:
    if text_fault("title", text, longest, lines=lines) is not None:
        return
    assert len(text) <= longest
    assert "\x00" not in text
    text.encode()
    assert lines or not set(text) & set("\t\n\r")


@pytest.mark.parametrize("text", ["", "Käse 🧀 & Brot", "\u202e", "a'b\"c\\"])
def test_texts_of_any_language_are_taken(text: str) -> None:
    assert text_fault("title", text, 20) is None


@pytest.mark.parametrize("text", ["\x00", "\x1b[31m", "a\x7f", "\ud800", "\udc00a", "x" * 21, "a\nb"])
def test_texts_that_cannot_be_stored_or_shown_are_refused(text: str) -> None:
    fault = text_fault("title", text, 20)
    assert fault is not None
    assert fault.field == "title"
    # the message itself can be stored and shown
    assert fault.message.encode().decode().isprintable()


def test_blanks_do_not_count_as_text() -> None:
    assert text_fault("title", "   ", 20, shortest=1) is not None
    assert text_fault("title", " a ", 20, shortest=1) is None


# audiences


def test_somebody_without_a_login_reads_what_is_public_and_no_whole_errors() -> None:
    assert anonymous(public_read=True) == Audience(visibilities=frozenset({Visibility.PUBLIC}))
    assert anonymous(public_read=True).whole_errors is False


def test_without_public_read_somebody_without_a_login_reads_nothing() -> None:
    assert anonymous(public_read=False).visibilities == frozenset()


def test_everything_is_every_visibility_with_whole_errors() -> None:
    assert Audience(visibilities=frozenset(Visibility), whole_errors=True) == EVERYTHING
