"""A query's past on Postgres."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from psycopg.rows import dict_row

from pgsched.adapters.postgres.database import Database
from pgsched.adapters.postgres.mapping import RUN_COLUMNS, run_from
from pgsched.adapters.postgres.workers import ARE_HELD, SILENT_S
from pgsched.domain.errors import NotFound
from pgsched.domain.ledger import Past, Phase, Recorded, RecordedGap
from pgsched.domain.names import is_key
from pgsched.domain.planning import Gap
from pgsched.domain.runs import SkipReason
from pgsched.domain.schedules import Schedule, ScheduleType

_JOB: Final = """
select j.id, j.name, j.next_run_at, j.jitter_s, r.deleted_to, clock_timestamp() as now,
    clock_timestamp() - interval '30 days' as workers_since
from query_job j left join query_retention r on r.query_id = j.id
where """
_PHASES: Final = "select * from query_phase where query_id = %(query_id)s order by since, id"
# A worker that was killed was there until its last sign of life, or a little longer.
_ATTENDED: Final = f"""
select started_at, case
    when stopped_at is not null then stopped_at
    when session_lock and id in (select objid::bigint from ({ARE_HELD}) held) then clock_timestamp()
    else least(seen_at + interval '{SILENT_S} seconds', clock_timestamp()) end
from worker order by started_at"""
_RUNS: Final = f"""
select {RUN_COLUMNS}, r.created_at from query_run r
where r.query_id = %(query_id)s and r.trigger = 'schedule'
  and r.scheduled_at >= %(start)s and r.scheduled_at < %(end)s
  and (%(params)s::text is null or r.params = %(params)s)
order by r.scheduled_at, r.id limit %(limit)s"""
_GAPS: Final = """
select from_at, to_at, instants, reason, created_at, params from query_gap
where query_id = %(query_id)s and from_at < %(end)s and to_at >= %(start)s
  and (%(params)s::text is null or params = %(params)s)
order by from_at, id"""


class PostgresLedger:
    """The port ``LedgerView`` over the metadata database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def past(self, query: str | int) -> Past:
        """Return the phases of a query, and what else explaining needs."""
        if not is_key(query):
            raise NotFound("query", query)
        condition = "j.id = %(key)s" if isinstance(query, int) else "j.name = %(key)s"
        async with (
            self._database.transaction() as connection,
            connection.cursor(row_factory=dict_row) as cursor,
        ):
            job = await (await cursor.execute(_JOB + condition, {"key": query})).fetchone()
            if job is None:
                raise NotFound("query", query)
            phases = await (await cursor.execute(_PHASES, {"query_id": job["id"]})).fetchall()
            attended = await (await connection.execute(_ATTENDED)).fetchall()
        return Past(
            query_id=job["id"],
            name=job["name"],
            now=job["now"],
            phases=tuple(_phase(row) for row in phases),
            next_run_at=job["next_run_at"],
            jitter_s=job["jitter_s"],
            deleted_to=job["deleted_to"],
            workers_since=job["workers_since"],
            attended=tuple((since, until) for since, until in attended),
        )

    async def rows(
        self, query_id: int, start: datetime, end: datetime, *, limit: int, params: str | None = None
    ) -> tuple[Sequence[Recorded], Sequence[RecordedGap]]:
        """Return the scheduled runs of a range, and the gaps there."""
        values = {"query_id": query_id, "start": start, "end": end, "limit": limit, "params": params}
        async with (
            self._database.connection() as connection,
            connection.cursor(row_factory=dict_row) as cursor,
        ):
            runs = await (await cursor.execute(_RUNS, values)).fetchall()
            gaps = await (await cursor.execute(_GAPS, values)).fetchall()
        return (
            [Recorded(run=run_from(row), at=row["created_at"]) for row in runs],
            [RecordedGap(gap=_gap(row), at=row["created_at"], params=row["params"]) for row in gaps],
        )


def _phase(row: dict[str, Any]) -> Phase:
    return Phase(
        since=row["since"],
        schedule=Schedule(
            type=ScheduleType(row["schedule_type"]),
            expr=row["schedule_expr"],
            timezone=row["timezone"],
            anchor=row["anchor_at"],
        ),
        enabled=row["enabled"],
        sets=tuple(row["param_sets"]) or ("",),
        pause_reason=row["pause_reason"],
        first_at=row["first_at"],
    )


def _gap(row: dict[str, Any]) -> Gap:
    return Gap(
        from_at=row["from_at"],
        to_at=row["to_at"],
        instants=row["instants"],
        reason=SkipReason(row["reason"]),
    )
