"""GET /: the public queries with their last runs and newest rows, as a plain page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from litestar import Request, get
from litestar.response.base import ASGIResponse

from pgsched.domain.errors import DatabaseFault
from pgsched.entrypoints.http.callers import caller_of
from pgsched.entrypoints.http.parameters import Faults
from pgsched.entrypoints.http.preview import Previews
from pgsched.entrypoints.http.problems import RETRY_AFTER_S
from pgsched.entrypoints.http.results import NO_CACHE

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from pgsched.application.ports.views import QueryView, RunView
    from pgsched.entrypoints.http.pages import Pages

#: queries on one page
PAGE = 50

_HTML = "text/html"


def routes(query_view: QueryView, run_view: RunView, pages: Pages) -> list[HTTPRouteHandler]:
    """Return the handlers."""
    previews = Previews(run_view)

    @get("/", include_in_schema=False)
    async def front_page(request: Request[Any, Any, Any]) -> ASGIResponse:
        with Faults() as faults:
            offset = faults.offset(request.query_params.get("offset"))
        audience = caller_of(request).audience
        try:
            cards, total = await query_view.page(audience, limit=PAGE, offset=offset)
            # one after the other: a page must not take every connection of the pool
            shown = [(card, await previews.of(audience, card)) for card in cards]
        except DatabaseFault as fault:
            if _HTML not in request.headers.get("accept", ""):
                raise
            headers = {"Cache-Control": "no-store", "Retry-After": str(RETRY_AFTER_S)}
            return ASGIResponse(
                body=pages.fault(fault.detail), status_code=503, media_type=_HTML, headers=headers
            )
        body = pages.front(shown, total=total, offset=offset, page=PAGE)
        return ASGIResponse(body=body, media_type=_HTML, headers=NO_CACHE)

    @get("/style.css", include_in_schema=False)
    async def style() -> ASGIResponse:
        headers = {"Cache-Control": "public, max-age=3600"}
        return ASGIResponse(body=pages.style, media_type="text/css", headers=headers)

    return [front_page, style]
