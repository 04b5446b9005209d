"""GET of runs and their results: one question to a view, and its bytes passed on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from litestar import Request, get
from litestar.response.base import ASGIResponse

from pgsched.application.ports.views import RunFilter, StoredRun
from pgsched.domain.runs import RunStatus
from pgsched.entrypoints.http import conditional, formats, wire
from pgsched.entrypoints.http.callers import caller_of
from pgsched.entrypoints.http.description import Qid, RunId, answers, operation
from pgsched.entrypoints.http.parameters import Faults, query_key, run_key

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from pgsched.application.ports.views import RunView

#: what is read may be kept by the reader alone, and asked about before each use: restrictions act at once
NO_CACHE = {"Cache-Control": "private, no-cache"}

_TAGS = ["Runs"]
_Request = Request[Any, Any, Any]


def routes(view: RunView) -> list[HTTPRouteHandler]:
    """Return the handlers."""

    @get(
        "/api/queries/{qid:str}/runs",
        operation_id="listRuns",
        summary="List runs of a query, newest first",
        tags=_TAGS,
        operation_class=operation("start", "end", "before", "after", "status", "limit", "include"),
        responses=answers(wire.RunList, "A page of runs.", 404, 503),
    )
    async def list_runs(request: _Request, qid: Qid) -> ASGIResponse:
        asked = request.query_params
        with Faults() as faults:
            wanted = RunFilter(
                start=faults.instant("start", asked.get("start")),
                end=faults.instant("end", asked.get("end")),
                status=faults.status(asked.get("status"), default=None),
                before=faults.run_id("before", asked.get("before")),
                after=faults.run_id("after", asked.get("after")),
                limit=faults.limit(asked.get("limit")),
            )
            with_result = faults.include_result(asked.get("include"))
        page = await view.page(caller_of(request).audience, query_key(qid), wanted, with_result=with_result)
        body = wire.run_list(
            page.items, next_before=page.next_before, prev_after=page.prev_after, with_result=with_result
        )
        return ASGIResponse(body=body, media_type=wire.JSON, headers=NO_CACHE)

    @get(
        "/api/queries/{qid:str}/runs/latest",
        operation_id="getLatestRun",
        summary="Show the latest run with its result: the latest success, or of another status",
        tags=_TAGS,
        operation_class=operation("status", "format", tagged=True),
        responses=answers(wire.RunWithResult, "The run.", 404, 406, 503, tagged=True),
    )
    async def latest(request: _Request, qid: Qid) -> ASGIResponse:
        format_ = _format(request)
        with Faults() as faults:
            status = faults.status(request.query_params.get("status"), default=RunStatus.SUCCESS)
        return await _told(
            request, await view.latest(caller_of(request).audience, query_key(qid), status=status), format_
        )

    @get(
        "/api/runs/{run_id:str}",
        operation_id="getRun",
        summary="Show one run with its result",
        tags=_TAGS,
        operation_class=operation("format", tagged=True),
        responses=answers(wire.RunWithResult, "The run.", 404, 406, 503, tagged=True),
    )
    async def one(request: _Request, run_id: RunId) -> ASGIResponse:
        format_ = _format(request)
        return await _told(request, await view.one(caller_of(request).audience, run_key(run_id)), format_)

    @get(
        "/api/queries/{qid:str}/runs/{run_id:str}/prev",
        operation_id="getPreviousRun",
        summary="Show the next older run of the same query, of any status",
        tags=_TAGS,
        operation_class=operation("format", tagged=True),
        responses=answers(wire.RunWithResult, "The run.", 404, 406, 503, tagged=True),
    )
    async def older(request: _Request, qid: Qid, run_id: RunId) -> ASGIResponse:
        format_ = _format(request)
        found = await view.neighbour(
            caller_of(request).audience, query_key(qid), run_key(run_id), newer=False
        )
        return await _told(request, found, format_)

    @get(
        "/api/queries/{qid:str}/runs/{run_id:str}/next",
        operation_id="getNextRun",
        summary="Show the next newer run of the same query, of any status",
        tags=_TAGS,
        operation_class=operation("format", tagged=True),
        responses=answers(wire.RunWithResult, "The run.", 404, 406, 503, tagged=True),
    )
    async def newer(request: _Request, qid: Qid, run_id: RunId) -> ASGIResponse:
        format_ = _format(request)
        found = await view.neighbour(caller_of(request).audience, query_key(qid), run_key(run_id), newer=True)
        return await _told(request, found, format_)

    async def _told(request: _Request, stored: StoredRun, format_: formats.Format) -> ASGIResponse:
        headers = {**NO_CACHE, "Vary": "Accept"}
        tag = conditional.entity_tag(stored, format_, caller_of(request).audience)
        if tag is not None:
            headers["ETag"] = tag
            known = request.headers.get("if-none-match")
            if known is not None and conditional.is_known(tag, known):
                return ASGIResponse(status_code=304, headers=headers)
        body = await formats.rendered(stored, format_)
        return ASGIResponse(body=body, media_type=formats.MEDIA_TYPES[format_], headers=headers)

    return [list_runs, latest, one, older, newer]


def _format(request: _Request) -> formats.Format:
    return formats.chosen(request.query_params.get("format"), request.headers.get("accept"))
