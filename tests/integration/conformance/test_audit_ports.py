"""The clauses of the ports ``Audit`` and ``Transactions``."""

from __future__ import annotations

from datetime import timedelta

import pytest
from worlds import World

from pgsched.domain.audit import Actor, AuditFilter, added, changed, done, removed
from pgsched.domain.errors import EmailTaken

ADA = Actor(name="Ada@example.com", id=7, ip="192.0.2.7", request_id="r-1")
CLI = Actor(name="cli:root")
EVERY = AuditFilter()


async def add(world: World, email: str = "ada@example.com") -> None:
    account = await world.accounts.add(email=email, name="Ada", roles=["admin"], password_hash="h")
    await world.audit.record(CLI, added("user", account.id, email, {"roles": account.roles}))


async def test_events_come_newest_first_with_all_that_was_recorded(world: World) -> None:
    await world.audit.record(CLI, added("source", 3, "shop", {"host": "db", "password": "secret"}))
    await world.advance(1)
    await world.audit.record(
        ADA, changed("user.update", 9, "eve", {"name": "a", "roles": ("x",)}, {"name": "b"})
    )
    await world.audit.record(ADA, removed("token", 2**63, None, {"token_hash": "abc", "at": None}))
    [third, second, first], total = await world.audit.page(EVERY, limit=10, offset=0)
    assert total == 3
    assert (first.actor_id, first.actor, first.ip, first.request_id) == (None, "cli:root", None, None)
    assert (first.action, first.noun, first.noun_id, first.noun_name) == (
        "source.create",
        "source",
        "3",
        "shop",
    )
    assert (first.old, first.new) == (None, {"host": "db", "password": "***"})
    assert (second.actor_id, second.actor, second.ip, second.request_id) == (7, ADA.name, "192.0.2.7", "r-1")
    assert (second.old, second.new) == ({"name": "a", "roles": ["x"]}, {"name": "b"})
    assert second.at - first.at == timedelta(seconds=1)
    assert third.old == {"token_hash": "***", "at": None}
    assert first.id < second.id < third.id


async def test_page_is_narrowed_and_counted(world: World) -> None:
    await world.audit.record(CLI, done("run.create", 1))
    await world.advance(60)
    middle = await world.clock.now()
    await world.audit.record(ADA, done("run.cancel", 2))
    await world.audit.record(ADA, done("session.delete", "f00"))
    for wanted, found in [
        (AuditFilter(actor="ADA@EXAMPLE.COM"), ["session.delete", "run.cancel"]),
        (AuditFilter(noun="run"), ["run.cancel", "run.create"]),
        (AuditFilter(noun="run", noun_id="1"), ["run.create"]),
        (AuditFilter(action="run.cancel"), ["run.cancel"]),
        (AuditFilter(start=middle), ["session.delete", "run.cancel"]),
        (AuditFilter(end=middle), ["run.create"]),
        (AuditFilter(noun="nothing"), []),
    ]:
        page, total = await world.audit.page(wanted, limit=10, offset=0)
        assert ([event.action for event in page], total) == (found, len(found))
    page, total = await world.audit.page(EVERY, limit=1, offset=1)
    assert ([event.action for event in page], total) == (["run.cancel"], 3)


@pytest.mark.parametrize("rights", [False, True])
async def test_change_and_trail_stand_or_fall_together(world: World, rights: bool) -> None:
    async def change(email: str, *, fails: bool) -> None:
        async with world.transactions.begin(rights=rights):
            await add(world, email)
            if fails:
                raise ZeroDivisionError

    await change("ada@example.com", fails=False)
    with pytest.raises(ZeroDivisionError):
        await change("eve@example.com", fails=True)
    assert [account.email for account in await world.accounts.all()] == ["ada@example.com"]
    assert (await world.audit.page(EVERY, limit=10, offset=0))[1] == 1


async def test_conflict_inside_undoes_what_came_before_it(world: World) -> None:
    async def add_two() -> None:
        async with world.transactions.begin():
            await add(world, "eve@example.com")
            await add(world, "ADA@example.com")

    await add(world)
    with pytest.raises(EmailTaken):
        await add_two()
    assert len(await world.accounts.all()) == 1


async def test_transaction_inside_another_falls_with_it(world: World) -> None:
    async def outer() -> None:
        async with world.transactions.begin(rights=True):
            async with world.transactions.begin():
                await add(world)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await outer()
    assert list(await world.accounts.all()) == []
