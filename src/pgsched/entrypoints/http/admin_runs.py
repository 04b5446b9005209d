"""Running by hand over HTTP: dry runs, runs now, and cancelling them."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec
from litestar import Request, post
from litestar.response.base import ASGIResponse
from msgspec import Meta

from pgsched.application.dry_run import DEFAULT_LIMIT, DEFAULT_TIMEOUT_MS, LONGEST_TIMEOUT_MS, MOST_ROWS
from pgsched.domain.accounts import Right
from pgsched.domain.errors import InvalidInput, SourceFault
from pgsched.domain.runs import Run
from pgsched.entrypoints.http import bodies, problems, wire
from pgsched.entrypoints.http.auth import NO_STORE
from pgsched.entrypoints.http.callers import actor_of, caller_of
from pgsched.entrypoints.http.described_parameters import Qid, RunId
from pgsched.entrypoints.http.description import answers, operation
from pgsched.entrypoints.http.parameters import query_key, run_key

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from pgsched.entrypoints.http.administration import Administration

_Request = Request[Any, Any, Any]
_TAGS = ["Writing queries"]
_T = TypeVar("_T")


class RunWanted(msgspec.Struct, kw_only=True):
    """Which run is asked for."""

    #: name of the parameter set to run with; null for the first
    params: str | None = None


class DryRunBounds(msgspec.Struct, kw_only=True):
    """How much a dry run may give and take, and with which values; null is the default."""

    #: name of the parameter set to run with; null for the first
    params: str | None = None

    #: most rows, at most 10,000
    limit: Annotated[int, Meta(ge=1, le=MOST_ROWS)] | None = DEFAULT_LIMIT
    #: milliseconds the statement may take, at most 300,000
    timeout_ms: Annotated[int, Meta(ge=1, le=LONGEST_TIMEOUT_MS)] | None = DEFAULT_TIMEOUT_MS


@dataclass(frozen=True, kw_only=True, slots=True)
class DryRunFound:
    """What a dry run found."""

    #: rows found, at most the limit
    rows_returned: int
    #: milliseconds, connecting included
    duration_ms: int
    #: whether there was more
    truncated: bool
    #: as a worker would have stored it
    result: wire.TableDocument


def routes(administration: Administration) -> list[HTTPRouteHandler]:
    """Return the handlers."""

    @post(
        "/api/admin/queries/{qid:str}/test",
        status_code=200,
        operation_id="testQuery",
        summary="Run a query once at its source and show its first rows; nothing is stored",
        tags=_TAGS,
        operation_class=operation(body=DryRunBounds, body_optional=True),
        responses=answers(
            DryRunFound, "The rows.", 403, 404, 409, 413, 415, 422, 429, 502, 503, 504, good=200
        ),
    )
    async def test_query(request: _Request, qid: Qid) -> ASGIResponse:
        caller_of(request).require(Right.EDITOR)
        bounds = await bodies.read(request, DryRunBounds, optional=True)
        trying = administration.dry_run(
            query_key(qid),
            actor_of(request),
            limit=DEFAULT_LIMIT if bounds.limit is None else bounds.limit,
            timeout_ms=DEFAULT_TIMEOUT_MS if bounds.timeout_ms is None else bounds.timeout_ms,
            params=bounds.params,
        )
        try:
            found = await _while_there(request, trying)
        except SourceFault as fault:
            # whoever writes the query needs all that the source said
            return problems.answer(*problems.of_dry_run(fault))
        body = b'{"rows_returned":%d,"duration_ms":%d,"truncated":%b,"result":%b}' % (
            found.rows_returned,
            found.duration_ms,
            b"true" if found.truncated else b"false",
            found.result,
        )
        return ASGIResponse(body=body, media_type=wire.JSON, headers=NO_STORE)

    @post(
        "/api/admin/queries/{qid:str}/run",
        status_code=202,
        operation_id="runQuery",
        summary="Queue a run now, of a disabled query too",
        tags=_TAGS,
        operation_class=operation(body=RunWanted, body_optional=True),
        responses=answers(Run, "The queued run.", 403, 404, 413, 415, 503, good=202),
    )
    async def run_query(request: _Request, qid: Qid) -> ASGIResponse:
        caller_of(request).require(Right.EDITOR)
        wanted = await bodies.read(request, RunWanted, optional=True)
        run = await administration.request_run(query_key(qid), actor_of(request), params=wanted.params)
        return _accepted(run)

    @post(
        "/api/admin/runs/{run_id:str}/cancel",
        status_code=202,
        operation_id="cancelRun",
        summary="Cancel a run: a waiting one at once, a running one by its worker",
        tags=_TAGS,
        responses=answers(Run, "The run.", 403, 404, 409, 413, 415, 503, good=202),
    )
    async def cancel_run(request: _Request, run_id: RunId) -> ASGIResponse:
        caller_of(request).require(Right.EDITOR)
        await bodies.read_nothing(request)
        return _accepted(await administration.cancel_run(run_key(run_id), actor_of(request)))

    return [test_query, run_query, cancel_run]


def _accepted(run: Run) -> ASGIResponse:
    headers = {**NO_STORE, "Location": f"/api/runs/{run.id}"}
    return ASGIResponse(body=wire.encode(run), status_code=202, media_type=wire.JSON, headers=headers)


async def _while_there(request: _Request, doing: Coroutine[Any, Any, _T]) -> _T:
    """Do it as long as somebody waits for the answer: who hangs up cancels it, at the source too.

    Raises:
        InvalidInput: the client is gone; nobody will read this.
    """
    work, gone = asyncio.ensure_future(doing), asyncio.ensure_future(_until_gone(request))
    try:
        await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise InvalidInput("the client is gone")
        return work.result()
    finally:
        for task in (work, gone):
            task.cancel()
        await asyncio.gather(work, gone, return_exceptions=True)


async def _until_gone(request: _Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
