"""What can be a key: an id or a name under which something may be stored."""

from __future__ import annotations

import pytest

from pgsched.domain.names import is_key


@pytest.mark.parametrize("key", [1, 2**63 - 1, "a", "orders.by-hour_2", "A" + "b" * 62])
def test_key_that_can_be_stored_is_one(key: str | int) -> None:
    assert is_key(key)


@pytest.mark.parametrize("key", [0, -1, 2**63, "", "1a", "a b", "a\x00", "a\n", "\ud800", "é", "a" * 64])
def test_key_that_no_column_can_hold_is_none(key: str | int) -> None:
    assert not is_key(key)
