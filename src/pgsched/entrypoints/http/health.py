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
        ready = Ready(schema=found.schema_version, workers=found.workers, warnings=_warnings(found))
        return ASGIResponse(body=wire.encode(ready), media_type=wire.JSON, headers=_FRESH)

    return [healthz, readyz]


def _warnings(found: Readiness) -> list[str]:
    if found.workers:
        return []
    if found.waiting:
        return [f"no worker is running and {found.waiting} runs wait; start one with pgsched worker"]
    return ["no worker is running; start one with pgsched worker"]
