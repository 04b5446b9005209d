"""Tokens: their text, its checksum, and how long one is good for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgsched.domain.tokens import ApiToken, is_good, is_token, token_hash, token_text

NOW = datetime(2026, 1, 1, tzinfo=UTC)
secrets = st.binary(min_size=32, max_size=32)


@given(secrets)
def test_token_has_its_prefix_and_its_checksum(secret: bytes) -> None:
    text = token_text(secret)
    assert text.startswith("pgs_")
    assert len(text) == 53
    assert text.removeprefix("pgs_").isalnum()
    assert is_token(text)


@given(secrets, secrets)
def test_tokens_of_different_bits_differ(one: bytes, other: bytes) -> None:
    assert (token_text(one) == token_text(other)) == (one == other)
    assert (token_hash(token_text(one)) == token_hash(token_text(other))) == (one == other)


@given(
    secrets,
    st.integers(4, 52),
    st.sampled_from("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"),
)
def test_one_mistyped_letter_shows(secret: bytes, at: int, letter: str) -> None:
    text = token_text(secret)
    mistyped = text[:at] + letter + text[at + 1 :]
    assert is_token(mistyped) == (mistyped == text)


@pytest.mark.parametrize("text", ["", "pgs_", "pgs_" + "0" * 49, "x" * 53, "pgs_" + "é" * 49, "\ud800" * 53])
def test_nonsense_is_no_token(text: str) -> None:
    assert not is_token(text)
    assert len(token_hash(text)) == 64


def test_token_takes_exactly_its_bits() -> None:
    for size in (0, 31, 33):
        with pytest.raises(ValueError, match="32 random bytes"):
            token_text(bytes(size))


@given(st.none() | st.integers(-5, 5))
def test_token_is_good_before_its_end(seconds: int | None) -> None:
    ends = None if seconds is None else NOW + timedelta(seconds=seconds)
    token = ApiToken(
        id=1, user_id=1, name="t", queries=None, created_at=NOW, expires_at=ends, last_used_at=None
    )
    assert is_good(token, NOW) == (seconds is None or seconds > 0)
