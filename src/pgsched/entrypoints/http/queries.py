"""GET /api/queries and one of them: what a dashboard may know, without SQL or source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from litestar import Request, get
from litestar.response.base import ASGIResponse

from pgsched.application.ports.views import QueryCard
from pgsched.entrypoints.http import wire
from pgsched.entrypoints.http.callers import caller_of
from pgsched.entrypoints.http.described_parameters import Qid
from pgsched.entrypoints.http.description import answers, operation
from pgsched.entrypoints.http.parameters import Faults, query_key
from pgsched.entrypoints.http.results import NO_CACHE

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from pgsched.application.ports.views import QueryView


def routes(view: QueryView) -> list[HTTPRouteHandler]:
    """Return the handlers."""

    @get(
        "/api/queries",
        operation_id="listQueries",
        summary="List the queries one may see, by name",
        tags=["Queries"],
        operation_class=operation("limit", "offset"),
        responses=answers(wire.QueryList, "Some of the queries.", 503),
    )
    async def list_queries(request: Request[Any, Any, Any]) -> ASGIResponse:
        asked = request.query_params
        with Faults() as faults:
            limit, offset = faults.limit(asked.get("limit")), faults.offset(asked.get("offset"))
        cards, total = await view.page(caller_of(request).audience, limit=limit, offset=offset)
        body = wire.offset_list(cards, total=total, limit=limit, offset=offset)
        return ASGIResponse(body=body, media_type=wire.JSON, headers=NO_CACHE)

    @get(
        "/api/queries/{qid:str}",
        operation_id="getQuery",
        summary="Show a query with its last and next run",
        tags=["Queries"],
        responses=answers(QueryCard, "The query.", 404, 503),
    )
    async def get_query(request: Request[Any, Any, Any], qid: Qid) -> ASGIResponse:
        card = await view.card(caller_of(request).audience, query_key(qid))
        return ASGIResponse(body=wire.encode(card), media_type=wire.JSON, headers=NO_CACHE)

    return [list_queries, get_query]
