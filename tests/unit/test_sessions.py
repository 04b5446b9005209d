from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgsched.domain.sessions import (
    Session,
    SessionRules,
    expiry_at_login,
    extended_expiry,
    is_live,
    is_sid,
    sid_hash,
)

LOGIN = datetime(2026, 1, 1, tzinfo=UTC)
RULES = SessionRules(
    ttl=timedelta(hours=72), extend_within=timedelta(minutes=60), longest=timedelta(hours=720)
)


def session(expires_at: datetime | None = None, *, is_revoked: bool = False) -> Session:
    return Session(
        id="0" * 64,
        user_id=1,
        created_at=LOGIN,
        last_seen_at=LOGIN,
        expires_at=expires_at or expiry_at_login(LOGIN, RULES),
        is_revoked=is_revoked,
    )


def test_session_lives_its_ttl_from_the_login() -> None:
    assert expiry_at_login(LOGIN, RULES) == LOGIN + timedelta(hours=72)


def test_session_never_gets_more_than_the_longest_life() -> None:
    rules = replace(RULES, ttl=timedelta(hours=1000))
    assert expiry_at_login(LOGIN, rules) == LOGIN + timedelta(hours=720)


def test_session_is_live_before_its_end_and_not_at_it() -> None:
    end = session().expires_at
    assert is_live(session(), end - timedelta(microseconds=1))
    assert not is_live(session(), end)
    assert not is_live(session(is_revoked=True), LOGIN)


@pytest.mark.parametrize(
    ("before_end", "extended"),
    [
        (timedelta(hours=72), False),
        (timedelta(minutes=60, microseconds=1), False),
        (timedelta(minutes=60), True),
        (timedelta(microseconds=1), True),
        (timedelta(0), False),
        (-timedelta(seconds=1), False),
    ],
)
def test_session_used_near_its_end_is_extended_to_now_plus_ttl(before_end: timedelta, extended: bool) -> None:
    now = session().expires_at - before_end
    assert extended_expiry(session(), now, RULES) == (now + RULES.ttl if extended else None)


def test_session_is_never_extended_past_the_longest_life() -> None:
    last = LOGIN + RULES.longest
    near = session(last - timedelta(hours=1))
    assert extended_expiry(near, near.expires_at - timedelta(minutes=1), RULES) == last
    assert extended_expiry(session(last), last - timedelta(minutes=1), RULES) is None


def test_revoked_session_is_not_extended() -> None:
    end = session().expires_at
    assert extended_expiry(session(is_revoked=True), end - timedelta(minutes=1), RULES) is None


@given(
    st.lists(st.timedeltas(timedelta(0), timedelta(hours=80)), max_size=60),
    st.timedeltas(timedelta(hours=1), timedelta(hours=100)),
    st.timedeltas(timedelta(0), timedelta(hours=100)),
    st.timedeltas(timedelta(hours=1), timedelta(hours=400)),
)
def test_session_used_at_any_times_ends_by_the_longest_life(
    pauses: list[timedelta], ttl: timedelta, extend_within: timedelta, longest: timedelta
) -> None:
    rules = SessionRules(ttl=ttl, extend_within=extend_within, longest=longest)
    now, current = LOGIN, session(expiry_at_login(LOGIN, rules))
    for pause in pauses:
        now += pause
        later = extended_expiry(current, now, rules)
        if later is not None:
            assert later > current.expires_at
            current = replace(current, expires_at=later)
        assert current.expires_at <= LOGIN + longest
        assert not (is_live(current, now) and now >= LOGIN + longest)


def test_naive_times_are_refused() -> None:
    naive = LOGIN.replace(tzinfo=None)
    with pytest.raises(ValueError, match="zone"):
        expiry_at_login(naive, RULES)
    with pytest.raises(ValueError, match="zone"):
        is_live(session(), naive)


def test_sid_is_stored_as_its_sha256() -> None:
    assert sid_hash("abc") == hashlib.sha256(b"abc").hexdigest()
    assert len(sid_hash("\ud800")) == 64


def test_sid_has_the_shape_of_256_random_bits() -> None:
    assert is_sid("aB3_-" * 8 + "xyz")
    for text in ("", "x" * 42, "x" * 44, "x" * 42 + "=", "x" * 43 + "\n", "ä" * 43):
        assert not is_sid(text)
