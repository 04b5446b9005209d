"""What only the database can promise about sources, jobs and accounts: races, keys, hints, one clock."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from certificates import CERTIFICATE

from pgsched.adapters.postgres.accounts import PostgresAccounts
from pgsched.adapters.postgres.clock import PostgresClock
from pgsched.adapters.postgres.database import Database
from pgsched.adapters.postgres.jobs import PostgresJobs
from pgsched.adapters.postgres.sources import PostgresSources
from pgsched.domain.errors import EmailTaken, NameTaken, NotFound
from pgsched.domain.jobs import JobSpec
from pgsched.domain.schedules import ScheduleType
from pgsched.domain.sources import NewSource, SealedPassword, SslMode

#: keys under which nothing can be stored
IMPOSSIBLE = [0, -1, 2**63, 2**64, -(2**70), "", "a\0b", "\ud800", "é", "1abc", "a" * 64, "x; drop table t"]


@asynccontextmanager
async def opened(fixture):
    database = Database(fixture.conninfo, application_name="test")
    await database.open()
    try:
        yield database
    finally:
        await database.close()


def new_source(name: str = "shop", **fields) -> NewSource:
    return NewSource(**{"name": name, "host": "localhost", "dbname": "d", "username": "u", **fields})


def spec_of(source_id: int, name: str = "orders", **fields) -> JobSpec:
    given = {"title": "Orders", "sql_text": "select 1", "schedule_expr": "PT6H"}
    return JobSpec(
        **{
            **given,
            "name": name,
            "data_source_id": source_id,
            "schedule_type": ScheduleType.INTERVAL,
            **fields,
        }
    )


async def test_source_keeps_every_field(database):
    new = new_source(
        port=6543,
        password=SealedPassword(ciphertext=b"\x00\xff" * 40, algo="sealedbox-v1", key_version=3),
        sslmode=SslMode.VERIFY_FULL,
        sslrootcert=CERTIFICATE,
        max_concurrency=7,
        allow_user_functions=False,
        allow_metadata=True,
    )
    async with opened(database) as opened_database:
        sources = PostgresSources(opened_database)
        stored = await sources.add(new)
        assert stored == await sources.get(stored.id) == await sources.get("shop")
        assert [stored] == await sources.all()
    assert {name: getattr(stored, name) for name in NewSource.__dataclass_fields__} == {
        name: getattr(new, name) for name in NewSource.__dataclass_fields__
    }


async def test_replaced_source_keeps_its_identity(database):
    async with opened(database) as opened_database:
        sources = PostgresSources(opened_database)
        sealed = SealedPassword(ciphertext=b"x", algo="a", key_version=1)
        before, other = await sources.add(new_source(password=sealed)), await sources.add(new_source("other"))
        after = await sources.replace(before.id, new_source("renamed"))
        assert (after.id, after.name, after.password) == (before.id, "renamed", None)
        assert after.created_at == before.created_at
        assert after.updated_at > before.updated_at
        with pytest.raises(NameTaken):
            await sources.replace(before.id, new_source("other"))
        for missing in (other.id + 1, 2**70):
            with pytest.raises(NotFound):
                await sources.replace(missing, new_source("new"))


@pytest.mark.parametrize("key", IMPOSSIBLE)
async def test_impossible_key_is_not_found(database, key):
    async with opened(database) as opened_database:
        for store in (PostgresSources(opened_database), PostgresJobs(opened_database)):
            with pytest.raises(NotFound):
                await store.get(key)


async def test_one_of_two_sources_of_a_name_at_once_is_refused(database):
    async with opened(database) as opened_database:
        sources = PostgresSources(opened_database)
        outcomes = await asyncio.gather(
            *(sources.add(new_source()) for _ in range(4)), return_exceptions=True
        )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["DataSource", *["NameTaken"] * 3]


async def test_new_interval_job_is_due_at_once_by_the_databases_clock(database):
    async with opened(database) as opened_database:
        source = await PostgresSources(opened_database).add(new_source())
        before = await PostgresClock(opened_database).now()
        job = await PostgresJobs(opened_database).add(spec_of(source.id))
        after = await PostgresClock(opened_database).now()
    assert before.replace(microsecond=0) <= job.anchor_at <= after
    assert job.anchor_at.microsecond == 0
    assert job.next_run_at == job.anchor_at
    assert job.anchor_at.tzinfo is not None
    assert job.anchor_at.utcoffset() == timedelta(0)


async def test_start_at_is_the_anchor_in_utc_without_its_fraction(database):
    start = datetime.fromisoformat("2040-01-01T06:00:00.9+02:00")
    async with opened(database) as opened_database:
        source = await PostgresSources(opened_database).add(new_source())
        job = await PostgresJobs(opened_database).add(spec_of(source.id), start_at=start)
    assert job.anchor_at == job.next_run_at == datetime(2040, 1, 1, 4, tzinfo=UTC)


async def test_new_cron_job_is_due_at_its_next_instant(database):
    async with opened(database) as opened_database:
        source = await PostgresSources(opened_database).add(new_source())
        now = await PostgresClock(opened_database).now()
        cron = {"schedule_type": ScheduleType.CRON, "schedule_expr": "0 0 1 1 *"}
        job = await PostgresJobs(opened_database).add(spec_of(source.id, **cron))
    assert job.next_run_at == datetime(now.year + 1, 1, 1, tzinfo=UTC)


async def test_disabled_job_is_not_planned(database):
    async with opened(database) as opened_database:
        source = await PostgresSources(opened_database).add(new_source())
        job = await PostgresJobs(opened_database).add(spec_of(source.id, enabled=False))
    assert job.next_run_at is None


@pytest.mark.parametrize("source_id", [4711, 2**63, 0])
async def test_job_without_its_source_is_refused(database, source_id):
    async with opened(database) as opened_database:
        with pytest.raises(NotFound, match=f"data source {source_id}"):
            await PostgresJobs(opened_database).add(spec_of(source_id))


async def test_job_is_hinted_once_it_is_there_and_not_when_refused(database):
    async with opened(database) as opened_database:
        source = await PostgresSources(opened_database).add(new_source())
        jobs = PostgresJobs(opened_database)
        async with await psycopg.AsyncConnection.connect(database.conninfo, autocommit=True) as listener:
            await listener.execute("listen pgsched")
            await jobs.add(spec_of(source.id))
            assert len([note async for note in listener.notifies(timeout=5, stop_after=1)]) == 1
            with pytest.raises(NameTaken):
                await jobs.add(spec_of(source.id))
            assert [note async for note in listener.notifies(timeout=0.2, stop_after=1)] == []


async def test_account_address_is_unique_without_letter_case_in_a_race(database):
    async with opened(database) as opened_database:
        accounts = PostgresAccounts(opened_database)
        outcomes = await asyncio.gather(
            *(
                accounts.add(email=email, name="Ada", roles=["viewer", "admin"], password_hash="h")
                for email in ("ada@example.com", "ADA@example.com", "Ada@Example.com")
            ),
            return_exceptions=True,
        )
        [stored] = [outcome for outcome in outcomes if not isinstance(outcome, EmailTaken)]
        assert await accounts.all() == [stored]
        assert stored.roles == ("admin", "viewer")
        assert await accounts.count_admins() == 1
    assert database.execute("select count(*) from user_role") == [(2,)]


async def test_only_active_admins_count(database):
    async with opened(database) as opened_database:
        accounts = PostgresAccounts(opened_database)
        assert await accounts.count_admins() == 0
        for name, roles in {"a": ["admin"], "b": ["admin", "editor"], "c": ["editor"], "d": []}.items():
            await accounts.add(email=f"{name}@x", name=name, roles=roles, password_hash="h")
        assert await accounts.count_admins() == 2
        database.execute("update user_account set is_active = false where email = 'a@x'")
        assert await accounts.count_admins() == 1
        assert [account.roles for account in await accounts.all()] == [
            ("admin",),
            ("admin", "editor"),
            ("editor",),
            (),
        ]


async def test_clock_is_the_databases(database):
    [(before,)] = database.execute("select clock_timestamp()")
    async with opened(database) as opened_database:
        now = await PostgresClock(opened_database).now()
    [(after,)] = database.execute("select clock_timestamp()")
    assert before <= now <= after
    assert now.tzinfo is UTC
