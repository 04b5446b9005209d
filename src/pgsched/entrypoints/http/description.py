"""The OpenAPI 3.1 document: what operations say beyond their signatures, and the page that shows it.

Handlers read their query parameters strictly by themselves (``parameters``), so what the document says of
them stands here, exactly, instead of being guessed from types.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, cast

import msgspec
from litestar.enums import MediaType
from litestar.openapi import OpenAPIConfig, ResponseSpec
from litestar.openapi.plugins import JsonRenderPlugin, OpenAPIRenderPlugin
from litestar.openapi.spec import (
    Components,
    OpenAPI,
    OpenAPIFormat,
    OpenAPIMediaType,
    OpenAPIType,
    Operation,
    Parameter,
    Reference,
    RequestBody,
    Schema,
    SecurityScheme,
)
from litestar.params import Parameter as Described

from pgsched.adapters.formats.shape import Format
from pgsched.domain.runs import RunStatus
from pgsched.entrypoints.http import problems
from pgsched.entrypoints.http.format_answers import tell_formats
from pgsched.entrypoints.http.parameters import DEFAULT_ITEMS, MOST_ITEMS

if TYPE_CHECKING:
    from litestar import Litestar, Request
    from litestar.router import Router

Qid = Annotated[str, Described(description="The query's id or name.")]
SourceKey = Annotated[str, Described(description="The source's id or name.")]
Uid = Annotated[str, Described(description="The account's id.")]
TokenId = Annotated[str, Described(description="The token's id.")]
SessionId = Annotated[str, Described(description="The session's id, as the list has it.")]
RunId = Annotated[str, Described(description="The run's id.")]

#: shapes that are only ever answered: every property is there
_WHOLE = (
    *("Run", "RunWithResult", "RunList", "QueryCard", "QueryList", "TableDocument", "Ready", "Alive"),
    *("Account", "UserList", "SessionShown", "SessionList"),
    *("DataSourceShown", "DataSourceList", "SourceName", "QueryShown", "AdminQueryList", "DryRunFound"),
    *("GrantsShown", "UserGrant", "RoleGrant", "TokenGrant"),
    *("Ledger", "Entry"),
    *("ApiToken", "TokenMade", "TokenList", "AuditEvent", "AuditList"),
)

_INSTANT = Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.DATE_TIME)
_ID = Schema(type=OpenAPIType.INTEGER)
_TEXT = Schema(type=OpenAPIType.STRING)
_FLAG = Schema(type=OpenAPIType.STRING, enum=["0", "1", "false", "true"])
_STATUSES = ["any", *(status.value for status in RunStatus)]

_QUERY = {
    "limit": (
        Schema(type=OpenAPIType.INTEGER, minimum=1, maximum=MOST_ITEMS, default=DEFAULT_ITEMS),
        "Most items in the answer.",
    ),
    "offset": (Schema(type=OpenAPIType.INTEGER, minimum=0, default=0), "Items left out before the first."),
    "start": (
        _INSTANT,
        "Only runs with scheduled_at, or events, or instants, at or after this RFC 3339 time.",
    ),
    "end": (_INSTANT, "Only runs with scheduled_at, or events, or instants, before this RFC 3339 time."),
    "actor": (_TEXT, "Only what this one did: an e-mail address, or cli:NAME."),
    "action": (_TEXT, "Only this, as user.update."),
    "noun": (_TEXT, "Only what was done to this kind of thing: user, session, token, source, query, …"),
    "noun_id": (_TEXT, "Only what was done to the thing of this id."),
    "q": (_TEXT, "Only queries with this text in name, title or description, in any letter case."),
    "enabled": (_FLAG, "Only queries that are enabled, or disabled."),
    "force": (_FLAG, "With 1 all that hangs on it is deleted too; what runs is cancelled."),
    "before": (_ID, "A run's id: the page of runs just older than it."),
    "after": (_ID, "A run's id: the page of runs just newer than it."),
    "status": (Schema(type=OpenAPIType.STRING, enum=_STATUSES), "Only runs of this status."),
    "params": (_TEXT, "Only runs with the parameter set of this name."),
    "include": (
        Schema(type=OpenAPIType.STRING, enum=["result"]),
        "With result each run has its result too.",
    ),
    "format": (
        Schema(type=OpenAPIType.STRING, enum=list(Format), default=Format.TABLE.value),
        "How the result is written; all but table answer the rows alone. Wins over the Accept header.",
    ),
    "rows": (
        Schema(type=OpenAPIType.STRING, pattern=r"^[0-9]+,[0-9]+$", examples=["0,1000"]),
        "offset,limit: a page of the rows; X-Total-Count says how many there are.",
    ),
    "columns": (
        Schema(type=OpenAPIType.STRING, examples=["region,amount"]),
        "Names of columns joined by commas, in the order wanted; one with a comma in it is quoted as in CSV.",
    ),
    "bigint": (
        Schema(type=OpenAPIType.STRING, enum=["number", "string"], default="number"),
        "With string, integers beyond 2^53 are strings in every JSON format.",
    ),
    "csv_safe": (
        Schema(type=OpenAPIType.STRING, enum=["0", "1"], default="0"),
        "With 1, texts that a spreadsheet could take for a formula get an apostrophe before them in CSV.",
    ),
}

#: the parameters that any operation reads; all others change no answer
KNOWN_PARAMETERS = frozenset(_QUERY)


def _header(name: str, description: str) -> Parameter:
    return Parameter(
        name=name,
        param_in="header",
        description=description,
        required=False,
        schema=Schema(type=OpenAPIType.STRING),
    )


_IF_NONE_MATCH = _header("If-None-Match", "An ETag from before: 304 when nothing changed.")


_IF_MATCH = _header(
    "If-Match", "The ETag of what was read: 412 when it has changed since. Without it the last wins."
)

#: every shape that a body is read as, by its name in the document
_BODIES: dict[str, type[msgspec.Struct]] = {}


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
        _BODIES[body.__name__] = body
    taken = [
        Parameter(
            name=name, param_in="query", required=False, schema=_QUERY[name][0], description=_QUERY[name][1]
        )
        for name in names
    ]
    if tagged:
        taken.append(_IF_NONE_MATCH)
    if matched:
        taken.append(_IF_MATCH)

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


def complete(app: Litestar) -> OpenAPI:
    """Finish the document of an application: what is only ever answered has all its properties."""
    document = app.openapi_schema
    if document.components.schemas is not None:
        _, shapes = msgspec.json.schema_components(
            _BODIES.values(), ref_template="#/components/schemas/{name}"
        )
        for name, shape in shapes.items():
            # a mapping is written as it is
            document.components.schemas[name] = cast("Schema", {**shape, "additionalProperties": False})
    for name, schema in (document.components.schemas or {}).items():
        if name in _WHOLE and isinstance(schema, Schema) and schema.properties:
            schema.required = list(schema.properties)
    tell_formats(document)
    for item in (document.paths or {}).values():
        for operation in (item.get, item.post, item.put, item.patch, item.delete):
            # what a caller can be refused for who he is takes a login; only logging in itself takes nothing
            if operation is not None and "403" in (operation.responses or {}):
                operation.security = [{}] if operation.operation_id == "logIn" else [{"session": []}]
    return document
