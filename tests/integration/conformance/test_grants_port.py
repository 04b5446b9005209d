"""The clauses of the port ``Grants``."""

from __future__ import annotations

import pytest
from worlds import World

from pgsched.application.ports.grants import Grantee
from pgsched.domain.audience import Grant
from pgsched.domain.errors import NotFound


async def account(world: World, email: str, name: str = "Ada") -> int:
    made = await world.accounts.add(email=email, name=name, roles=["viewer"], password_hash="h")
    return made.id


async def token(world: World, user_id: int, name: str = "wall") -> int:
    made = await world.tokens.add(
        user_id=user_id, name=name, token_hash=f"hash {name}", queries=None, expires_at=None
    )
    return made.id


async def test_grants_come_back_as_they_were_given_in_order(world: World) -> None:
    job, other = await world.job(), await world.job()
    ada, bob = await account(world, "Bob@x", "Bob"), await account(world, "ada@x")
    made = await token(world, ada)
    exact = {'café "x"': ("a'b", 1, 0.1, 2**60, True, None)}
    given = [
        Grant(token_id=made),
        Grant(role="viewer", row_filter={"n": (1,)}),
        Grant(role="auditor"),
        Grant(user_id=ada),
        Grant(user_id=bob, row_filter=exact),
    ]
    await world.grants.replace(job.id, given)
    await world.grants.replace(other.id, given[:1])
    held = await world.grants.of(job.id)
    assert [each.grant for each in held] == [given[4], given[3], given[2], given[1], given[0]]
    assert [(each.name, each.email) for each in held] == [
        ("Ada", "ada@x"),
        ("Bob", "Bob@x"),
        ("auditor", None),
        ("viewer", None),
        ("wall", None),
    ]


async def test_grants_are_replaced_whole_and_gone_with_their_query(world: World) -> None:
    job = await world.job()
    user = await account(world, "ada@x")
    await world.grants.replace(job.id, [Grant(role="viewer"), Grant(user_id=user)])
    await world.grants.replace(job.id, [Grant(user_id=user, row_filter={"n": (1,)})])
    assert [each.grant for each in await world.grants.of(job.id)] == [
        Grant(user_id=user, row_filter={"n": (1,)})
    ]
    await world.grants.replace(job.id, [])
    assert await world.grants.of(job.id) == []
    await world.grants.replace(job.id, [Grant(role="viewer")])
    await world.jobs.remove(job.id)
    assert await world.grants.of(job.id) == []


async def test_nothing_is_granted_to_nobody_nor_of_nothing(world: World) -> None:
    job = await world.job()
    await world.grants.replace(job.id, [Grant(role="viewer")])
    for given in (Grant(user_id=4711), Grant(token_id=4711)):
        with pytest.raises(NotFound):
            await world.grants.replace(job.id, [given])
    with pytest.raises(NotFound):
        await world.grants.replace(4711, [])
    assert [each.grant for each in await world.grants.of(job.id)] == [Grant(role="viewer")]


async def test_users_are_found_by_id_address_and_name(world: World) -> None:
    ada, namesake = await account(world, "ada@x"), await account(world, "b@x")
    # somebody whose name is another's address is not that other
    await account(world, "c@x", "ada@x")
    assert await world.grants.users(ada) == [Grantee(id=ada, name="Ada", email="ada@x")]
    assert [each.id for each in await world.grants.users("ADA@x")] == [ada]
    assert [each.id for each in await world.grants.users("Ada")] == [ada, namesake]
    for nobody in ("nobody", "", "\x00", "\ud800", 4711, 0, 2**63, "x" * 2000):
        assert await world.grants.users(nobody) == []


async def test_tokens_are_found_by_id_and_name(world: World) -> None:
    user = await account(world, "ada@x")
    made = await token(world, user)
    assert (
        await world.grants.tokens("wall")
        == await world.grants.tokens(made)
        == [Grantee(id=made, name="wall")]
    )
    for nothing in ("nothing", "\x00", 4711, 2**63):
        assert await world.grants.tokens(nothing) == []
