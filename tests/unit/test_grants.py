"""Grants as people write them, and the use-case that keeps them, over memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgsched.domain.accounts import NewAccount
from pgsched.domain.audit import Actor
from pgsched.domain.errors import InvalidInput, NotFound
from pgsched.domain.grants import MOST_COLUMNS, MOST_VALUES, written_grants
from pgsched.entrypoints.in_memory import InMemory, in_memory
from pgsched.entrypoints.shapes import grants_shape

BY = Actor(name="ada@example.com")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=9,
)


@given(
    written=st.dictionaries(
        st.sampled_from(["users", "roles", "tokens", "x"]),
        JSON
        | st.lists(st.dictionaries(st.sampled_from(["id", "name", "email", "row_filter"]), JSON, max_size=4)),
    )
)
def test_each_entry_is_read_or_has_a_fault(written: dict) -> None:
    found, faults = written_grants(written)
    entries = sum(len(value) for kind, value in written.items() if isinstance(value, list) and kind != "x")
    assert len(found) <= entries
    assert faults or len(found) == entries
    for grant in found:
        assert isinstance(grant.key, (str, int))
        assert grant.row_filter is None or all(grant.row_filter.values())


@pytest.mark.parametrize(
    ("entry", "field"),
    [
        ("ada", "users[0]"),
        ({}, "users[0]"),
        ({"id": "1"}, "users[0].id"),
        ({"id": True}, "users[0].id"),
        ({"name": 5}, "users[0].name"),
        ({"name": ""}, "users[0].name"),
        ({"name": "a", "until": 1}, "users[0].until"),
        ({"name": "a", "row_filter": []}, "users[0].row_filter"),
        ({"name": "a", "row_filter": {}}, "users[0].row_filter"),
        ({"name": "a", "row_filter": {"c": []}}, "users[0].row_filter.c"),
        ({"name": "a", "row_filter": {"c": "x"}}, "users[0].row_filter.c"),
        ({"name": "a", "row_filter": {"c": [[1]]}}, "users[0].row_filter.c"),
        ({"name": "a", "row_filter": {"c": [{}]}}, "users[0].row_filter.c"),
        ({"name": "a", "row_filter": {"c": ["x" * 1001]}}, "users[0].row_filter.c"),
        ({"name": "a", "row_filter": {"c": ["\ud800"]}}, "users[0].row_filter.c"),
        ({"name": "a", "row_filter": {"c": [float("nan")]}}, "users[0].row_filter.c"),
        ({"name": "a", "row_filter": {"c": [1] * (MOST_VALUES + 1)}}, "users[0].row_filter.c"),
        ({"name": "a", "row_filter": {"": [1]}}, "users[0].row_filter"),
        ({"name": "a", "row_filter": {str(n): [n] for n in range(MOST_COLUMNS + 1)}}, "users[0].row_filter"),
    ],
)
def test_what_is_wrong_with_an_entry_is_named(entry: object, field: str) -> None:
    found, faults = written_grants({"users": [entry, {"name": "right"}]})
    assert [fault.field for fault in faults] == [field]
    assert [grant.key for grant in found] == ["right"]


def test_role_has_a_name_and_no_id() -> None:
    found, faults = written_grants({"roles": [{"id": 1}, {"name": "viewer"}], "tokens": None})
    assert [fault.field for fault in faults] == ["roles[0].id", "roles[0]"]
    assert [grant.key for grant in found] == ["viewer"]


@pytest.fixture
async def world() -> InMemory:
    made = in_memory()
    source = {"name": "shop", "host": "db.example", "dbname": "shop", "username": "reader"}
    await made.container.add_source()(source, BY)
    query = {
        "name": "sales",
        "title": "Sales",
        "sql_text": "select 1",
        "data_source": "shop",
        "schedule_type": "interval",
        "visibility": "restricted",
    }
    await made.container.add_job()(query, BY)
    for email in ("eve@example.com", "bob@example.com"):
        new = NewAccount(email=email, name="Eve", roles=("viewer",))
        await made.container.add_account()(new, "correct-horse-7", BY)
    made.store.events.clear()
    return made


def names(held: object) -> list[str]:
    shape = grants_shape(held)
    return [each.get("email", each["name"]) for kind in shape.values() for each in kind]


async def test_grants_are_replaced_given_and_taken_with_a_trail(world: InMemory) -> None:
    change = world.container.change_grants()
    written = {
        "users": [{"email": "EVE@example.com", "row_filter": {"n": [1]}}],
        "roles": [{"name": "viewer"}],
    }
    held = await change.replace("sales", written, BY)
    assert names(held) == ["eve@example.com", "viewer"]
    assert names(await change.replace("sales", grants_shape(held), BY)) == names(held)
    assert len(world.store.events) == 1
    more = await change.give(
        "sales", {"users": [{"name": "bob@example.com"}, {"name": "eve@example.com"}]}, BY
    )
    assert [each["row_filter"] for each in grants_shape(more)["users"]] == [None, None]
    assert names(await change.take("sales", {"roles": [{"name": "viewer"}]}, BY)) == [
        "bob@example.com",
        "eve@example.com",
    ]
    events = list(world.store.events.values())
    assert [event.action for event in events] == ["grant.update"] * 3
    assert events[2].old == {"roles viewer": {"row_filter": None}}
    assert events[2].noun_name == "sales"


async def test_nobody_several_and_twice_are_told_at_once_and_nothing_changes(world: InMemory) -> None:
    change = world.container.change_grants()
    await change.replace("sales", {"roles": [{"name": "viewer"}]}, BY)
    written = {
        "users": [
            {"name": "Eve"},
            {"name": "nobody"},
            {"name": "eve@example.com"},
            {"name": "EVE@example.com"},
        ],
        "roles": [{"name": "boss"}],
        "tokens": [{"id": 4711}],
    }
    with pytest.raises(InvalidInput) as caught:
        await change.replace("sales", written, BY)
    told = {fault.field: fault.message for fault in caught.value.faults}
    assert told == {
        "users[0]": "several users are called Eve; give the id",
        "users[1]": "there is no user nobody",
        "users[3]": "EVE@example.com is there more than once",
        "roles[0]": "there is no role boss; the roles are viewer, editor, admin",
        "tokens[0]": "there is no token 4711",
    }
    with pytest.raises(InvalidInput, match="has no grant"):
        await change.take("sales", {"users": [{"name": "eve@example.com"}]}, BY)
    with pytest.raises(NotFound):
        await change.replace("nothing", {}, BY)
    assert len(world.store.events) == 1
    [job_id] = world.store.jobs
    assert names(await world.container.grants().of(job_id)) == ["viewer"]
