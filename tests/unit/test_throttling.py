"""Failed logins: nobody waits too early, waits grow, and who has not failed never waits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgsched.domain.throttling import Failures, network_of, wait_for

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NONE = timedelta(0)


def failures(here: int = 0, of_account: int | None = None, of_network: int | None = None, ago_s: float = 0):
    last = NOW - timedelta(seconds=ago_s)
    everywhere = here if of_account is None else of_account
    from_here = here if of_network is None else of_network
    return Failures(
        here=here,
        of_account=everywhere,
        of_network=from_here,
        last_here=last if here else None,
        last_of_network=last if from_here else None,
        now=NOW,
    )


@given(st.integers(0, 4), st.integers(0, 45), st.integers(0, 15))
def test_nobody_waits_before_the_fifth_failure_of_an_account_and_the_twentieth_of_a_network(
    here: int, elsewhere: int, others: int
) -> None:
    assert wait_for(failures(here, here + elsewhere, here + others)) == NONE


@given(st.integers(0, 10_000))
def test_who_has_not_failed_never_waits(elsewhere: int) -> None:
    assert wait_for(failures(0, of_account=elsewhere)) == NONE


@given(st.integers(5, 1000))
def test_waits_double_up_to_the_window(here: int) -> None:
    wait = wait_for(failures(here))
    assert wait == min(timedelta(seconds=10) * 2 ** min(here - 5, 10), timedelta(minutes=15))
    assert wait_for(failures(here + 1)) >= wait
    assert wait_for(failures(here, ago_s=wait.total_seconds())) == NONE
    assert wait_for(failures(here, ago_s=wait.total_seconds() - 1)) == timedelta(seconds=1)


def test_network_waits_from_its_twentieth_failure_whichever_the_account() -> None:
    assert wait_for(failures(0, of_network=19)) == NONE
    assert wait_for(failures(0, of_network=20)) == timedelta(seconds=10)
    assert wait_for(failures(0, of_network=22)) == timedelta(seconds=40)


def test_account_under_attack_makes_a_network_wait_from_its_first_failure() -> None:
    assert wait_for(failures(1, of_account=49)) == NONE
    assert wait_for(failures(1, of_account=50)) == timedelta(seconds=10)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::1", "::/64"),
        (None, None),
        ("unix:", None),
        ("", None),
    ],
)
def test_network_is_what_one_person_has_to_himself(address: str | None, network: str | None) -> None:
    assert network_of(address) == network
