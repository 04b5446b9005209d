"""GET of runs and their results: one question to a view, and its bytes passed on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from litestar import Request, get
from litestar.response.base import ASGIResponse

from pgsched.adapters.formats.shape import Shape
from pgsched.application.ports.views import RunFilter
from pgsched.domain.runs import RunStatus
from pgsched.entrypoints.http import wire
from pgsched.entrypoints.http.callers import caller_of
from pgsched.entrypoints.http.described_parameters import Qid, RunId
from pgsched.entrypoints.http.description import answers, operation
from pgsched.entrypoints.http.formats import shape_of
from pgsched.entrypoints.http.parameters import Faults, query_key, run_key
from pgsched.entrypoints.http.results import NO_CACHE, sent, told, wants_whole

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from pgsched.application.ports.views import RunView

_TAGS = ["Runs"]
#: parameters that say in which shape a result is told
_SHAPE = ("format", "rows", "columns", "bigint", "csv_safe")
_Request = Request[Any, Any, Any]


def routes(view: RunView) -> list[HTTPRouteHandler]:
    """Return the handlers."""

    @get(
        "/api/queries/{qid:str}/runs",
        operation_id="listRuns",
        summary="List runs of a query, newest first",
        tags=_TAGS,
        operation_class=operation(
            "start", "end", "before", "after", "status", "params", "limit", "include", "bigint"
        ),
        responses=answers(wire.RunList, "A page of runs.", 404, 503),
    )
    async def list_runs(request: _Request, qid: Qid) -> ASGIResponse:
        asked = request.query_params
        with Faults() as faults:
            wanted = RunFilter(
                start=faults.instant("start", asked.get("start")),
                end=faults.instant("end", asked.get("end")),
                status=faults.status(asked.get("status"), default=None),
                params=faults.params(asked.get("params")),
                before=faults.run_id("before", asked.get("before")),
                after=faults.run_id("after", asked.get("after")),
                limit=faults.limit(asked.get("limit")),
            )
            with_result = faults.include_result(asked.get("include"))
            bigint = faults.choice("bigint", asked.get("bigint"), ("number", "string"))
        shape = Shape(bigint_as_string=bigint == "string")
        page = await view.page(caller_of(request).audience, query_key(qid), wanted, with_result=with_result)
        pieces = wire.run_list(view, page, shape if with_result else None)
        return await sent(request, pieces, wire.JSON, NO_CACHE)

    @get(
        "/api/queries/{qid:str}/runs/latest",
        operation_id="getLatestRun",
        summary="Show the latest run with its result: the latest success, or of another status",
        tags=_TAGS,
        operation_class=operation("status", "params", *_SHAPE, tagged=True),
        responses=answers(wire.RunWithResult, "The run.", 404, 406, 503, tagged=True),
    )
    async def latest(request: _Request, qid: Qid) -> ASGIResponse:
        with Faults() as faults:
            status = faults.status(request.query_params.get("status"), default=RunStatus.SUCCESS)
            params = faults.params(request.query_params.get("params"))
            shape = shape_of(request, faults)
        audience, whole = caller_of(request).audience, wants_whole(request, shape)
        found = await view.latest(audience, query_key(qid), status=status, params=params, whole=whole)
        return await told(request, view, found, shape)

    @get(
        "/api/runs/{run_id:str}",
        operation_id="getRun",
        summary="Show one run with its result",
        tags=_TAGS,
        operation_class=operation(*_SHAPE, tagged=True),
        responses=answers(wire.RunWithResult, "The run.", 404, 406, 503, tagged=True),
    )
    async def one(request: _Request, run_id: RunId) -> ASGIResponse:
        with Faults() as faults:
            shape = shape_of(request, faults)
        audience, whole = caller_of(request).audience, wants_whole(request, shape)
        return await told(request, view, await view.one(audience, run_key(run_id), whole=whole), shape)

    @get(
        "/api/queries/{qid:str}/runs/{run_id:str}/prev",
        operation_id="getPreviousRun",
        summary="Show the next older run of the same query, of any status",
        tags=_TAGS,
        operation_class=operation("params", *_SHAPE, tagged=True),
        responses=answers(wire.RunWithResult, "The run.", 404, 406, 503, tagged=True),
    )
    async def older(request: _Request, qid: Qid, run_id: RunId) -> ASGIResponse:
        return await _neighbour(request, qid, run_id, newer=False)

    @get(
        "/api/queries/{qid:str}/runs/{run_id:str}/next",
        operation_id="getNextRun",
        summary="Show the next newer run of the same query, of any status",
        tags=_TAGS,
        operation_class=operation("params", *_SHAPE, tagged=True),
        responses=answers(wire.RunWithResult, "The run.", 404, 406, 503, tagged=True),
    )
    async def newer(request: _Request, qid: Qid, run_id: RunId) -> ASGIResponse:
        return await _neighbour(request, qid, run_id, newer=True)

    async def _neighbour(request: _Request, qid: str, run_id: str, *, newer: bool) -> ASGIResponse:
        with Faults() as faults:
            params = faults.params(request.query_params.get("params"))
            shape = shape_of(request, faults)
        audience, whole = caller_of(request).audience, wants_whole(request, shape)
        found = await view.neighbour(
            audience, query_key(qid), run_key(run_id), newer=newer, whole=whole, params=params
        )
        return await told(request, view, found, shape)

    return [list_runs, latest, one, older, newer]
