"""The clauses of the ports ``Sources``, ``Jobs``, ``Accounts`` and ``Clock``."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from certificates import CERTIFICATE
from factories import job_spec, new_source
from worlds import World

from pgsched.application.ports.repositories import Resealed
from pgsched.domain.errors import EmailTaken, NameTaken, NotFound
from pgsched.domain.jobs import MisfirePolicy, OverlapPolicy, Visibility
from pgsched.domain.results import OnLimit
from pgsched.domain.schedules import ScheduleType
from pgsched.domain.sources import SealedPassword, SslMode

UNKNOWN = [4711, 2**63, 0, -1, "nowhere", "", "a\x00b", "\ud800", "käse"]


# clock


async def test_clock_tells_utc_and_moves_forward(world: World) -> None:
    before = await world.clock.now()
    await world.advance(90)
    after = await world.clock.now()
    assert after - before == timedelta(seconds=90)
    assert after.tzinfo is UTC


# sources


async def test_source_is_found_by_name_and_by_id(world: World) -> None:
    source = await world.sources.add(new_source(name="shop"))
    assert source == await world.sources.get("shop") == await world.sources.get(source.id)


async def test_source_keeps_all_that_was_decided(world: World) -> None:
    sealed = SealedPassword(ciphertext=b"\x00\xff", algo="sealedbox-v1", key_version=3)
    new = new_source(
        port=5433,
        password=sealed,
        sslmode=SslMode.VERIFY_FULL,
        sslrootcert=CERTIFICATE,
        max_concurrency=9,
        allow_user_functions=False,
        allow_metadata=True,
    )
    source = await world.sources.add(new)
    for name in new.__dataclass_fields__:
        assert getattr(source, name) == getattr(new, name)


async def test_source_name_is_taken_once(world: World) -> None:
    await world.sources.add(new_source(name="shop"))
    with pytest.raises(NameTaken):
        await world.sources.add(new_source(name="shop", host="elsewhere"))
    await world.sources.add(new_source(name="Shop"))
    assert len(await world.sources.all()) == 2


async def test_sources_come_by_name(world: World) -> None:
    for name in ("b", "c", "a"):
        await world.sources.add(new_source(name=name))
    assert [source.name for source in await world.sources.all()] == ["a", "b", "c"]


@pytest.mark.parametrize("key", UNKNOWN)
async def test_unknown_source_is_not_found(world: World, key: str | int) -> None:
    await world.source()
    with pytest.raises(NotFound):
        await world.sources.get(key)


async def test_replaced_source_keeps_its_identity_and_its_queries(world: World) -> None:
    source = await world.sources.add(
        new_source(password=SealedPassword(ciphertext=b"x", algo="a", key_version=1))
    )
    job = await world.job(data_source_id=source.id)
    replaced = await world.sources.replace(source.id, new_source(name="renamed", port=1, max_concurrency=2))
    assert (replaced.id, replaced.name, replaced.port, replaced.password) == (source.id, "renamed", 1, None)
    assert replaced.created_at == source.created_at
    assert replaced == await world.sources.get("renamed")
    assert (await world.jobs.get(job.id)).spec.data_source_id == source.id
    with pytest.raises(NotFound):
        await world.sources.get(source.name)


async def test_source_can_be_replaced_under_its_own_name_and_not_under_anothers(world: World) -> None:
    source = await world.sources.add(new_source(name="shop"))
    other = await world.sources.add(new_source(name="other"))
    assert (await world.sources.replace(source.id, new_source(name="shop", port=1))).port == 1
    with pytest.raises(NameTaken):
        await world.sources.replace(other.id, new_source(name="shop"))
    assert await world.sources.get(other.id) == other


@pytest.mark.parametrize("source_id", [4711, 2**63, 0])
async def test_unknown_source_is_not_replaced(world: World, source_id: int) -> None:
    with pytest.raises(NotFound):
        await world.sources.replace(source_id, new_source())


async def test_resealing_takes_the_place_of_the_old_envelope_alone(world: World) -> None:
    old, new, other = (
        SealedPassword(ciphertext=text, algo="sealedbox-v1", key_version=version)
        for text, version in ((b"old", 1), (b"new", 2), (b"other", 1))
    )
    first = await world.sources.add(new_source(name="first", password=old))
    second = await world.sources.add(new_source(name="second", password=other))
    changes = [Resealed(source_id=each, old=old, new=new) for each in (first.id, second.id, 4711)]
    assert await world.sources.reseal(changes) == {first.id}
    after = await world.sources.get("first")
    assert (after.password, after.updated_at) == (new, first.updated_at)
    assert (await world.sources.get("second")).password == other
    assert await world.sources.reseal(changes) == frozenset()
    assert await world.sources.reseal([]) == frozenset()


# jobs


async def test_job_is_found_by_name_and_by_id(world: World) -> None:
    job = await world.job(name="orders")
    assert job == await world.jobs.get("orders") == await world.jobs.get(job.id)
    assert [job] == list(await world.jobs.all())


async def test_job_keeps_all_that_was_decided(world: World) -> None:
    spec = job_spec(
        (await world.source()).id,
        description="two\nlines",
        sql_text="select '%s', '%%', '%(x)s', ':y'",
        timezone="Europe/Berlin",
        visibility=Visibility.RESTRICTED,
        overlap_policy=OverlapPolicy.CANCEL_PREVIOUS,
        misfire_policy=MisfirePolicy.ALL,
        misfire_window="PT2H",
        start_deadline_s=5,
        jitter_s=6,
        max_attempts=7,
        retry_backoff_s=8,
        timeout_ms=9,
        max_rows=10**9,
        max_bytes=1 << 40,
        on_limit=OnLimit.SAMPLE,
        pause_after_failures=10,
        keep_runs=11,
        keep_days=12,
    )
    job = await world.jobs.add(spec)
    assert job.spec == spec
    assert await world.jobs.get(job.id) == job


async def test_interval_job_is_anchored_at_the_whole_second_and_due_at_once(world: World) -> None:
    now = await world.clock.now()
    job = await world.job(schedule_expr="PT6H")
    assert job.anchor_at == job.next_run_at == now.replace(microsecond=0)
    assert (job.consecutive_failures, job.paused_at, job.pause_reason) == (0, None, None)


async def test_start_at_is_the_anchor_in_utc_without_its_fraction(world: World) -> None:
    job = await world.job(start_at=datetime.fromisoformat("2140-01-01T06:00:00.9+02:00"))
    assert job.anchor_at == job.next_run_at == datetime(2140, 1, 1, 4, tzinfo=UTC)
    assert job.anchor_at.utcoffset() == timedelta(0)


async def test_cron_job_is_due_at_its_next_instant(world: World) -> None:
    now = await world.clock.now()
    job = await world.job(
        schedule_type=ScheduleType.CRON, schedule_expr="30 * * * *", timezone="Asia/Kolkata"
    )
    assert job.next_run_at == now.replace(hour=now.hour + 1, minute=0, second=0, microsecond=0)


async def test_disabled_job_is_not_planned(world: World) -> None:
    job = await world.job(enabled=False)
    assert job.next_run_at is None
    assert (await world.plan()).jobs == 0


async def test_job_name_is_taken_once(world: World) -> None:
    first = await world.job(name="orders")
    with pytest.raises(NameTaken):
        await world.job(name="orders")
    assert list(await world.jobs.all()) == [first]


@pytest.mark.parametrize("source_id", [4711, 2**63, 0])
async def test_job_without_its_source_is_refused(world: World, source_id: int) -> None:
    with pytest.raises(NotFound, match="data source"):
        await world.job(data_source_id=source_id)
    assert list(await world.jobs.all()) == []


async def test_jobs_come_by_name(world: World) -> None:
    for name in ("b", "c", "a"):
        await world.job(name=name)
    assert [job.spec.name for job in await world.jobs.all()] == ["a", "b", "c"]


@pytest.mark.parametrize("key", UNKNOWN)
async def test_unknown_job_is_not_found(world: World, key: str | int) -> None:
    await world.job()
    with pytest.raises(NotFound):
        await world.jobs.get(key)


async def test_job_name_of_digits_is_no_id(world: World) -> None:
    job = await world.job()
    with pytest.raises(NotFound):
        await world.jobs.get(str(job.id))


# accounts


async def test_account_comes_back_with_its_roles_each_once_by_name(world: World) -> None:
    account = await world.accounts.add(
        email="Ada@example.com", name="Ada", roles=["viewer", "admin", "viewer"], password_hash="h"
    )
    assert (account.email, account.name, account.is_active) == ("Ada@example.com", "Ada", True)
    assert account.roles == ("admin", "viewer")
    assert list(await world.accounts.all()) == [account]


async def test_account_address_is_taken_once_without_letter_case(world: World) -> None:
    add = world.accounts.add
    await add(email="ada@example.com", name="Ada", roles=["viewer"], password_hash="h")
    with pytest.raises(EmailTaken):
        await add(email="ADA@example.COM", name="Eve", roles=["admin"], password_hash="h")
    assert [account.name for account in await world.accounts.all()] == ["Ada"]
    assert await world.accounts.count_admins() == 0


async def test_accounts_come_by_id_and_admins_are_counted(world: World) -> None:
    for name, roles in {"z": ["admin"], "m": ["admin", "editor"], "a": ["editor"]}.items():
        await world.accounts.add(email=f"{name}@x", name=name, roles=roles, password_hash="h")
    assert [account.name for account in await world.accounts.all()] == ["z", "m", "a"]
    assert await world.accounts.count_admins() == 2
