"""GET /metrics: Prometheus's text format."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Protocol

from litestar import get
from litestar.response.base import ASGIResponse

from pgsched.domain.errors import DatabaseFault
from pgsched.entrypoints.http.description import answers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from litestar.handlers import HTTPRouteHandler

    from pgsched.application.ports.upkeep import Figures, FiguresView
    from pgsched.domain.exposure import Exposed

#: seconds for which one look at the database serves: whoever may read this may ask as often as they like
_FRESH_S = 1.0
#: queries with series of their own
_QUERIES = 1000
#: the framework adds the charset
_TYPE = "text/plain; version=0.0.4"


class Meter(Protocol):
    """Counts what this process does, and writes the page."""

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request; ``route`` is a template, never a path."""
        ...

    def looked_up(self, cache: str, *, hit: bool) -> None:
        """Count one look into a cache."""
        ...

    def page(self, figures: Figures | None, exposed: Sequence[Exposed] = ()) -> bytes:
        """Write everything; ``figures`` are None while the metadata database is away."""
        ...


class NotCounting:
    """Counts nothing: where nobody will ask."""

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Do nothing."""

    def looked_up(self, cache: str, *, hit: bool) -> None:
        """Do nothing."""

    def page(self, figures: Figures | None, exposed: Sequence[Exposed] = ()) -> bytes:  # noqa: ARG002 (the port's)
        """Return an empty page."""
        return b""


class _Glance:
    """The last look at the database, shared by all that ask within a second."""

    def __init__(self, view: FiguresView, *, expose: bool) -> None:
        self._view = view
        self._expose = expose
        self._lock = asyncio.Lock()
        self._at = float("-inf")
        self._found: Figures | None = None
        self._exposed: Sequence[Exposed] = ()

    async def look(self) -> tuple[Figures | None, Sequence[Exposed]]:
        async with self._lock:
            if time.monotonic() - self._at >= _FRESH_S:
                try:
                    self._exposed = await self._view.exposed() if self._expose else ()
                    self._found = await self._view.figures(queries=_QUERIES)
                except DatabaseFault:
                    self._found, self._exposed = None, ()
                self._at = time.monotonic()
            return self._found, self._exposed


def routes(view: FiguresView, meter: Meter, *, public_read: bool) -> list[HTTPRouteHandler]:
    """Return the handler; results are told only where everyone may read what is public."""
    glance = _Glance(view, expose=public_read)

    @get(
        "/metrics",
        operation_id="metrics",
        summary="Tell how things are going, for Prometheus; answers without the metadata database too",
        tags=["Health"],
        media_type="text/plain",
        responses=answers(None, "Metrics in the text format; labels carry ids."),
    )
    async def metrics() -> ASGIResponse:
        body = meter.page(*await glance.look())
        return ASGIResponse(body=body, media_type=_TYPE, headers={"Cache-Control": "no-store"})

    return [metrics]
