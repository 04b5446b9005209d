"""GET of a query's ledger: each instant with what became of it, for editors and admins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from litestar import Request, get
from litestar.response.base import ASGIResponse

from pgsched.application.ledger import Ledger
from pgsched.domain.accounts import Right
from pgsched.entrypoints.http import wire
from pgsched.entrypoints.http.auth import NO_STORE
from pgsched.entrypoints.http.callers import caller_of
from pgsched.entrypoints.http.described_parameters import Qid
from pgsched.entrypoints.http.description import answers, operation
from pgsched.entrypoints.http.parameters import Faults, query_key

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from pgsched.entrypoints.http.administration import Administration


def routes(administration: Administration) -> list[HTTPRouteHandler]:
    """Return the handlers."""

    @get(
        "/api/admin/queries/{qid:str}/ledger",
        operation_id="getLedger",
        summary="List a query's instants with what became of each, from the record",
        tags=["Writing queries"],
        operation_class=operation("start", "end", "params", "limit"),
        responses=answers(Ledger, "The instants.", 403, 404, 503),
    )
    async def ledger(request: Request[Any, Any, Any], qid: Qid) -> ASGIResponse:
        caller_of(request).require(Right.EDITOR)
        asked = request.query_params
        with Faults() as faults:
            start = faults.instant("start", asked.get("start"))
            end = faults.instant("end", asked.get("end"))
            params = faults.params(asked.get("params"))
            limit = faults.limit(asked.get("limit"))
        found = await administration.explain_instants.ledger(
            query_key(qid), start, end, limit=limit, params=params
        )
        return ASGIResponse(body=wire.encode(found), media_type=wire.JSON, headers=NO_STORE)

    return [ledger]
