"""The trail: secrets are masked at any depth, only what differs is kept, and all of it is JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from enum import StrEnum

from hypothesis import given
from hypothesis import strategies as st

from pgsched.domain.audit import MASK, SECRETS, added, changed, done, removed

CANARY = "canary-7f3a"
plain = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
values = st.recursive(
    plain | st.just(datetime(2026, 1, 1, tzinfo=UTC)) | st.just(b"x") | st.frozensets(st.text(max_size=3)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


class Colour(StrEnum):
    RED = "red"


@given(st.sampled_from(sorted(SECRETS)), st.dictionaries(st.text(max_size=5), values, max_size=3))
def test_secrets_are_masked_wherever_they_stand(name: str, beside: dict[str, object]) -> None:
    for key in (name, name.upper()):
        entry = added("user", 1, "a", {**beside, key: CANARY, "deep": [{"er": {key: CANARY}}]})
        assert CANARY not in json.dumps(entry.new)
        assert entry.new is not None
        assert entry.new["deep"] == [{"er": {key: MASK}}]


def test_absent_secrets_are_told_from_kept_ones() -> None:
    entry = changed("source.update", 1, "shop", {"password": None}, {"password": CANARY})
    assert (entry.old, entry.new) == ({"password": None}, {"password": MASK})


def test_other_secret_shows_as_a_change_of_what_is_masked() -> None:
    entry = changed("user.set_password", 1, "a", {"password": "x", "n": 1}, {"password": "y", "n": 1})
    assert (entry.old, entry.new) == ({"password": MASK}, {"password": MASK})


@given(st.dictionaries(st.text(max_size=3), values), st.dictionaries(st.text(max_size=3), values))
def test_only_what_differs_is_kept_and_it_is_json(old: dict[str, object], new: dict[str, object]) -> None:
    entry = changed("x.update", 1, None, old, new)
    json.dumps([entry.old, entry.new])
    same = {name for name in old.keys() & new.keys() if old[name] == new[name]}
    assert same.isdisjoint(entry.old or {})
    assert same.isdisjoint(entry.new or {})


def test_entries_name_noun_and_verb() -> None:
    assert [
        entry.action for entry in (added("a", 1, "n", {}), removed("b", 1, "n", {}), done("c.d", None))
    ] == [
        "a.create",
        "b.delete",
        "c.d",
    ]
    entry = done("run.cancel", 7, values={"why": Colour.RED, "at": datetime(2026, 1, 1, tzinfo=UTC)})
    assert (entry.noun, entry.noun_id) == ("run", "7")
    assert entry.new == {"why": "red", "at": "2026-01-01T00:00:00Z"}
