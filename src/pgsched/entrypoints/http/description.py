"""The OpenAPI 3.1 document: what operations say beyond their signatures, and the page that shows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from litestar.enums import MediaType
from litestar.openapi import OpenAPIConfig, ResponseSpec
from litestar.openapi.plugins import JsonRenderPlugin, OpenAPIRenderPlugin
from litestar.openapi.spec import (
    Components,
    OpenAPIMediaType,
    Operation,
    Reference,
    RequestBody,
    SecurityScheme,
)

from pgsched.entrypoints.http import problems
from pgsched.entrypoints.http.described_parameters import IF_MATCH, IF_NONE_MATCH, query_parameter

if TYPE_CHECKING:
    from litestar import Request
    from litestar.router import Router

#: every shape that a body is read as, by its name in the document
BODIES: dict[str, type[msgspec.Struct]] = {}


def operation(
    *names: str,
    tagged: bool = False,
    matched: bool = False,
    body: type[msgspec.Struct] | None = None,
    body_optional: bool = False,
) -> type[Operation]:
    """Return the class of an operation that takes these query parameters and this body.

    ``tagged`` takes If-None-Match, ``matched`` If-Match.
    """
    if body is not None:
        BODIES[body.__name__] = body
    taken = [query_parameter(name) for name in names]
    if tagged:
        taken.append(IF_NONE_MATCH)
    if matched:
        taken.append(IF_MATCH)

    @dataclass
    class Described(Operation):
        def __post_init__(self) -> None:
            self.parameters = [*(self.parameters or []), *taken]
            if body is not None:
                shape = Reference(ref=f"#/components/schemas/{body.__name__}")
                content = {MediaType.JSON.value: OpenAPIMediaType(schema=shape)}
                self.request_body = RequestBody(content=content, required=not body_optional)

    return Described


_ERRORS = {
    400: "The request is malformed (errors names the parameters at fault), or its Host is not answered.",
    401: "Nobody is logged in where somebody must be, or the token is not valid.",
    403: "The caller may not do this, or a page of another site sent it.",
    404: "There is no such thing, or the caller may not see it.",
    406: "The format is not to be had.",
    409: "It contradicts what is stored; code says how.",
    412: "It has changed since the ETag given in If-Match.",
    413: "The body is larger than 1 MiB.",
    415: "The body is not JSON.",
    429: "Too much at once, or too many failures; Retry-After says when to try again.",
    422: "The source refused the query; sqlstate and message say why.",
    502: "The source cannot be reached, or turned the role or password down.",
    504: "The query ran into its timeout.",
    503: "The metadata database, or a key, is not to be had now; Retry-After says when to try again.",
}


def answers(
    shape: type | None, description: str, *statuses: int, tagged: bool = False, good: int = 200
) -> dict[int, ResponseSpec]:
    """Describe the answers of an operation: a good one, and problems of these statuses, 400 and 401."""
    specs = {good: ResponseSpec(shape, description=description, generate_examples=False)}
    if tagged:
        specs[304] = ResponseSpec(None, description="Not changed since the ETag given.")
    for status in sorted({400, 401, *statuses}):
        specs[status] = ResponseSpec(
            problems.Problem,
            description=_ERRORS[status],
            media_type=problems.MEDIA_TYPE,
            generate_examples=False,
        )
    return specs


class _Page(OpenAPIRenderPlugin):
    """The page at /schema: the document as plain HTML, with nothing from elsewhere."""

    def __init__(self, render: Callable[[Mapping[str, Any]], bytes]) -> None:
        super().__init__(path="/", media_type=MediaType.HTML)
        self._render = render

    def render(self, _: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        """Return the page."""
        return self._render(openapi_schema)

    def receive_router(self, router: Router) -> None:
        """Take out the framework's page for unknown paths below: they are problems like any other."""
        router.routes = [route for route in router.routes if "{" not in route.path]


_SCHEMES: dict[str, SecurityScheme | Reference] = {
    "session": SecurityScheme(
        type="apiKey",
        name="sid",
        security_scheme_in="cookie",
        description="The cookie of a login. Writes from another site's pages are refused.",
    ),
    "token": SecurityScheme(
        type="http", scheme="bearer", bearer_format="pgs_…", description="An API token: it reads results."
    ),
}
#: what is public is read with nothing, the rest with either
_READING: list[dict[str, list[str]]] = [{}, {"session": []}, {"token": []}]


def configuration(version: str, render: Callable[[Mapping[str, Any]], bytes]) -> OpenAPIConfig:
    """Return how the document is made and where it is served."""
    return OpenAPIConfig(
        title="pgsched",
        version=version,
        description="Results of SQL that runs on a schedule against read-only Postgres sources.",
        path="/schema",
        components=Components(security_schemes=_SCHEMES),
        security=_READING,
        render_plugins=[_Page(render), JsonRenderPlugin(path="/openapi.json", media_type=MediaType.JSON)],
    )
