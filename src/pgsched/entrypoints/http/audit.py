"""The audit trail over HTTP: who changed what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from litestar import Request, get
from litestar.response.base import ASGIResponse

from pgsched.domain.accounts import Right
from pgsched.domain.audit import AuditEvent, AuditFilter
from pgsched.entrypoints.http import wire
from pgsched.entrypoints.http.auth import NO_STORE
from pgsched.entrypoints.http.callers import caller_of
from pgsched.entrypoints.http.description import answers, operation
from pgsched.entrypoints.http.parameters import Faults

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from pgsched.entrypoints.http.identity import Identity


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditList:
    """Some of the events, the newest first."""

    items: list[AuditEvent]
    #: how many there are in all
    total: int
    #: most items in this answer
    limit: int
    #: items left out before the first
    offset: int


def routes(identity: Identity) -> list[HTTPRouteHandler]:
    """Return the handlers."""

    @get(
        "/api/audit",
        operation_id="listAudit",
        summary="List who changed what, the newest first",
        tags=["Audit"],
        operation_class=operation("actor", "action", "noun", "noun_id", "start", "end", "limit", "offset"),
        responses=answers(AuditList, "Some of the events.", 403, 503),
    )
    async def list_audit(request: Request[Any, Any, Any]) -> ASGIResponse:
        caller_of(request).require(Right.ADMIN)
        asked = request.query_params
        with Faults() as faults:
            limit, offset = faults.limit(asked.get("limit")), faults.offset(asked.get("offset"))
            wanted = AuditFilter(
                actor=faults.text("actor", asked.get("actor")),
                action=faults.text("action", asked.get("action")),
                noun=faults.text("noun", asked.get("noun")),
                noun_id=faults.text("noun_id", asked.get("noun_id")),
                start=faults.instant("start", asked.get("start")),
                end=faults.instant("end", asked.get("end")),
            )
        found, total = await identity.audit.page(wanted, limit=limit, offset=offset)
        page = AuditList(items=list(found), total=total, limit=limit, offset=offset)
        return ASGIResponse(body=wire.encode(page), media_type=wire.JSON, headers=NO_STORE)

    return [list_audit]
