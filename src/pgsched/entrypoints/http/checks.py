"""What ``pgsched sql check`` and ``pgsched schedule next`` answer, over HTTP."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from litestar import Request, post
from litestar.response.base import ASGIResponse
from msgspec import Meta

from pgsched.application.statements import as_written, by_itself
from pgsched.domain.accounts import Right
from pgsched.entrypoints.http import bodies, wire
from pgsched.entrypoints.http.auth import NO_STORE
from pgsched.entrypoints.http.callers import caller_of
from pgsched.entrypoints.http.description import answers, operation
from pgsched.entrypoints.next_instants import DEFAULT, MOST, answer_to

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from pgsched.application.ports.execution import SqlGuard
    from pgsched.domain.sql_guard import Verdict
    from pgsched.entrypoints.http.administration import Administration

_Request = Request[Any, Any, Any]
_TAGS = ["Writing queries"]


class SqlToCheck(msgspec.Struct, kw_only=True):
    """A statement for the guard."""

    sql: str
    #: whether functions that are not Postgres's own may be called; null as a new source has it
    allow_user_functions: bool | None = True


class ScheduleToShow(msgspec.Struct, kw_only=True):
    """A schedule whose next instants are asked for."""

    #: cron or interval
    type: Annotated[str, Meta(extra_json_schema={"enum": ["cron", "interval"]})]
    #: five cron fields or a macro; an ISO 8601 duration or whole seconds
    expr: str
    timezone: str | None = "UTC"
    #: ISO 8601; without an offset in the zone; null for now
    after: str | None = None
    #: ISO 8601, the first instant of an interval; null for what ``after`` is
    anchor: str | None = None
    #: how many, at most 10,000
    n: Annotated[int, Meta(ge=1, le=MOST)] | None = DEFAULT


@dataclass(frozen=True, kw_only=True, slots=True)
class SqlVerdict:
    """What the guard says."""

    allowed: bool
    #: the rule, or why it is allowed
    code: str | None
    #: for a person: what, where, and the way out
    detail: str
    #: where, in characters from 1; null when it has no place
    position: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class NextInstants:
    """The next instants of a schedule."""

    #: local times with their offset, ascending
    next: list[str]


def routes(administration: Administration) -> list[HTTPRouteHandler]:
    """Return the handlers."""

    @post(
        "/api/admin/sql/check",
        status_code=200,
        operation_id="checkSql",
        summary="Ask the guard about a statement",
        tags=_TAGS,
        operation_class=operation(body=SqlToCheck),
        responses=answers(SqlVerdict, "What the guard says.", 403, 413, 415, 503),
    )
    async def check_sql(request: _Request) -> ASGIResponse:
        caller_of(request).require(Right.EDITOR)
        # NUL and lone surrogates are for the guard to refuse, as on the command line
        asked = await bodies.read(request, SqlToCheck, judged=("sql",))
        allowed = asked.allow_user_functions is not False
        verdict = await asyncio.to_thread(_judged, administration.guard, asked.sql, allowed)
        told = SqlVerdict(
            allowed=verdict.allowed, code=verdict.code, detail=verdict.detail, position=verdict.position
        )
        return ASGIResponse(body=wire.encode(told), media_type=wire.JSON, headers=NO_STORE)

    @post(
        "/api/admin/schedule/next",
        status_code=200,
        operation_id="showSchedule",
        summary="Show the next instants of a schedule",
        tags=_TAGS,
        operation_class=operation(body=ScheduleToShow),
        responses=answers(NextInstants, "The instants.", 403, 413, 415, 503),
    )
    async def show_schedule(request: _Request) -> ASGIResponse:
        caller_of(request).require(Right.EDITOR)
        asked = await bodies.read(request, ScheduleToShow)
        instants = await asyncio.to_thread(answer_to, msgspec.structs.asdict(asked))
        body = wire.encode(NextInstants(next=instants))
        return ASGIResponse(body=body, media_type=wire.JSON, headers=NO_STORE)

    return [check_sql, show_schedule]


def _judged(guard: SqlGuard, sql: str, allow_user_functions: bool) -> Verdict:
    statement = by_itself(sql)
    verdict = guard.check(
        statement.sql, allow_user_functions=allow_user_functions, places=len(statement.names)
    )
    return as_written(verdict, statement.sql, sql)
