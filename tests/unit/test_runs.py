"""Runs: the state chart, failures and what is worth another try."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgsched.domain.errors import (
    CannotOpen,
    IsMetadata,
    KeyFault,
    LimitExceeded,
    NoPrivateKey,
    PgschedError,
    QueryFailed,
    QueryTimeout,
    ResultRejected,
    SourceRefused,
    SourceUnreachable,
    SqlNotAllowed,
)
from pgsched.domain.runs import (
    LEASE_S,
    MAX_BACKOFF_S,
    RENEW_EVERY_S,
    SELF_KILL_S,
    TRANSITIONS,
    Failure,
    Hold,
    RunStatus,
    fraction_of,
    is_passing,
    retry_delay,
)

# the chart


def test_every_status_has_its_place_in_the_chart() -> None:
    assert set(TRANSITIONS) == set(RunStatus)


def test_terminal_statuses_are_those_that_lead_nowhere() -> None:
    over = {status for status in RunStatus if status.is_terminal}
    assert over == {RunStatus.SUCCESS, RunStatus.ERROR, RunStatus.CANCELLED, RunStatus.SKIPPED}


def test_every_status_can_be_reached_and_can_end() -> None:
    reached, frontier = {RunStatus.QUEUED}, [RunStatus.QUEUED]
    while frontier:
        for status in TRANSITIONS[frontier.pop()] - reached:
            reached.add(status)
            frontier.append(status)
    assert reached == set(RunStatus)
    for status in RunStatus:
        assert status.is_terminal or any(after.is_terminal for after in TRANSITIONS[status])


def test_only_a_run_that_ran_has_an_outcome_and_only_one_that_did_not_is_skipped() -> None:
    for outcome in (RunStatus.SUCCESS, RunStatus.ERROR):
        assert [status for status in RunStatus if outcome in TRANSITIONS[status]] == [RunStatus.RUNNING]
    assert [s for s in RunStatus if RunStatus.SKIPPED in TRANSITIONS[s]] == [RunStatus.QUEUED]


def test_worker_gives_up_before_its_lease_can_be_taken() -> None:
    assert 2 * RENEW_EVERY_S < SELF_KILL_S < LEASE_S


def test_hold_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        Hold(run_id=1, token=2).token = 3  # type: ignore[misc]


# failures


@pytest.mark.parametrize(
    ("sqlstate", "passing"),
    [
        ("08000", True),
        ("08006", True),
        ("40001", True),
        ("40P01", True),
        ("53300", True),
        ("55P03", True),
        ("57P01", True),
        ("57P02", True),
        ("57P03", True),
        ("53200", False),
        ("53400", False),
        ("55000", False),
        ("57014", False),
        ("57P04", False),
        ("57P05", False),
        ("42P01", False),
        ("22012", False),
        ("25006", False),
        ("28P01", False),
        ("58000", False),
        ("XX000", False),
        ("4", False),
        ("", False),
        (None, False),
    ],
)
def test_only_what_can_pass_by_itself_is_passing(sqlstate: str | None, passing: bool) -> None:
    assert is_passing(sqlstate) is passing
    failure = Failure.of(QueryFailed("whole", sqlstate=sqlstate, public="part"))
    assert (failure.passing, failure.sqlstate) == (passing, sqlstate)


@pytest.mark.parametrize(
    ("error", "code", "passing"),
    [
        (SourceUnreachable("refused"), "source_unreachable", True),
        (SourceRefused("wrong password", sqlstate="28P01"), "source_auth", False),
        (QueryTimeout("60000 ms"), "query_timeout", False),
        (QueryTimeout("60000 ms", sqlstate="57014"), "query_timeout", False),
        (LimitExceeded("rows"), "limit_exceeded", False),
        (IsMetadata("own"), "is_metadata", False),
        (SqlNotAllowed("insert", reason="not_a_select", position=1), "sql_not_allowed", False),
        (ResultRejected("NUL"), "result_rejected", False),
        (CannotOpen("damaged"), "cannot_open", False),
    ],
)
def test_failure_keeps_the_code_and_says_whether_it_can_pass(
    error: PgschedError, code: str, passing: bool
) -> None:
    failure = Failure.of(error)
    assert (failure.code, failure.message, failure.passing) == (code, error.detail, passing)


def test_failure_at_a_source_shows_only_the_public_part() -> None:
    failure = Failure.of(QueryFailed("ERROR: x\nDETAIL: secret", sqlstate="42P01", public="x"))
    assert (failure.message, failure.public) == ("ERROR: x\nDETAIL: secret", "x")


@pytest.mark.parametrize("error", [NoPrivateKey("/keys/private"), CannotOpen("version 3"), KeyFault("/keys")])
def test_failure_to_open_a_password_tells_readers_nothing_of_keys(error: KeyFault) -> None:
    failure = Failure.of(error)
    assert failure.public == "the source's password cannot be opened"
    assert failure.message == error.detail


# another try


@given(
    run_id=st.integers(1, 2**63 - 1),
    attempt=st.integers(1, 100),
    max_attempts=st.integers(1, 100),
    backoff_s=st.integers(1, 900),
)
def test_wait_doubles_within_a_tenth_up_to_its_bound(
    run_id: int, attempt: int, max_attempts: int, backoff_s: int
) -> None:
    delay = retry_delay(run_id=run_id, attempt=attempt, max_attempts=max_attempts, backoff_s=backoff_s)
    if attempt >= max_attempts:
        assert delay is None
        return
    assert delay is not None
    nominal = min(backoff_s * 2 ** (attempt - 1), MAX_BACKOFF_S)
    assert nominal * 0.9 <= delay <= min(nominal * 1.1, MAX_BACKOFF_S)


def test_waits_of_many_runs_are_spread_both_ways() -> None:
    delays = [retry_delay(run_id=n, attempt=1, max_attempts=3, backoff_s=100) for n in range(1000)]
    known = [delay for delay in delays if delay is not None]
    assert min(known) < 92 < 99 < sum(known) / 1000 < 101 < 108 < max(known)


@given(parts=st.lists(st.integers() | st.text(), max_size=4))
def test_fraction_depends_on_nothing_but_its_parts(parts: list[object]) -> None:
    assert 0 <= fraction_of(*parts) < 1
    assert fraction_of(*parts) == fraction_of(*parts)


def test_fraction_is_the_same_in_every_process() -> None:
    """Workers of different versions must agree: these numbers are kept."""
    assert fraction_of(7, "2026-01-01T00:00:00+00:00") == pytest.approx(0.5099294024629362)
