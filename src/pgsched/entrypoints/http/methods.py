"""OPTIONS: which methods a path takes, of all its handlers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING

from litestar import Response, route

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler


def routes(handlers: Iterable[HTTPRouteHandler]) -> list[HTTPRouteHandler]:
    """Return a handler for each path; they are to be registered before the others.

    The framework makes its own with the first handler of a path, and it names the methods of that one alone.
    """
    taken: defaultdict[str, set[str]] = defaultdict(set)
    for handler in handlers:
        for path in handler.paths:
            taken[path].update(handler.http_methods)
    return [_options(path, {*methods, "OPTIONS"}) for path, methods in taken.items()]


def _options(path: str, methods: set[str]) -> HTTPRouteHandler:
    @route(path, http_method=["OPTIONS"], status_code=204, include_in_schema=False)
    async def options() -> Response[None]:
        return Response(None, status_code=204, headers={"Allow": ", ".join(sorted(methods))})

    return options
