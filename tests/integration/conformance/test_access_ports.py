"""The clauses of the ports ``Credentials``, ``Sessions``, ``Tokens``, ``LoginFailures`` and ``Accounts``."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from worlds import World

from pgsched.domain.accounts import Account
from pgsched.domain.errors import EmailTaken, NotFound
from pgsched.domain.sessions import Session
from pgsched.domain.throttling import Failures
from pgsched.domain.tokens import ApiToken

NO_IDS = [4711, 2**63, 2**200, 0, -1]


async def account(world: World, email: str = "ada@example.com", **changes: object) -> Account:
    given = {"email": email, "name": "Ada", "roles": ["viewer"], "password_hash": "h"}
    return await world.accounts.add(**(given | changes))


async def session(world: World, user_id: int, key: str = "a" * 64, **changes: object) -> Session:
    now = await world.clock.now()
    ends = now + timedelta(hours=1)
    given = {"id": key, "user_id": user_id, "created_at": now, "last_seen_at": now, "expires_at": ends}
    made = Session(**(given | changes))
    await world.sessions.add(made)
    return made


async def token(world: World, user_id: int, key: str = "t" * 64, **changes: object) -> ApiToken:
    given = {"user_id": user_id, "name": "wall", "token_hash": key, "queries": None, "expires_at": None}
    return await world.tokens.add(**(given | changes))


# accounts


async def test_account_is_found_by_id_and_by_address_without_letter_case(world: World) -> None:
    ada = await account(world, "Ada@example.com")
    assert ada == await world.accounts.get(ada.id) == await world.accounts.get("aDA@EXAMPLE.com")
    assert (await world.accounts.with_password(ada.id)).password_hash == "h"


@pytest.mark.parametrize("key", [*NO_IDS, "eve@example.com", "", "a\x00@b", "\ud800@b", "ada"])
async def test_unknown_account_is_not_found(world: World, key: str | int) -> None:
    await account(world)
    for ask in (world.accounts.get, world.accounts.with_password):
        with pytest.raises(NotFound):
            await ask(key)


async def test_accounts_come_in_pages(world: World) -> None:
    made = [await account(world, f"{n}@example.com") for n in range(5)]
    assert await world.accounts.page(limit=2, offset=1) == (made[1:3], 5)
    assert await world.accounts.page(limit=2, offset=9) == ([], 5)


async def test_replaced_account_keeps_id_password_and_creation(world: World) -> None:
    ada = await account(world)
    await world.advance(1)
    wanted = replace(ada, email="ADA@example.com", name="A", roles=("editor", "admin"), is_active=False)
    after = await world.accounts.replace(wanted)
    assert after == replace(wanted, roles=("admin", "editor"), updated_at=after.updated_at)
    assert after.updated_at - ada.created_at >= timedelta(seconds=1)
    assert (await world.accounts.with_password(ada.id)).account == after
    assert (await world.accounts.with_password(ada.id)).password_hash == "h"


async def test_account_is_not_replaced_by_anothers_address_nor_where_there_is_none(world: World) -> None:
    ada, eve = await account(world), await account(world, "eve@example.com")
    with pytest.raises(EmailTaken):
        await world.accounts.replace(replace(eve, email="ADA@example.com"))
    assert await world.accounts.get(eve.id) == eve
    for unknown in NO_IDS:
        with pytest.raises(NotFound):
            await world.accounts.replace(replace(ada, id=unknown, email="new@example.com"))


async def test_password_is_set_and_rehashed_only_while_it_is_the_same(world: World) -> None:
    ada = await account(world)
    await world.advance(1)
    await world.accounts.set_password(ada.id, "rehashed", instead_of="h")
    await world.accounts.set_password(ada.id, "late", instead_of="h")
    found = await world.accounts.with_password(ada.id)
    assert (found.password_hash, found.account) == ("rehashed", ada)
    await world.accounts.set_password(ada.id, "new")
    found = await world.accounts.with_password(ada.id)
    assert (found.password_hash, found.account.updated_at > ada.updated_at) == ("new", True)
    for unknown in NO_IDS:
        with pytest.raises(NotFound):
            await world.accounts.set_password(unknown, "x")


async def test_removed_account_takes_its_sessions_and_tokens_along(world: World) -> None:
    ada, eve = await account(world), await account(world, "eve@example.com")
    await session(world, ada.id, "a")
    await token(world, ada.id, "b")
    kept = await session(world, eve.id, "c")
    await world.accounts.remove(ada.id)
    for ask in (world.credentials.session("a"), world.credentials.token("b"), world.accounts.get(ada.id)):
        with pytest.raises(NotFound):
            await ask
    assert (await world.credentials.session("c")).session == kept
    for unknown in (ada.id, *NO_IDS):
        with pytest.raises(NotFound):
            await world.accounts.remove(unknown)


# sessions


async def test_session_is_found_by_its_hash_with_the_account_as_it_is_now(world: World) -> None:
    ada = await account(world, roles=["viewer", "editor"])
    made = await session(world, ada.id, ip="2001:db8::1", user_agent="curl/8 käse")
    ada = await world.accounts.replace(replace(ada, is_active=False))
    found = await world.credentials.session(made.id)
    assert (found.session, found.account, found.at) == (made, ada, await world.clock.now())
    with pytest.raises(NotFound):
        await world.credentials.session("b" * 64)


async def test_touch_puts_an_end_off_and_never_forward(world: World) -> None:
    made = await session(world, (await account(world)).id)
    seen, later = made.created_at + timedelta(minutes=5), made.expires_at + timedelta(hours=1)
    await world.sessions.touch(made.id, seen, None)
    assert (await world.credentials.session(made.id)).session == replace(made, last_seen_at=seen)
    await world.sessions.touch(made.id, seen, later)
    await world.sessions.touch(made.id, made.created_at, made.expires_at)
    after = (await world.credentials.session(made.id)).session
    assert after == replace(made, last_seen_at=seen, expires_at=later)
    await world.sessions.revoke(made.id, user_id=made.user_id)
    await world.sessions.touch(made.id, later, later + timedelta(hours=1))
    assert (await world.credentials.session(made.id)).session == replace(after, is_revoked=True)
    await world.sessions.touch("nothing", seen, later)


async def test_session_is_revoked_once_and_by_its_owner(world: World) -> None:
    ada, eve = await account(world), await account(world, "eve@example.com")
    made = await session(world, ada.id)
    for user_id in (eve.id, 4711):
        with pytest.raises(NotFound):
            await world.sessions.revoke(made.id, user_id=user_id)
    assert await world.sessions.revoke(made.id, user_id=ada.id) == replace(made, is_revoked=True)
    assert (await world.credentials.session(made.id)).session.is_revoked
    with pytest.raises(NotFound):
        await world.sessions.revoke(made.id, user_id=ada.id)


async def test_live_sessions_come_newest_first_without_revoked_and_ended_ones(world: World) -> None:
    ada, eve = await account(world), await account(world, "eve@example.com")
    now = await world.clock.now()
    await session(world, ada.id, "ended", expires_at=now)
    await session(world, eve.id, "anothers")
    first = await session(world, ada.id, "first")
    second = await session(world, ada.id, "second", created_at=now + timedelta(seconds=1))
    gone = await session(world, ada.id, "gone")
    await world.sessions.revoke(gone.id, user_id=ada.id)
    assert list(await world.sessions.live(ada.id, now)) == [second, first]


async def test_all_sessions_are_revoked_but_one(world: World) -> None:
    ada, eve = await account(world), await account(world, "eve@example.com")
    for key in ("one", "two", "three"):
        await session(world, ada.id, key)
    await session(world, eve.id, "anothers")
    now = await world.clock.now()
    assert await world.sessions.revoke_all(ada.id, but="two") == 2
    assert [kept.id for kept in await world.sessions.live(ada.id, now)] == ["two"]
    assert await world.sessions.revoke_all(ada.id) == 1
    assert await world.sessions.revoke_all(ada.id) == 0
    assert len(await world.sessions.live(eve.id, now)) == 1


async def test_ended_sessions_are_forgotten(world: World) -> None:
    ada, now = await account(world), await world.clock.now()
    await session(world, ada.id, "old", expires_at=now - timedelta(days=2))
    await session(world, ada.id, "live")
    for _ in range(2):
        await world.sessions.forget_ended(now - timedelta(days=1))
    with pytest.raises(NotFound):
        await world.credentials.session("old")
    assert (await world.credentials.session("live")).session.id == "live"


# tokens


async def test_token_is_found_by_its_hash_with_its_owner(world: World) -> None:
    ada, at = await account(world), datetime.fromisoformat("2140-01-01T00:00:00Z")
    made = await token(world, ada.id, name="Käse", queries=[3, 2**62], expires_at=at)
    assert (made.name, made.queries, made.expires_at, made.last_used_at) == ("Käse", (3, 2**62), at, None)
    found = await world.credentials.token("t" * 64)
    assert (found.token, found.owner, found.at) == (made, ada, await world.clock.now())
    assert await world.tokens.get(made.id) == made
    with pytest.raises(NotFound):
        await world.credentials.token("u" * 64)


async def test_token_without_queries_is_not_one_narrowed_to_none(world: World) -> None:
    ada = await account(world)
    assert (await token(world, ada.id, "a", queries=[])).queries == ()
    assert (await token(world, ada.id, "b", queries=None)).queries is None


async def test_token_needs_an_account(world: World) -> None:
    with pytest.raises(NotFound):
        await token(world, 4711)


async def test_tokens_come_in_pages_of_one_account_or_of_all(world: World) -> None:
    ada, eve = await account(world), await account(world, "eve@example.com")
    made = [await token(world, owner.id, str(n)) for n, owner in enumerate((ada, eve, ada, ada))]
    assert await world.tokens.page(ada.id, limit=2, offset=1) == ([made[2], made[3]], 3)
    assert await world.tokens.page(None, limit=3, offset=0) == (made[:3], 4)


async def test_token_remembers_its_last_use(world: World) -> None:
    made, now = await token(world, (await account(world)).id), await world.clock.now()
    for at in (now + timedelta(minutes=1), now):
        await world.tokens.touch(made.id, at)
    assert (await world.tokens.get(made.id)).last_used_at == now + timedelta(minutes=1)
    await world.tokens.touch(4711, now)


async def test_removed_token_opens_nothing(world: World) -> None:
    ada, eve = await account(world), await account(world, "eve@example.com")
    first, second = await token(world, ada.id, "a"), await token(world, ada.id, "b")
    kept = await token(world, eve.id, "c")
    await world.tokens.remove(first.id)
    with pytest.raises(NotFound):
        await world.credentials.token("a")
    assert list(await world.tokens.remove_all(ada.id)) == [second]
    assert await world.tokens.page(None, limit=9, offset=0) == ([kept], 1)
    for unknown in (first.id, *NO_IDS):
        for ask in (world.tokens.remove, world.tokens.get):
            with pytest.raises(NotFound):
                await ask(unknown)


# failed logins


async def test_failures_are_counted_by_account_and_network_inside_the_window(world: World) -> None:
    fail = world.login_failures.record
    await fail("old@x", "192.0.2.1")
    await world.advance(15 * 60)
    await fail("ada@x", "192.0.2.1")
    await fail("ada@x", "192.0.2.2")
    await world.advance(60)
    await fail("eve@x", "192.0.2.1")
    now = await world.clock.now()
    before = now - timedelta(minutes=1)
    assert await world.login_failures.count("ada@x", "192.0.2.1") == Failures(
        here=1, of_account=2, of_network=2, last_here=before, last_of_network=now, now=now
    )
    assert await world.login_failures.count("new@x", "192.0.2.1") == Failures(
        of_network=2, last_of_network=now, now=now
    )
    assert await world.login_failures.count("new@x", "192.0.2.9") == Failures(now=now)


async def test_failures_from_nowhere_count_for_the_account_alone(world: World) -> None:
    await world.login_failures.record("ada@x", None)
    now = await world.clock.now()
    assert await world.login_failures.count("ada@x", None) == Failures(
        here=1, of_account=1, last_here=now, now=now
    )
    assert await world.login_failures.count("eve@x", None) == Failures(now=now)


async def test_success_forgets_the_accounts_failures_from_that_network_alone(world: World) -> None:
    for email, network in (
        ("ada@x", "n1"),
        ("ada@x", "n1"),
        ("ada@x", "n2"),
        ("eve@x", "n1"),
        ("ada@x", None),
    ):
        await world.login_failures.record(email, network)
    await world.login_failures.forget("ada@x", "n1")
    left = await world.login_failures.count("ada@x", "n1")
    assert (left.here, left.of_account, left.of_network) == (0, 2, 1)
    await world.login_failures.forget("ada@x", None)
    assert (await world.login_failures.count("ada@x", None)).here == 0
