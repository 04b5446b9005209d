"""The run queue under real races: many connections at once, and what the schema itself refuses."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta

import psycopg
import pytest
from factories import job_spec, new_source, success
from postgres_fixtures import Database as Fixture

from pgsched.adapters.postgres.clock import PostgresClock
from pgsched.adapters.postgres.database import Database
from pgsched.adapters.postgres.jobs import PostgresJobs
from pgsched.adapters.postgres.kept import PostgresKeptConnections
from pgsched.adapters.postgres.runs import PostgresRunQueue
from pgsched.adapters.postgres.sources import PostgresSources
from pgsched.adapters.postgres.views import PostgresRunView
from pgsched.application.ports.queue import Claim
from pgsched.domain.audience import EVERYTHING
from pgsched.domain.errors import DatabaseUnavailable, LeaseLost, NotCancellable
from pgsched.domain.jobs import Job, OverlapPolicy
from pgsched.domain.planning import Plan, plan_due
from pgsched.domain.runs import MAX_PARALLEL, Run, RunStatus

#: processes that race, each with connections of its own
RACERS = 4


@pytest.fixture
async def racers(database: Fixture) -> AsyncIterator[list[PostgresRunQueue]]:
    """Run queues that share nothing but the database."""
    async with AsyncExitStack() as stack:
        opened = []
        for number in range(RACERS):
            racer = Database(database.conninfo, application_name=f"racer{number}", max_size=2)
            await racer.open()
            stack.push_async_callback(racer.close)
            # connected before the start, so that they really meet
            await PostgresClock(racer).now()
            opened.append(racer)
        yield [PostgresRunQueue(racer) for racer in opened]


class Setting:
    """Sources and jobs to race for."""

    def __init__(self, racers: list[PostgresRunQueue]) -> None:
        self._database = racers[0]._database
        self.queue = racers[0]

    async def jobs(
        self, count: int, *, max_concurrency: int = 1000, source: str = "shop", **changes: object
    ) -> list[Job]:
        new = new_source(max_concurrency=max_concurrency, name=source)
        added = await PostgresSources(self._database).add(new)
        jobs = PostgresJobs(self._database)
        start_at = changes.pop("start_at", None)
        return [
            await jobs.add(job_spec(added.id, **({"name": f"query{n}"} | changes)), start_at=start_at)
            for n in range(count)
        ]

    async def requested(self, count: int, **changes: object) -> list[Run]:
        """One waiting run for each of so many queries."""
        return [await self.queue.request(job.id) for job in await self.jobs(count, **changes)]


@pytest.fixture
def setting(racers: list[PostgresRunQueue]) -> Setting:
    return Setting(racers)


async def claim_all(racers: list[PostgresRunQueue], *, limit: int) -> list[list[Claim]]:
    """Let every racer claim until nothing is left, all at once."""

    async def drain(number: int, queue: PostgresRunQueue) -> list[Claim]:
        taken: list[Claim] = []
        while claims := await queue.claim(number + 1, limit=limit):
            taken += claims
        return taken

    return list(await asyncio.gather(*(drain(*racer) for racer in enumerate(racers))))


async def test_one_run_is_claimed_by_one_of_many(racers: list[PostgresRunQueue], setting: Setting) -> None:
    [job] = await setting.jobs(1, enabled=False)
    for _ in range(20):
        run = await setting.queue.request(job.id)
        claims = await asyncio.gather(*(queue.claim(n, limit=1) for n, queue in enumerate(racers, 1)))
        [claim] = [claim for taken in claims for claim in taken]
        assert claim.hold.run_id == run.id
        await setting.queue.succeed(claim.hold, success())


@pytest.mark.parametrize("limit", [1, 7, 50])
async def test_many_runs_are_each_claimed_once(
    racers: list[PostgresRunQueue], setting: Setting, database: Fixture, limit: int
) -> None:
    runs = await setting.requested(50, enabled=False)
    taken = await claim_all(racers, limit=limit)
    claims = [claim for claims in taken for claim in claims]
    assert sorted(claim.hold.run_id for claim in claims) == sorted(run.id for run in runs)
    assert len({claim.hold.token for claim in claims}) == 50
    assert database.execute("select distinct status, attempt from query_run") == [("running", 1)]


async def test_source_runs_no_more_than_its_concurrency_whoever_claims(
    racers: list[PostgresRunQueue], setting: Setting, database: Fixture
) -> None:
    await setting.requested(30, max_concurrency=3, enabled=False)
    done = 0
    while done < 30:
        taken = await asyncio.gather(*(queue.claim(n, limit=9) for n, queue in enumerate(racers, 1)))
        claims = [claim for claims in taken for claim in claims]
        assert len(claims) == 3
        assert database.execute("select count(*) from query_run where status = 'running'") == [(3,)]
        await asyncio.gather(*(setting.queue.succeed(claim.hold, success()) for claim in claims))
        done += 3


@pytest.mark.parametrize(
    ("policy", "most"), [(OverlapPolicy.QUEUE_ALL, 1), (OverlapPolicy.ALLOW, MAX_PARALLEL)]
)
async def test_query_runs_no_more_than_its_policy_allows_whoever_claims(
    racers: list[PostgresRunQueue], setting: Setting, policy: OverlapPolicy, most: int
) -> None:
    [job] = await setting.jobs(1, overlap_policy=policy, enabled=False)
    waiting = [(await setting.queue.request(job.id)).id for _ in range(12)]
    order: list[int] = []
    while waiting:
        taken = await asyncio.gather(*(queue.claim(n, limit=9) for n, queue in enumerate(racers, 1)))
        claims = [claim for claims in taken for claim in claims]
        assert 1 <= len(claims) <= most
        await asyncio.gather(*(setting.queue.succeed(claim.hold, success()) for claim in claims))
        order += sorted(claim.hold.run_id for claim in claims)
        waiting = [run_id for run_id in waiting if run_id not in order]
    assert order == sorted(order)


async def test_instants_planned_by_many_at_once_are_there_once(
    racers: list[PostgresRunQueue], setting: Setting, database: Fixture
) -> None:
    """Four processes plan while time goes on: nothing twice, nothing left out."""
    now = await PostgresClock(setting._database).now()
    jobs = await setting.jobs(
        25, schedule_expr="PT1S", overlap_policy=OverlapPolicy.QUEUE_ALL, start_at=now - timedelta(seconds=30)
    )

    async def keep_planning(queue: PostgresRunQueue) -> int:
        planned = 0
        for _ in range(40):
            planned += (await queue.plan_due(plan_due, limit=7)).jobs
            await asyncio.sleep(0.05)
        return planned

    assert sum(await asyncio.gather(*(keep_planning(queue) for queue in racers))) >= 2 * len(jobs)
    for job in jobs:
        rows = database.execute(
            "select count(*), count(distinct scheduled_at), min(scheduled_at), max(scheduled_at)"
            " from query_run where query_id = %s",
            [job.id],
        )
        [(count, distinct, first, last)] = rows
        assert count == distinct == (last - first) / timedelta(seconds=1) + 1
        assert first == job.anchor_at
        [(following,)] = database.execute("select next_run_at from query_job where id = %s", [job.id])
        assert following == last + timedelta(seconds=1)


async def test_job_that_another_process_is_planning_is_passed_over(
    setting: Setting, database: Fixture
) -> None:
    locked, free = await setting.jobs(2)
    async with await psycopg.AsyncConnection.connect(database.conninfo) as other:
        await other.execute("select from query_job where id = %s for no key update", [locked.id])
        done = await asyncio.wait_for(setting.queue.plan_due(plan_due), 2)
        assert done.jobs == 1
        assert database.execute("select distinct query_id from query_run") == [(free.id,)]
    assert (await setting.queue.plan_due(plan_due)).jobs >= 1
    assert database.execute("select count(*) from query_run where query_id = %s", [locked.id]) == [(1,)]


async def test_source_that_is_locked_keeps_nobody_from_the_others(
    racers: list[PostgresRunQueue], setting: Setting, database: Fixture
) -> None:
    """A backend can freeze with a source locked; jobs and sources are not locked together while waiting."""
    [locked] = await setting.jobs(1)
    [free] = await setting.jobs(1, source="another", name="free")
    async with await psycopg.AsyncConnection.connect(database.conninfo) as other:
        await other.execute(
            "select from data_source where id = %s for no key update", [locked.spec.data_source_id]
        )
        done = await asyncio.wait_for(setting.queue.plan_and_claim(plan_due, 1, jobs=9, runs=9), 2)
        assert done.jobs == 2
        assert [claim.job.id for claim in done.claims] == [free.id]
        assert await asyncio.wait_for(setting.queue.claim(1, limit=9), 2) == []
        # from a moment when it is free again
        taking = asyncio.create_task(_claimed_at_last(racers[1], 2))
        await asyncio.sleep(0.1)
        assert not taking.done()
    [claim] = await asyncio.wait_for(taking, 5)
    assert claim.job.id == locked.id


async def test_claims_at_one_source_do_not_miss_each_other(
    racers: list[PostgresRunQueue], setting: Setting
) -> None:
    """A lock that is held for a claim is waited for, a little: whoever has a place takes what there is."""
    requested = await setting.requested(40, enabled=False)
    taken = await asyncio.gather(*(queue.claim(number, limit=10) for number, queue in enumerate(racers, 1)))
    assert sum(map(len, taken)) == len(requested) == 40


async def _claimed_at_last(queue: PostgresRunQueue, worker_id: int) -> Sequence[Claim]:
    """Claim again and again; a claim that finds a lock takes a while itself."""
    while not (claims := await queue.claim(worker_id, limit=9)):
        pass
    return claims


async def test_plan_and_claim_at_once_lose_nothing(
    racers: list[PostgresRunQueue], setting: Setting, database: Fixture
) -> None:
    await setting.jobs(10, schedule_expr="PT1S", overlap_policy=OverlapPolicy.CANCEL_PREVIOUS)

    async def work(number: int, queue: PostgresRunQueue) -> None:
        for turn in range(30):
            if turn % 2:
                claims = (await queue.plan_and_claim(plan_due, number, jobs=100, runs=3)).claims
            else:
                await queue.plan_due(plan_due)
                claims = await queue.claim(number, limit=3)
            for claim in claims:
                await asyncio.sleep(0.01)
                await queue.succeed(claim.hold, success({"n": 1}))
            await queue.reap()

    await asyncio.gather(*(work(*racer) for racer in enumerate(racers, 1)))
    rows = database.execute(
        "select status, error_code, count(*) from query_run where status <> 'queued' group by 1, 2"
    )
    assert ("success", None) in [row[:2] for row in rows]
    # found two at once, after a second in which the machine was busy: the older one is recorded as misfired
    skipped = {("skipped", "overlap"), ("skipped", "misfire")}
    assert {row[:2] for row in rows} <= {("success", None), *skipped}
    assert database.execute(
        "select count(*) from query_run r full join query_run_blob b on b.run_id = r.id"
        " where (r.status = 'success') is distinct from (b.run_id is not null)"
    ) == [(0,)]


async def test_places_asked_for_at_once_never_add_up_to_more_than_there_are(
    racers: list[PostgresRunQueue], setting: Setting, database: Fixture
) -> None:
    most = 6
    jobs = await setting.jobs(8, max_concurrency=most, enabled=False)
    source_id = jobs[0].spec.data_source_id
    used = """
        select coalesce(sum(greatest(running, noted)), 0) from (
            select worker_id, sum(running) as running, sum(noted) as noted from (
                select worker_id, 1, 0 from query_run where status = 'running'
                union all select worker_id, 0, connections from source_kept) each (worker_id, running, noted)
            group by worker_id) one"""
    seen = []

    async def work(number: int, queue: PostgresRunQueue) -> None:
        kept = PostgresKeptConnections(queue._database)
        for turn in range(12):
            await queue.request(jobs[(turn + number) % len(jobs)].id)
            claims = await queue.claim(number, limit=3)
            await kept.note(number, source_id, len(claims) + turn % 3, for_s=30)
            seen.append(database.execute(used)[0][0])
            for claim in claims:
                await queue.succeed(claim.hold, success())
            await kept.note(number, source_id, turn % 4, for_s=30)

    await asyncio.gather(*(work(*racer) for racer in enumerate(racers, 1)))
    assert max(seen) == most


async def test_only_one_of_many_ends_a_run(racers: list[PostgresRunQueue], setting: Setting) -> None:
    await setting.requested(10, enabled=False)
    for claim in await setting.queue.claim(1, limit=10):
        ends = [queue.succeed(claim.hold, success()) for queue in racers[:2]]
        ends += [queue.cancelled(claim.hold) for queue in racers[2:]]
        outcomes = await asyncio.gather(*ends, return_exceptions=True)
        [run] = [outcome for outcome in outcomes if isinstance(outcome, Run)]
        assert {type(outcome) for outcome in outcomes} == {Run, LeaseLost}
        assert await setting.queue.status_of(run.id) is run.status


async def test_stale_token_is_refused_while_the_new_holder_ends(
    racers: list[PostgresRunQueue], setting: Setting, database: Fixture
) -> None:
    [run] = await setting.requested(1, enabled=False)
    [stale] = await racers[0].claim(1, limit=1)
    database.execute("update query_run set lease_until = clock_timestamp()")
    await racers[1].reap()
    [held] = await racers[1].claim(2, limit=1)
    outcomes = await asyncio.gather(
        racers[0].succeed(stale.hold, success({"n": "stale"})),
        racers[1].succeed(held.hold, success({"n": "held"})),
        return_exceptions=True,
    )
    assert isinstance(outcomes[0], LeaseLost)
    assert isinstance(outcomes[1], Run)
    assert database.execute("select df_json -> 'data' -> 0 ->> 'n' from query_run_blob") == [("held",)]
    assert await setting.queue.status_of(run.id) is RunStatus.SUCCESS


async def test_chunk_that_a_lost_worker_was_still_writing_never_shows(
    racers: list[PostgresRunQueue], setting: Setting, database: Fixture
) -> None:
    """Its statement began before the run was rescued and commits after."""
    [run] = await setting.requested(1, enabled=False)
    [stale] = await racers[0].claim(1, limit=1)
    database.execute("update query_run set lease_until = clock_timestamp()")
    await racers[1].reap()
    [held] = await racers[1].claim(2, limit=1)
    await racers[1].stage(held.hold, 1, b'{"n":"held"}')
    late = 'insert into query_run_chunk (run_id, token, seq, data) values (%s, %s, %s, \'[{"n": "stale"}]\')'
    database.execute(late, [run.id, stale.hold.token, 0])
    await racers[1].succeed(held.hold, success(rows=1, data=b"", chunks=1))
    assert database.execute("select token from query_run_chunk") == [(held.hold.token,)]
    database.execute(late, [run.id, stale.hold.token, 2])
    view = PostgresRunView(setting._database)
    arrays = [array async for array in view.rows(await view.one(EVERYTHING, run.id))]
    assert arrays == [b'[{"n": "held"}]']


async def test_run_is_rescued_once_by_many(
    racers: list[PostgresRunQueue], setting: Setting, database: Fixture
) -> None:
    runs = await setting.requested(20, enabled=False)
    await setting.queue.claim(1, limit=20)
    database.execute("update query_run set lease_until = clock_timestamp()")
    reaped = await asyncio.gather(*(queue.reap() for queue in racers))
    assert sorted(run.id for found in reaped for run in found) == sorted(run.id for run in runs)
    assert database.execute("select distinct losses from query_run") == [(1,)]


async def test_cancel_and_claim_at_once_have_one_outcome(
    racers: list[PostgresRunQueue], setting: Setting
) -> None:
    jobs = await setting.jobs(20, enabled=False)
    for job in jobs:
        run = await setting.queue.request(job.id)
        asked, claims = await asyncio.gather(racers[0].request_cancel(run.id), racers[1].claim(7, limit=1))
        if asked.status is RunStatus.CANCELLED:
            assert claims == []
        else:
            [claim] = claims
            assert asked.status is RunStatus.RUNNING
            assert await setting.queue.cancel_requests(7) == {run.id}
            await setting.queue.cancelled(claim.hold)
        with pytest.raises(NotCancellable):
            await setting.queue.request_cancel(run.id)


# what the schema itself refuses


def refused(database: Fixture, statement: str, parameters: object = None) -> str | None:
    """The name of the constraint that a statement violates."""
    with pytest.raises(psycopg.errors.IntegrityError) as caught:
        database.execute(statement, parameters)
    return caught.value.diag.constraint_name


RELEASED = "run_finished_at = now(), lease_until = null, worker_id = null"
OVER = {
    "success": f"{RELEASED}, rows_returned = 0",
    "error": f"{RELEASED}, error_code = 'x', error_message = 'x'",
    "cancelled": RELEASED,
    "skipped": f"{RELEASED}, error_code = 'paused'",
}
HELD = "lease_until = now(), worker_id = 1, run_started_at = now()"


async def test_schema_refuses_what_the_state_chart_has_not(setting: Setting, database: Fixture) -> None:
    [run] = await setting.requested(1, enabled=False)

    def to(status: str, changes: str) -> str | None:
        return refused(database, f"update query_run set status = '{status}', {changes}")

    for status in ("success", "error"):
        changes = f"run_started_at = now(), {OVER[status]}"
        assert to(status, changes) == "query_run_chart"
    assert to("running", HELD) == "query_run_chart", "the token must grow"
    [claim] = await setting.queue.claim(1, limit=1)
    assert to("skipped", OVER["skipped"]) == "query_run_chart"
    assert refused(database, "update query_run set token = token - 1") == "query_run_chart"
    await setting.queue.cancelled(claim.hold)
    for status, changes in {"queued": "run_finished_at = null", **OVER}.items():
        assert to(status, changes) == "query_run_chart"
    assert await setting.queue.status_of(run.id) is RunStatus.CANCELLED


async def test_schema_refuses_a_second_row_for_an_instant(setting: Setting, database: Fixture) -> None:
    await setting.jobs(1, start_at=await PostgresClock(setting._database).now() - timedelta(seconds=5))
    await setting.queue.plan_due(plan_due)
    columns = "query_id, scheduled_at, job_timezone, status, trigger, data_source_id, ready_at"
    again = f"insert into query_run ({columns}) select {columns} from query_run"
    assert refused(database, again) == "query_run_instant_key"


async def test_schema_refuses_two_exclusive_runs_at_once(setting: Setting, database: Fixture) -> None:
    [job] = await setting.jobs(1, enabled=False)
    for _ in range(2):
        await setting.queue.request(job.id)
    both = f"update query_run set status = 'running', token = nextval('run_token'), {HELD}"
    assert refused(database, both) == "query_run_no_overlap_key"


async def test_schema_refuses_a_success_without_a_result(setting: Setting, database: Fixture) -> None:
    await setting.requested(1, enabled=False)
    await setting.queue.claim(1, limit=1)
    ended = f"update query_run set status = 'success', {OVER['success']}"
    assert refused(database, ended) == "query_run_has_blob"


async def test_schema_refuses_a_result_without_a_success(setting: Setting, database: Fixture) -> None:
    [run] = await setting.requested(1, enabled=False)
    stored = "insert into query_run_blob values (%s, 'jsonb', '{}', 0, 0)"
    assert refused(database, stored, [run.id]) == "query_run_blob_has_success"


async def test_schema_refuses_a_result_written_anew(setting: Setting, database: Fixture) -> None:
    await setting.requested(1, enabled=False)
    [claim] = await setting.queue.claim(1, limit=1)
    await setting.queue.succeed(claim.hold, success({"n": 1}))
    assert refused(database, "update query_run_blob set df_json = '{}'") == "query_run_blob_final"
    assert (
        refused(database, "insert into query_run_blob select * from query_run_blob") == "query_run_blob_pkey"
    )


async def test_planner_that_freezes_holds_its_queries_back_for_seconds_alone(
    racers: list[PostgresRunQueue], setting: Setting, database: Fixture
) -> None:
    # Regression: the server waited for it up to a minute, longer than a lease.
    [job] = await setting.jobs(1)
    frozen, thawed = threading.Event(), threading.Event()

    def freeze(*_: object) -> Plan:
        frozen.set()
        thawed.wait(60)
        return Plan()

    async def plan_and_freeze() -> None:
        other = Database(database.conninfo, application_name="frozen", max_size=2)
        await other.open()
        try:
            with pytest.raises(DatabaseUnavailable):
                await PostgresRunQueue(other).plan_due(freeze)
        finally:
            await other.close()

    # a loop of its own, which stands still as the whole process would
    planner = asyncio.create_task(asyncio.to_thread(asyncio.run, plan_and_freeze()))
    try:
        await asyncio.to_thread(frozen.wait, 10)
        assert (await racers[0].plan_due(plan_due)).jobs == 0
        async with asyncio.timeout(20):
            while not (await racers[0].plan_due(plan_due)).jobs:  # noqa: ASYNC110 (the lock is the server's)
                await asyncio.sleep(0.1)
        [claim] = await racers[0].claim(1, limit=1)
        assert claim.job.id == job.id
    finally:
        thawed.set()
        await planner


async def test_backend_that_freezes_is_given_up(database: Fixture) -> None:
    # Regression: its host answers for it, so that its worker waited until it thawed.
    other = Database(database.conninfo, application_name="one", max_size=1)
    await other.open()
    queue = PostgresRunQueue(other)
    try:
        async with other.connection() as connection:
            pid = connection.info.backend_pid
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(DatabaseUnavailable, match="no answer within 5 s"):
                await queue.plan_due(plan_due)
            assert (await queue.upcoming(within_s=1, limit=1)).instants == ()
        finally:
            os.kill(pid, signal.SIGCONT)
    finally:
        await other.close()


async def test_no_run_that_is_too_late_is_taken_however_many_there_are(
    setting: Setting, database: Fixture
) -> None:
    # Regression: a thousand were skipped by each claim, and what was left of them was taken and run.
    jobs = await setting.jobs(1, enabled=False)
    database.execute(
        """insert into query_run (query_id, scheduled_at, job_timezone, status, trigger, data_source_id,
               ready_at, deadline_at)
           select %s, now() - n * interval '1 minute', 'UTC', 'queued', 'schedule', %s, now(),
               now() - interval '1 second'
           from generate_series(1, 1010) n""",
        [jobs[0].id, jobs[0].spec.data_source_id],
    )
    counts = "select count(*) filter (where status = 'skipped'), count(*) from query_run"
    assert await setting.queue.claim(1, limit=32) == []
    assert database.execute(counts) == [(1000, 1010)]
    assert await setting.queue.claim(1, limit=32) == []
    assert database.execute(counts) == [(1010, 1010)]
