"""GET /healthz and /readyz: alive, and able to serve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from litestar import get
from litestar.response.base import ASGIResponse

from pgsched.domain.errors import SchemaMismatch
from pgsched.entrypoints.http import wire
from pgsched.entrypoints.http.description import answers

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from pgsched.application.ports.views import HealthView, Readiness

#: most stale queries named
_MOST_NAMED = 100
_FRESH = {"Cache-Control": "no-store"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Alive:
    """What a process says that answers."""

    #: always ``ok``
    status: str = "ok"


@dataclass(frozen=True, kw_only=True, slots=True)
class Ready:
    """What a process says that can serve."""

    #: always ``ok``; else the answer is a problem
    status: str = "ok"
    #: always ``ok``: it was reached just now
    database: str = "ok"
    #: version of the metadata database's schema
    schema: int
    #: workers present now
    workers: int
    #: what somebody should look at although reading works
    warnings: list[str]
    #: enabled queries whose newest result is older than their ``fresh_for``: names, or ids where not public
    stale_queries: list[str]


def routes(view: HealthView) -> list[HTTPRouteHandler]:
    """Return the handlers."""

    @get(
        "/healthz",
        operation_id="healthz",
        summary="Say that this process is alive; asks nothing of the database",
        tags=["Health"],
        responses=answers(Alive, "It is."),
    )
    async def healthz() -> ASGIResponse:
        return ASGIResponse(body=b'{"status":"ok"}', media_type=wire.JSON, headers=_FRESH)

    @get(
        "/readyz",
        operation_id="readyz",
        summary="Say whether this process can serve: database reachable, schema right",
        tags=["Health"],
        responses=answers(Ready, "It can.", 503),
    )
    async def readyz() -> ASGIResponse:
        found = await view.readiness()
        if found.schema_version != found.expected_version:
            raise SchemaMismatch.between(found.schema_version, found.expected_version)
        ready = Ready(
            schema=found.schema_version,
            workers=found.workers,
            warnings=_warnings(found),
            stale_queries=list(found.stale[:_MOST_NAMED]),
        )
        return ASGIResponse(body=wire.encode(ready), media_type=wire.JSON, headers=_FRESH)

    return [healthz, readyz]


def _warnings(found: Readiness) -> list[str]:
    stale = [f"{len(found.stale)} queries have no result as new as their fresh_for"] if found.stale else []
    if found.workers:
        return stale
    if found.waiting:
        return [*stale, f"no worker is running and {found.waiting} runs wait; start one with pgsched worker"]
    return [*stale, "no worker is running; start one with pgsched worker"]
