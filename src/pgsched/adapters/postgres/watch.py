"""The port ``Watch`` over the metadata database: a connection of its own, and a hard deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from typing import Any, Final

from psycopg import Error

from pgsched.adapters.postgres.access import grants_from
from pgsched.adapters.postgres.connections import Connection, shut
from pgsched.adapters.postgres.database import Database
from pgsched.adapters.postgres.faults import fault_of, unavailable, unreachable
from pgsched.application.ports.watch import Ended, QueryRights, Sighting
from pgsched.domain.jobs import Visibility

#: seconds after which a look is given up, connection and all
DEADLINE_S: Final = 0.9

_ENDED: Final = "(extract(epoch from r.run_finished_at) * 1000000)::bigint"

# An index lookup for each, by the index that latest answers use; arrays of one order.
LOOK: Final = f"""
select (select epoch from access_epoch), latest.queries, latest.runs, latest.ends, there.runs, there.ends
from (
    select array_agg(j.id) as queries, array_agg(r.id) as runs, array_agg({_ENDED}) as ends
    from unnest(%(queries)s::bigint[]) q (id) join query_job j on j.id = q.id
    left join lateral (
        select l.id, l.run_finished_at from query_run l where l.query_id = j.id and l.status = 'success'
        order by l.scheduled_at desc, l.id desc limit 1) r on true) latest
cross join (
    select array_agg(r.id) as runs, array_agg({_ENDED}) as ends
    from unnest(%(runs)s::bigint[]) a (id) join query_run r on r.id = a.id
    where r.status not in ('queued', 'running') and r.run_finished_at is not null) there"""

RIGHTS: Final = """
select j.id, j.name, j.visibility, case when j.visibility = 'restricted' then (
    select json_agg(json_build_object('user_id', g.user_id, 'role', g.role, 'token_id', g.token_id,
            'row_filter', g.row_filter) order by g.id)
    from query_grant g where g.query_id = j.id) end::text, j.fresh_for
from unnest(%(queries)s::bigint[]) q (id) join query_job j on j.id = q.id"""


class PostgresWatch:
    """Looks over a connection of its own, so that no pool in use can blind it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: Connection | None = None

    async def look(self, queries: Collection[int], runs: Collection[int]) -> Sighting:
        """Look, in one statement."""
        asked = {"queries": list(queries), "runs": list(runs)}
        [(epoch, ids, latest, ends, there, their_ends)] = await self._rows(LOOK, asked)
        if epoch is None:
            raise unavailable("its table access_epoch has lost its row")
        return Sighting(
            epoch=epoch,
            latest={
                query_id: None if run_id is None else Ended(run_id, at)
                for query_id, run_id, at in zip(ids or (), latest or (), ends or (), strict=True)
            },
            runs={
                run_id: Ended(run_id, at) for run_id, at in zip(there or (), their_ends or (), strict=True)
            },
        )

    async def rights(self, queries: Collection[int]) -> Mapping[int, QueryRights]:
        """Read who may read some queries."""
        rows = await self._rows(RIGHTS, {"queries": list(queries)})
        return {
            query_id: QueryRights(
                query_id=query_id,
                name=name,
                visibility=Visibility(visibility),
                grants=tuple(grants_from(grants)),
                fresh_for=fresh_for,
            )
            for query_id, name, visibility, grants, fresh_for in rows
        }

    async def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _rows(self, statement: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
        """Ask, within the deadline.

        A task that waits for a frozen server cannot simply be cancelled: the driver would first ask that
        server to cancel the statement. It is left behind, and ends at once because its socket is shut.
        """
        asking = asyncio.create_task(self._ask(statement, parameters))
        try:
            done, _ = await asyncio.wait({asking}, timeout=DEADLINE_S)
        except asyncio.CancelledError:
            self._drop(asking)
            raise
        if not done:
            self._drop(asking)
            raise unreachable(f"no answer within {DEADLINE_S:g} s")
        return asking.result()

    async def _ask(self, statement: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
        if self._connection is None or self._connection.closed:
            self._connection = await self._database.connect()
        connection = self._connection
        try:
            return await (await connection.execute(statement, parameters)).fetchall()
        except Error as error:
            await connection.close()
            fault = fault_of(error)
            if fault is None:
                raise
            raise fault from None

    def _drop(self, asking: asyncio.Task[list[tuple[Any, ...]]]) -> None:
        """Give up an attempt and the connection it waits on; nobody asks for its outcome any more."""
        asking.add_done_callback(_unasked)
        connection, self._connection = self._connection, None
        if connection is None:
            asking.cancel()  # still connecting
        else:
            shut(connection)


def _unasked(asking: asyncio.Task[Any]) -> None:
    if not asking.cancelled():
        asking.exception()
