"""The run queue on Postgres: planned, claimed, renewed, ended, rescued by single guarded statements."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from psycopg import AsyncConnection, Error
from psycopg.errors import UniqueViolation
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from pgsched.adapters.postgres import claiming_sql as claiming
from pgsched.adapters.postgres import runs_sql as sql
from pgsched.adapters.postgres.database import Database
from pgsched.adapters.postgres.faults import violations
from pgsched.adapters.postgres.finishing import Finishing, lost, rejection_of
from pgsched.adapters.postgres.mapping import job_from, run_from, source_from
from pgsched.adapters.postgres.planning import WHY, begin_planning
from pgsched.adapters.postgres.workers import HINT
from pgsched.application.ports.queue import Claim, Decide, Planned, Renewal, Upcoming
from pgsched.domain.errors import DatabaseFault, NotCancellable, NotFound
from pgsched.domain.names import is_key
from pgsched.domain.runs import Failure, Hold, Run, RunStatus, SkipReason, Success, Trigger

_CANCELLED = "cancelled on request"
_LATE = WHY[SkipReason.DEADLINE]
_LOST = "the worker was lost while it ran this, twice"

#: seconds within which the server answers what is light, or its backend is taken for frozen
LIGHT_S = 5.0
#: seconds after which a claim is tried again at sources that another one had locked
AGAIN_S = (0.002, 0.008, 0.03)
#: seconds for what may be much at once
HEAVY_S = 15.0
#: bytes of a chunk beyond which its connection does not serve again
HUGE_BYTES = 8 << 20

_Row = dict[str, Any]


class PostgresRunQueue:
    """The port ``RunQueue`` over the metadata database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._finishing = Finishing(database)

    async def plan_due(self, decide: Decide, *, limit: int = 100) -> Planned:
        """Plan up to ``limit`` due jobs in one transaction."""
        async with self._database.pipeline(within_s=LIGHT_S, in_steps=True) as pipeline:
            planning = await begin_planning(pipeline, decide, limit)
            pipeline.within_s = HEAVY_S
        return planning.planned()

    async def plan_and_claim(self, decide: Decide, worker_id: int, *, jobs: int, runs: int) -> Planned:
        """Plan due jobs and take runs that are ready, in one transaction."""
        if not runs:
            return await self.plan_due(decide, limit=jobs)
        try:
            async with self._database.pipeline(within_s=LIGHT_S, in_steps=True) as pipeline:
                planning = await begin_planning(pipeline, decide, jobs)
                pipeline.within_s = HEAVY_S
                locked = pipeline.send(claiming.LOCK_SOURCES, {"worker_id": worker_id, "why": _LATE})
                claimed = pipeline.send(claiming.CLAIM, {"limit": runs, "worker_id": worker_id})
        except UniqueViolation:
            planned, claims, passed_over = await self.plan_due(decide, limit=jobs), [], True
        else:
            planned, claims = planning.planned(), _claims(claimed.rows, worker_id)
            passed_over = locked.rows[0]["passed_over"]
        if passed_over and len(claims) < runs:
            claims += await self._claim_again(worker_id, runs - len(claims), has_some=bool(claims))
        return replace(planned, claims=claims)

    async def upcoming(self, *, within_s: float, limit: int) -> Upcoming:
        """Return the instants ahead."""
        async with self._database.pipeline(within_s=LIGHT_S) as pipeline:
            answer = pipeline.send(sql.UPCOMING, {"within_s": within_s, "limit": limit})
        row = answer.rows[0]
        return Upcoming(now=row["now"], instants=tuple(row["instants"]), at_rest=row["at_rest"])

    async def claim(self, worker_id: int, *, limit: int) -> Sequence[Claim]:
        """Take up to ``limit`` runs that are ready."""
        claims, passed_over = await self._claim(worker_id, limit)
        if passed_over and len(claims) < limit:
            claims += await self._claim_again(worker_id, limit - len(claims), has_some=bool(claims))
        return claims

    async def renew(self, worker_id: int, holds: Sequence[Hold]) -> Renewal:  # noqa: ARG002 (tokens prove more)
        """Extend the leases still held."""
        if not holds:
            return Renewal()
        rows = await self._many(sql.RENEW, _arrays(holds))
        kept = {row["id"] for row in rows}
        return Renewal(
            lost=frozenset(hold.run_id for hold in holds) - kept,
            cancel=frozenset(row["id"] for row in rows if row["cancel"]),
        )

    async def cancel_requests(self, worker_id: int) -> frozenset[int]:
        """Return the runs of this worker that someone asked to cancel."""
        rows = await self._many(sql.CANCEL_REQUESTS, {"worker_id": worker_id})
        return frozenset(row["id"] for row in rows)

    async def held_by(self, worker_id: int) -> Sequence[Hold]:
        """Return what a worker holds by the record."""
        rows = await self._many(sql.HELD_BY, {"worker_id": worker_id})
        return [Hold(run_id=row["id"], token=row["token"]) for row in rows]

    async def stage(self, hold: Hold, seq: int, rows: bytes) -> None:
        """Store a chunk of row objects, unseen until the run succeeds."""
        parameters = {**_held(hold), "seq": seq, "rows": Jsonb(rows, dumps=_as_array)}
        async with self._database.connection() as connection:
            try:
                inserted = await connection.execute(sql.STAGE, parameters)
                # Nothing inserted: lost, or the same chunk came twice because an answer was lost.
                if not inserted.rowcount and await _first(connection, sql.IS_HELD, parameters) is None:
                    raise lost(hold)
            except Error as error:
                raise (rejection_of(error) or error) from None
            finally:
                if len(rows) > HUGE_BYTES:
                    # libpq's buffer for what it sends never shrinks, and each connection has one
                    await connection.close()

    async def succeed(self, hold: Hold, success: Success) -> Run:
        """Store result and status in one transaction."""
        return await self._finishing.succeed(hold, success)

    async def fail(self, hold: Hold, failure: Failure, *, retry_in_s: float | None) -> Run:
        """End the run with an error, or queue it again."""
        told = {
            "code": failure.code,
            "message": _storable(failure.message),
            "public": _storable(failure.public),
            "sqlstate": failure.sqlstate,
        }
        if retry_in_s is None:
            return await self._end(sql.FAIL, hold, **told)
        row = await self._one(sql.RETRY, {**_held(hold), **told, "retry_in_s": retry_in_s})
        # Not queued again: lost, or asked to cancel meanwhile.
        return await self.cancelled(hold) if row is None else run_from(row)

    async def cancelled(self, hold: Hold) -> Run:
        """Record that a held run was cancelled as asked."""
        return await self._end(sql.CANCELLED, hold, why=_CANCELLED)

    async def hand_back(self, holds: Sequence[Hold]) -> int:
        """Queue held runs again at once, the try not counted."""
        async with self._database.transaction() as connection:
            rows = await _rows(connection, sql.CANCEL_HELD, {**_arrays(holds), "why": _CANCELLED})
            rows += await _rows(connection, sql.HAND_BACK, _arrays(holds))
            await connection.execute(HINT)
        return len(rows)

    async def reap(self) -> Sequence[Run]:
        """Rescue the runs whose lease has expired or whose worker's connection is gone."""
        rows = await self._many(sql.REAP, {"lost": _LOST, "cancelled": _CANCELLED}, HEAVY_S)
        return [run_from(row) for row in rows]

    async def request(
        self, query_id: int, trigger: Trigger = Trigger.MANUAL, *, params: str | None = None
    ) -> Run:
        """Queue a run now, whatever the schedule."""
        gone = NotFound("query", query_id)
        if not is_key(query_id):
            raise gone
        asked = {"query_id": query_id, "trigger": trigger.value, "params": params}
        with violations({"query_run_query_fkey": gone}):
            async with self._database.transaction() as connection:
                row = await _first(connection, sql.REQUEST, asked)
                if row is None and params is not None:
                    row = await _first(connection, sql.REQUEST, {**asked, "params": None})
                    if row is not None:
                        # taken back with the transaction
                        raise NotFound("parameter set", params)
                if row is None:
                    raise gone
                await connection.execute(HINT)
        return run_from(row)

    async def request_cancel(self, run_id: int) -> Run:
        """Cancel a waiting run at once; ask the worker of a running one to."""
        if not is_key(run_id):
            raise NotFound("run", run_id)
        parameters = {"run_id": run_id, "why": _CANCELLED}
        async with self._database.transaction() as connection:
            # Twice, because a run can be claimed or handed back between the two statements.
            for statement in (sql.CANCEL_WAITING, sql.CANCEL_RUNNING) * 2:
                row = await _first(connection, statement, parameters)
                if row is not None:
                    await connection.execute(HINT)
                    return run_from(row)
        status = await self.status_of(run_id)
        raise NotCancellable(f"run {run_id} is over: {status}")

    async def status_of(self, run_id: int) -> RunStatus:
        """Return where a run stands."""
        row = await self._one(sql.STATUS, {"run_id": run_id})
        if row is None:
            raise NotFound("run", run_id)
        return RunStatus(row["status"])

    async def _claim_again(self, worker_id: int, limit: int, *, has_some: bool) -> list[Claim]:
        """Take more where sources were locked; runs that were taken before (``has_some``) are not lost."""
        claims: list[Claim] = []
        for pause_s in AGAIN_S:
            await asyncio.sleep(pause_s)
            try:
                more, passed_over = await self._claim(worker_id, limit - len(claims))
            except DatabaseFault:
                if claims or has_some:
                    break
                raise
            claims += more
            if not passed_over or len(claims) == limit:
                break
        return claims

    async def _claim(self, worker_id: int, limit: int) -> tuple[list[Claim], bool]:
        """Take runs at the sources that nobody has locked; say whether there were others."""
        try:
            async with self._database.pipeline(within_s=LIGHT_S) as pipeline:
                locked = pipeline.send(claiming.LOCK_SOURCES, {"worker_id": worker_id, "why": _LATE})
                claimed = pipeline.send(claiming.CLAIM, {"limit": limit, "worker_id": worker_id})
        except UniqueViolation:
            # The no-overlap index has the last word when a query moved between sources meanwhile.
            return [], False
        return _claims(claimed.rows, worker_id), locked.rows[0]["passed_over"]

    async def _end(self, statement: str, hold: Hold, **parameters: object) -> Run:
        row = await self._one(statement, {**_held(hold), **parameters})
        if row is None:
            raise lost(hold)
        return run_from(row)

    async def _one(self, statement: str, parameters: _Row, within_s: float = HEAVY_S) -> _Row | None:
        async with self._database.connection(within_s=within_s) as connection:
            return await _first(connection, statement, parameters)

    async def _many(self, statement: str, parameters: _Row, within_s: float = LIGHT_S) -> list[_Row]:
        async with self._database.connection(within_s=within_s) as connection:
            return await _rows(connection, statement, parameters)


async def _rows(connection: AsyncConnection[Any], statement: str, parameters: _Row) -> list[_Row]:
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(statement, parameters)
        return await cursor.fetchall()


async def _first(connection: AsyncConnection[Any], statement: str, parameters: _Row) -> _Row | None:
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(statement, parameters)
        return await cursor.fetchone()


def _claims(rows: Sequence[_Row], worker_id: int) -> list[Claim]:
    one_of_each = {row["s_id"]: row for row in rows}
    sources = {source_id: source_from(row) for source_id, row in one_of_each.items()}
    claims = [
        Claim(
            hold=Hold(run_id=row["run_id"], token=row["token"]),
            job=job_from(row),
            source=sources[row["s_id"]],
            scheduled_at=row["scheduled_at"],
            attempt=row["attempt"],
            trigger=Trigger(row["trigger"]),
            params=row["params"],
            worker_id=worker_id,
        )
        for row in rows
    ]
    return sorted(claims, key=lambda claim: (claim.scheduled_at, claim.hold.run_id))


def _arrays(holds: Sequence[Hold]) -> _Row:
    return {"ids": [hold.run_id for hold in holds], "tokens": [hold.token for hold in holds]}


def _held(hold: Hold) -> _Row:
    return {"run_id": hold.run_id, "token": hold.token}


def _as_array(rows: bytes) -> bytes:
    return b"[" + rows + b"]"


def _storable(text: str) -> str:
    """Replace what a Postgres text cannot hold: NUL and lone surrogates."""
    return text.replace("\x00", "\ufffd").encode(errors="replace").decode()
