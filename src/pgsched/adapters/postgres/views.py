"""What dashboards read, on Postgres: single statements, stored JSON handed on as bytes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from typing import Any, Final

from pgsched.adapters.postgres.access import FREELY, HELD, MAY_SEE, access_of, audience_parameters
from pgsched.adapters.postgres.mapping import RUN_COLUMNS, run_from
from pgsched.adapters.postgres.reading import Reader, Row
from pgsched.adapters.postgres.result_rows import stored_rows
from pgsched.application.ports.views import QueryCard, RunFilter, RunPage, StoredRun
from pgsched.domain.audience import Access, Audience
from pgsched.domain.errors import NotFound
from pgsched.domain.freshness import Freshness
from pgsched.domain.jobs import Visibility
from pgsched.domain.names import is_key
from pgsched.domain.runs import CHUNK_ABOVE_BYTES, Run, RunStatus

_INT64: Final = 2**63

# by code points, whatever the collation of the database
# the second half tells the planner that the index of sets serves
_PARAMS_ARE: Final = "{0}.params = %(params)s and {0}.params <> ''"

_BY_NAME: Final = 'order by j.name collate "C"'

_PAGE: Final = f"select * from query_job j where {MAY_SEE} {_BY_NAME} limit %(limit)s offset %(offset)s"
_COUNT: Final = f"select count(*) as total from query_job j where {MAY_SEE}"

_WITH_BLOB: Final = "left join query_run_blob b on b.run_id = r.id"
#: bytes of results that a page of runs holds whole, in all
_PAGE_BYTES: Final = CHUNK_ABOVE_BYTES


def _cards(jobs: str) -> str:
    """Return the statement for cards of the jobs selected: few, each costs a lookup of its last run."""
    return f"""
        select j.id as card_id, j.name, j.title, j.description, j.schedule_type, j.schedule_expr, j.timezone,
            j.enabled, j.visibility, j.pause_reason, j.next_run_at, j.created_at, j.updated_at, {HELD},
            j.fresh_for, clock_timestamp() as now, (
                select f.run_finished_at from query_run f where f.query_id = j.id and f.status = 'success'
                order by f.scheduled_at desc, f.id desc limit 1) as succeeded_at,
            {RUN_COLUMNS}
        from ({jobs}) j left join lateral (
            select * from query_run l where l.query_id = j.id and l.status <> 'skipped'
            order by l.scheduled_at desc, l.id desc limit 1) r on true
        {_BY_NAME}"""


def _job_is(key: str | int) -> str:
    return "j.id = %(key)s" if isinstance(key, int) else "j.name = %(key)s"


def _status_is(alias: str, status: RunStatus) -> str:
    """Return the condition; the status stands in its text, so that the planner sees the partial indexes."""
    return f"{alias}.status = '{status.value}'"


class PostgresQueryView(Reader):
    """The port ``QueryView`` over the metadata database."""

    async def page(self, audience: Audience, *, limit: int, offset: int) -> tuple[Sequence[QueryCard], int]:
        """Return some visible queries by name, and how many there are in all."""
        parameters = {"limit": limit, "offset": min(offset, _INT64 - 1), **audience_parameters(audience)}
        rows = await self.ask(_cards(_PAGE), parameters)
        total = await self.ask(_COUNT, parameters)
        return [await self._card(row, audience) for row in rows], total[0]["total"]

    async def card(self, audience: Audience, key: str | int) -> QueryCard:
        """Return one query by name or id."""
        if is_key(key):
            job = f"select * from query_job j where {_job_is(key)} and {MAY_SEE}"
            rows = await self.ask(_cards(job), {"key": key, **audience_parameters(audience)})
            if rows:
                return await self._card(rows[0], audience)
        raise NotFound("query", key)

    async def _card(self, row: Row, audience: Audience) -> QueryCard:
        access = access_of(row, audience, query_id=row["card_id"])
        last_run = None
        if row["id"] is not None:
            [last_run] = await self.counted([_shown(run_from(row), row, audience)], access.rows)
        return _card_from(row, last_run)


class PostgresRunView(Reader):
    """The port ``RunView`` over the metadata database."""

    async def latest(
        self,
        audience: Audience,
        query: str | int,
        *,
        status: RunStatus | None = RunStatus.SUCCESS,
        whole: bool = True,
        params: str | None = None,
    ) -> StoredRun:
        """Return the highest run of that status."""
        if not is_key(query):
            raise NotFound("query", query)
        wanted = "" if status is None else f"and {_status_is('l', status)}"
        if params is not None:
            wanted += f" and {_PARAMS_ARE.format('l')}"
        statement = f"""
            select {RUN_COLUMNS}, j.visibility, {HELD}, j.fresh_for, clock_timestamp() as now,
                {_blob(FREELY if whole else "false")}
            from query_job j cross join lateral (
                select * from query_run l where l.query_id = j.id {wanted}
                order by l.scheduled_at desc, l.id desc limit 1) r {_WITH_BLOB}
            where {_job_is(query)} and {MAY_SEE}"""
        rows = await self.ask(statement, {"key": query, "params": params, **audience_parameters(audience)})
        if not rows:
            await self._query(audience, query)  # NotFound where there is none that may be seen
            what = "run" if status is None else f"{status} run"
            raise NotFound(f"{what} of query", query)
        row = rows[0]
        access = access_of(row, audience, query_id=row["query_id"])
        stored = await self._stored(row, audience, access)
        if status is not RunStatus.SUCCESS:
            return stored
        freshness = Freshness(since=row["run_finished_at"], fresh_for=row["fresh_for"], now=row["now"])
        return replace(stored, freshness=freshness)

    async def page(
        self, audience: Audience, query: str | int, wanted: RunFilter, *, with_result: bool = False
    ) -> RunPage:
        """Return a page of runs, newest first."""
        query_id, access = await self._query(audience, query)
        parameters: Row = {
            "query_id": query_id,
            "start": wanted.start,
            "end": wanted.end,
            "limit": wanted.limit + 1,
        }
        conditions = ["r.query_id = %(query_id)s"]
        if wanted.start is not None:
            conditions.append("r.scheduled_at >= %(start)s")
        if wanted.end is not None:
            conditions.append("r.scheduled_at < %(end)s")
        if wanted.status is not None:
            conditions.append(_status_is("r", wanted.status))
        if wanted.params is not None:
            parameters["params"] = wanted.params
            conditions.append(_PARAMS_ARE.format("r"))
        filters = " and ".join(conditions)
        places = {"before": wanted.before, "after": wanted.after}
        for name, run_id in places.items():
            if run_id is not None:
                parameters[f"{name}_at"], parameters[name] = await self._place(query_id, run_id)
                sign = "<" if name == "before" else ">"
                conditions.append(f"(r.scheduled_at, r.id) {sign} (%({name}_at)s, %({name})s)")
        ascending = wanted.after is not None and wanted.before is None
        direction = "asc" if ascending else "desc"
        order = f"order by r.scheduled_at {direction}, r.id {direction}"
        statement = f"select r.* from query_run r where {' and '.join(conditions)} {order} limit %(limit)s"
        if with_result:
            whole = "false"
            if access.rows is None:
                whole = f"sum(b.byte_size) over ({order}) <= {_PAGE_BYTES}"
            statement = f"""
                select {RUN_COLUMNS}, {_blob(whole)} from ({statement}) r {_WITH_BLOB} {order}"""
        rows = await self.ask(statement, parameters)
        rows = rows[: wanted.limit]
        if ascending:
            rows.reverse()
        if with_result:
            items = [await self._stored(row, audience, access) for row in rows]
        else:
            runs = [_shown(run_from(row), row, audience) for row in rows]
            counted = await self.counted(runs, access.rows)
            items = [StoredRun(run=run, result=None, rows=access.rows) for run in counted]
        if not items:
            return RunPage(items=(), next_before=None, prev_after=None)
        first, last = items[0].run, items[-1].run
        return RunPage(
            items=items,
            next_before=last.id if await self._is_beyond(filters, parameters, last, "<") else None,
            prev_after=first.id if await self._is_beyond(filters, parameters, first, ">") else None,
        )

    async def one(self, audience: Audience, run_id: int, *, whole: bool = True) -> StoredRun:
        """Return one run with its result."""
        if is_key(run_id):
            rows = await self.ask(
                f"""select {RUN_COLUMNS}, j.visibility, {HELD}, {_blob(FREELY if whole else "false")}
                    from query_run r join query_job j on j.id = r.query_id {_WITH_BLOB}
                    where r.id = %(run_id)s and {MAY_SEE}""",
                {"run_id": run_id, **audience_parameters(audience)},
            )
            if rows:
                access = access_of(rows[0], audience, query_id=rows[0]["query_id"])
                return await self._stored(rows[0], audience, access)
        raise NotFound("run", run_id)

    async def neighbour(
        self,
        audience: Audience,
        query: str | int,
        run_id: int,
        *,
        newer: bool,
        whole: bool = True,
        params: str | None = None,
    ) -> StoredRun:
        """Return the next newer or older run of the same query."""
        query_id, access = await self._query(audience, query)
        at, place = await self._place(query_id, run_id)
        sign, direction = (">", "asc") if newer else ("<", "desc")
        of_set = "" if params is None else f"and {_PARAMS_ARE.format('r')}"
        rows = await self.ask(
            f"""select {RUN_COLUMNS}, {_blob("true" if whole and access.rows is None else "false")}
                from query_run r {_WITH_BLOB}
                where r.query_id = %(query_id)s and (r.scheduled_at, r.id) {sign} (%(at)s, %(place)s) {of_set}
                order by r.scheduled_at {direction}, r.id {direction} limit 1""",
            {"query_id": query_id, "at": at, "place": place, "params": params},
        )
        if not rows:
            raise NotFound(f"run {'after' if newer else 'before'} run", run_id)
        return await self._stored(rows[0], audience, access)

    async def _query(self, audience: Audience, query: str | int) -> tuple[int, Access]:
        if is_key(query):
            rows = await self.ask(
                f"select j.id, j.visibility, {HELD} from query_job j where {_job_is(query)} and {MAY_SEE}",
                {"key": query, **audience_parameters(audience)},
            )
            if rows:
                query_id = int(rows[0]["id"])
                return query_id, access_of(rows[0], audience, query_id=query_id)
        raise NotFound("query", query)

    async def _place(self, query_id: int, run_id: int) -> tuple[Any, int]:
        if is_key(run_id):
            rows = await self.ask(
                "select scheduled_at from query_run where id = %(run_id)s and query_id = %(query_id)s",
                {"run_id": run_id, "query_id": query_id},
            )
            if rows:
                return rows[0]["scheduled_at"], run_id
        raise NotFound("run", run_id)

    async def _is_beyond(self, filters: str, parameters: Row, run: Run, sign: str) -> bool:
        values = {**parameters, "edge_at": run.scheduled_at, "edge": run.id}
        rows = await self.ask(_is_beyond(filters, sign), values)
        return bool(rows[0]["it"])

    def rows(self, stored: StoredRun, *, offset: int = 0, limit: int | None = None) -> AsyncGenerator[bytes]:
        """Hand out the rows shown of a run, a chunk at a time."""
        return stored_rows(self, stored, offset=offset, limit=limit)

    async def _stored(self, row: Row, audience: Audience, access: Access) -> StoredRun:
        [run] = await self.counted([_shown(run_from(row), row, audience)], access.rows)
        return StoredRun(run=run, result=row["df_json"], rows=access.rows, table_schema=row["table_schema"])


def _blob(whole: str) -> str:
    """Return the columns of a blob b: the document where the condition holds, else its schema."""
    whole = f"b.format = 'jsonb' and ({whole})"
    return f"""case when {whole} then b.df_json end as df_json,
        case when not ({whole}) then b.df_json -> 'schema' end as table_schema"""


def _shown(run: Run, row: Row, audience: Audience) -> Run:
    return run if audience.whole_errors else replace(run, error_message=row["error_public"])


def _card_from(row: Row, last_run: Run | None) -> QueryCard:
    succeeded_at = row["succeeded_at"]
    freshness = Freshness(since=succeeded_at or row["created_at"], fresh_for=row["fresh_for"], now=row["now"])
    return QueryCard(
        fresh_for=row["fresh_for"],
        fresh_until=freshness.fresh_until,
        is_stale=freshness.is_stale,
        age_s=None if succeeded_at is None else freshness.age_s,
        id=row["card_id"],
        name=row["name"],
        title=row["title"],
        description=row["description"],
        schedule_type=row["schedule_type"],
        schedule_expr=row["schedule_expr"],
        timezone=row["timezone"],
        enabled=row["enabled"],
        visibility=Visibility(row["visibility"]),
        pause_reason=row["pause_reason"],
        next_run_at=row["next_run_at"],
        last_run=last_run,
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )


def _is_beyond(filters: str, sign: str) -> str:
    """Ask whether a run is beyond a place, by a step along the index.

    Where many are, ``exists`` reads the table from its beginning until it meets one.
    """
    order = "r.scheduled_at, r.id" if sign == ">" else "r.scheduled_at desc, r.id desc"
    return f"""select (select true from query_run r where {filters}
        and (r.scheduled_at, r.id) {sign} (%(edge_at)s, %(edge)s)
        order by {order} limit 1) is not null as it"""
