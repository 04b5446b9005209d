"""The chaos test's stop-watch: whose end could be heard, and whose could not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from chaos.fleet import Hurt
from chaos.takeover import takeovers

KILLED_AT = 1000.0


def change(at: float, **values: Any) -> SimpleNamespace:
    return SimpleNamespace(at=datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=at), **values)


def told(*hurts: Hurt) -> list[tuple[bool, float]]:
    """Say of one run of worker w, rescued 4 s after it was killed, how its takeover counts."""
    claim = change(KILLED_AT - 5, writer="w")
    rescued = change(
        KILLED_AT + 4, old_token=1, old_status="running", status="queued", losses=1, old_losses=0
    )
    claimed = change(
        KILLED_AT + 4, old_token=1, old_status="queued", status="running", losses=1, old_losses=1
    )
    kill = Hurt(who="w", kind="kill", since=KILLED_AT, until=float("inf"))
    checker: Any = SimpleNamespace(
        hurts=[kill, *hurts], holders={(7, 1): claim}, by_run={7: [rescued, claimed]}
    )
    ready = {"w": 0.0, "other": 0.0, "third": 0.0}
    return [(each.killed, each.counted_s) for each in takeovers(checker, ready) if each.run_id == 7]


def test_a_kill_is_heard_at_once() -> None:
    assert told() == [(True, 4.0)]


@pytest.mark.parametrize("kind", ["cut", "freeze"])
def test_a_worker_that_was_silent_when_it_was_killed_counts_as_silent(kind: str) -> None:
    silent = Hurt(who="w", kind=kind, since=KILLED_AT - 1, until=KILLED_AT + 30)
    assert (True, 4.0) not in told(silent)
    assert (False, 4.0) in told(silent)


@pytest.mark.parametrize(
    "other",
    [
        Hurt(who="other", kind="freeze", since=KILLED_AT - 1, until=KILLED_AT + 30),
        Hurt(who="w", kind="cut", since=KILLED_AT - 60, until=KILLED_AT - 30),
        Hurt(who="w", kind="cut", since=KILLED_AT + 1, until=KILLED_AT + 30),
        Hurt(who="w", kind="source", since=KILLED_AT - 1, until=KILLED_AT + 30),
    ],
    ids=["another worker", "long over", "later", "its sources"],
)
def test_what_does_not_silence_it_changes_nothing(other: Hurt) -> None:
    assert (True, 4.0) in told(other)
