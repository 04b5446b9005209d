"""All the ports over one store or one database, and a clock that tests move."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count

from factories import job_spec, new_source, success
from postgres_fixtures import Database as PostgresFixture

from pgsched.adapters.memory.access import (
    MemoryCredentials,
    MemoryLoginFailures,
    MemorySessions,
    MemoryTokens,
)
from pgsched.adapters.memory.accounts import MemoryAccounts
from pgsched.adapters.memory.audit import MemoryAudit, MemoryTransactions
from pgsched.adapters.memory.clock import START
from pgsched.adapters.memory.dry_runs import MemoryDryRunPlaces
from pgsched.adapters.memory.grants import MemoryGrants
from pgsched.adapters.memory.health import MemoryHealth
from pgsched.adapters.memory.jobs import MemoryJobs
from pgsched.adapters.memory.kept import MemoryKeptConnections
from pgsched.adapters.memory.ledger import MemoryLedger
from pgsched.adapters.memory.runs import MemoryRunQueue
from pgsched.adapters.memory.sources import MemorySources
from pgsched.adapters.memory.store import MemoryStore
from pgsched.adapters.memory.upkeep import MemoryFigures, MemoryRetention, MemoryRunTally
from pgsched.adapters.memory.views import MemoryQueryView, MemoryRunView
from pgsched.adapters.memory.watch import MemoryWatch
from pgsched.adapters.memory.workers import MemoryWorkers
from pgsched.adapters.postgres.accounts import PostgresAccounts
from pgsched.adapters.postgres.audit import PostgresAudit
from pgsched.adapters.postgres.clock import PostgresClock
from pgsched.adapters.postgres.database import Database
from pgsched.adapters.postgres.dry_runs import PostgresDryRunPlaces
from pgsched.adapters.postgres.figures import PostgresFigures
from pgsched.adapters.postgres.grants import PostgresGrants
from pgsched.adapters.postgres.health import PostgresHealth
from pgsched.adapters.postgres.jobs import PostgresJobs
from pgsched.adapters.postgres.kept import PostgresKeptConnections
from pgsched.adapters.postgres.ledger import PostgresLedger
from pgsched.adapters.postgres.login_failures import PostgresLoginFailures
from pgsched.adapters.postgres.retention import PostgresRetention
from pgsched.adapters.postgres.runs import PostgresRunQueue
from pgsched.adapters.postgres.sessions import PostgresCredentials, PostgresSessions
from pgsched.adapters.postgres.sources import PostgresSources
from pgsched.adapters.postgres.tally import PostgresRunTally
from pgsched.adapters.postgres.tokens import PostgresTokens
from pgsched.adapters.postgres.views import PostgresQueryView, PostgresRunView
from pgsched.adapters.postgres.watch import PostgresWatch
from pgsched.adapters.postgres.workers import WORKER_LOCK_CLASS, PostgresWorkers
from pgsched.application.ports.access import Credentials, LoginFailures, Sessions, Tokens
from pgsched.application.ports.audit import Audit, Transactions
from pgsched.application.ports.execution import DryRunPlaces
from pgsched.application.ports.grants import Grants
from pgsched.application.ports.ledger import LedgerView
from pgsched.application.ports.queue import (
    Attendance,
    Claim,
    KeptConnections,
    Planned,
    RunQueue,
    Workers,
)
from pgsched.application.ports.repositories import Accounts, Jobs, Sources
from pgsched.application.ports.timing import Clock
from pgsched.application.ports.upkeep import FiguresView, Retention, RunTally
from pgsched.application.ports.views import HealthView, QueryView, RunFilter, RunView, StoredRun
from pgsched.application.ports.watch import Watch
from pgsched.domain.audience import EVERYTHING, Grant
from pgsched.domain.errors import NotFound
from pgsched.domain.jobs import Job
from pgsched.domain.planning import Plan, plan_due
from pgsched.domain.row_filters import filter_json
from pgsched.domain.runs import Run
from pgsched.domain.sources import DataSource

#: a worker's id where the worker itself does not matter; nobody enlists under it
WORKER = 1_000_000

# The adapters' own statements find this function before the server's: the clock stands still and moves only
# by hand, as the memory store's does. Defaults of columns keep the server's clock.
_STANDING_CLOCK = """
create schema travel;
create table travel.clock (at timestamptz not null);
insert into travel.clock values ('{start}');
create function travel.clock_timestamp() returns timestamptz language sql volatile
    as 'select at from travel.clock';
alter database {dbname} set search_path = travel, pg_catalog, public"""


@dataclass(kw_only=True)
class World:
    """The ports, and shortcuts to where a test begins."""

    sources: Sources
    jobs: Jobs
    accounts: Accounts
    transactions: Transactions
    audit: Audit
    credentials: Credentials
    sessions: Sessions
    tokens: Tokens
    grants: Grants
    login_failures: LoginFailures
    dry_runs: DryRunPlaces
    queue: RunQueue
    workers: Workers
    kept: KeptConnections
    clock: Clock
    query_view: QueryView
    run_view: RunView
    health: HealthView
    ledger: LedgerView
    tally: RunTally
    retention: Retention
    figures: FiguresView
    watch: Watch
    #: lets so many seconds pass
    advance: Callable[[float], Awaitable[None]]
    #: sets the clock by so many seconds, back where negative
    set_clock: Callable[[float], Awaitable[None]]
    #: ends a worker without a word, as kill -9 does
    kill: Callable[[Attendance], Awaitable[None]]
    #: (from_at, to_at, instants, reason) of a job's gaps
    gaps: Callable[[Job], Awaitable[list[tuple[datetime, datetime, int, str]]]]
    #: gives leave to read a job; accounts and tokens with these ids are made where there are none
    grant: Callable[[Job, Grant], Awaitable[None]]
    _numbers: count = field(default_factory=lambda: count(1))

    async def source(self, **changes: object) -> DataSource:
        """A new source, under a name of its own unless one is given."""
        return await self.sources.add(new_source(**({"name": f"source{next(self._numbers)}"} | changes)))

    async def job(self, *, start_at: datetime | None = None, **changes: object) -> Job:
        """A new job under a name of its own, at the source ``shop`` unless told otherwise."""
        source_id = changes.pop("data_source_id", None)
        if source_id is None:
            try:
                source_id = (await self.sources.get("shop")).id
            except NotFound:
                source_id = (await self.source(name="shop")).id
        name = f"query{next(self._numbers)}"
        return await self.jobs.add(job_spec(source_id, **({"name": name} | changes)), start_at=start_at)

    async def plan(self, plans: Plan | None = None) -> Planned:
        """Plan what is due: as ``plans`` says, or as the domain decides."""
        if plans is None:
            return await self.queue.plan_due(plan_due)
        return await self.queue.plan_due(lambda *_: plans)

    async def claim(self, *, worker_id: int = WORKER) -> Claim:
        """Take the one run that comes next."""
        [claim] = await self.queue.claim(worker_id, limit=1)
        return claim

    async def running(self, job: Job | None = None, *, worker_id: int = WORKER) -> Claim:
        """A run by hand that a worker holds."""
        run = await self.queue.request((job or await self.job()).id)
        claim = await self.claim(worker_id=worker_id)
        assert claim.hold.run_id == run.id
        return claim

    async def succeeded(self, job: Job, *rows: dict) -> Run:
        """A run by hand that succeeded now with these rows."""
        return await self.queue.succeed((await self.running(job)).hold, success(*rows))

    async def run(self, run_id: int) -> Run:
        """A run as it stands."""
        return (await self.stored(run_id)).run

    async def stored(self, run_id: int) -> StoredRun:
        """The same with its result."""
        return await self.run_view.one(EVERYTHING, run_id)

    async def document(self, stored: StoredRun) -> bytes | None:
        """The result of a run as this reader sees it, put together when it did not come whole."""
        if stored.table_schema is None:
            return stored.result
        arrays = [array[1:-1] async for array in self.run_view.rows(stored)]
        return b'{"schema":%b,"data":[%b]}' % (stored.table_schema, b",".join(filter(None, arrays)))

    async def runs(self, job: Job) -> list[Run]:
        """Every run of a job, oldest first."""
        page = await self.run_view.page(EVERYTHING, job.id, RunFilter(limit=500))
        return [item.run for item in reversed(page.items)]


def memory_world() -> World:
    """The memory adapters over one store."""
    store = MemoryStore()

    async def advance(seconds: float) -> None:
        store.clock.advance(seconds)

    async def set_clock(seconds: float) -> None:
        store.clock.step(seconds)

    async def kill(attendance: Attendance) -> None:
        attendance.die()

    async def gaps(job: Job) -> list[tuple[datetime, datetime, int, str]]:
        return [
            (gap.from_at, gap.to_at, gap.instants, gap.reason)
            for (job_id, *_), gap in sorted(store.gaps.items())
            if job_id == job.id
        ]

    async def grant(job: Job, given: Grant) -> None:
        store.grants.setdefault(job.id, []).append(given)

    return World(
        sources=MemorySources(store),
        jobs=MemoryJobs(store),
        accounts=MemoryAccounts(store),
        transactions=MemoryTransactions(store),
        audit=MemoryAudit(store),
        credentials=MemoryCredentials(store),
        sessions=MemorySessions(store),
        tokens=MemoryTokens(store),
        grants=MemoryGrants(store),
        login_failures=MemoryLoginFailures(store),
        dry_runs=MemoryDryRunPlaces(store),
        queue=MemoryRunQueue(store),
        workers=MemoryWorkers(store),
        kept=MemoryKeptConnections(store),
        clock=store.clock,
        query_view=MemoryQueryView(store),
        run_view=MemoryRunView(store),
        health=MemoryHealth(store),
        ledger=MemoryLedger(store),
        tally=MemoryRunTally(store),
        retention=MemoryRetention(store),
        figures=MemoryFigures(store),
        watch=MemoryWatch(store),
        advance=advance,
        set_clock=set_clock,
        kill=kill,
        gaps=gaps,
        grant=grant,
    )


@asynccontextmanager
async def postgres_world(fixture: PostgresFixture) -> AsyncIterator[World]:
    """The Postgres adapters over one database."""
    for statement in _STANDING_CLOCK.format(start=START.isoformat(), dbname=fixture.dbname).split(";\n"):
        fixture.execute(statement)

    async def advance(seconds: float) -> None:
        fixture.execute("update travel.clock set at = at + make_interval(secs => %s)", [seconds])

    async def kill(attendance: Attendance) -> None:
        ended = fixture.server.execute(
            "select pg_terminate_backend(pid, 5000) from pg_locks where locktype = 'advisory' and granted"
            " and classid = %s and objid = %s",
            [WORKER_LOCK_CLASS, attendance.worker_id],
        )
        assert ended == [(True,)]

    async def gaps(job: Job) -> list[tuple[datetime, datetime, int, str]]:
        return fixture.execute(
            "select from_at, to_at, instants, reason from query_gap where query_id = %s order by from_at",
            [job.id],
        )

    async def grant(job: Job, given: Grant) -> None:
        owner = given.user_id or given.token_id
        if owner is not None:
            fixture.execute(
                "insert into user_account (id, email, name, password_hash) overriding system value"
                " values (%s, %s, 'A', '') on conflict do nothing",
                [owner, f"{owner}@example.com"],
            )
        if given.token_id is not None:
            fixture.execute(
                "insert into api_token (id, user_id, name, token_hash) overriding system value"
                " values (%s, %s, 'T', %s) on conflict do nothing",
                [given.token_id, owner, str(given.token_id)],
            )
        shown = given.row_filter and ",".join(
            f"{json.dumps(column)}:[{','.join(map(filter_json, values))}]"
            for column, values in given.row_filter.items()
        )
        fixture.execute(
            "insert into query_grant (query_id, user_id, role, token_id, row_filter)"
            " values (%s, %s, %s, %s, %s)",
            [
                job.id,
                given.user_id,
                given.role,
                given.token_id,
                None if given.row_filter is None else f"{{{shown or ''}}}",
            ],
        )

    database = Database(fixture.conninfo, application_name="test", max_size=4)
    await database.open()
    watch = PostgresWatch(database)
    try:
        yield World(
            sources=PostgresSources(database),
            jobs=PostgresJobs(database),
            accounts=PostgresAccounts(database),
            transactions=database,
            audit=PostgresAudit(database),
            credentials=PostgresCredentials(database),
            sessions=PostgresSessions(database),
            tokens=PostgresTokens(database),
            grants=PostgresGrants(database),
            login_failures=PostgresLoginFailures(database),
            dry_runs=PostgresDryRunPlaces(database),
            queue=PostgresRunQueue(database),
            workers=PostgresWorkers(database),
            kept=PostgresKeptConnections(database),
            clock=PostgresClock(database),
            query_view=PostgresQueryView(database),
            run_view=PostgresRunView(database),
            health=PostgresHealth(database),
            ledger=PostgresLedger(database),
            tally=PostgresRunTally(database),
            retention=PostgresRetention(database),
            figures=PostgresFigures(database),
            watch=watch,
            advance=advance,
            set_clock=advance,
            kill=kill,
            gaps=gaps,
            grant=grant,
        )
    finally:
        await watch.close()
        await database.close()
