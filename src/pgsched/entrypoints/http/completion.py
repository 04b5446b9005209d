"""The OpenAPI document finished: what is said of every operation alike, and an example of everything."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import TYPE_CHECKING, Any, cast

import msgspec
from litestar.enums import MediaType
from litestar.openapi.spec import (
    Example,
    OpenAPI,
    OpenAPIHeader,
    OpenAPIMediaType,
    OpenAPIResponse,
    OpenAPIType,
    Operation,
    Parameter,
    Reference,
    RequestBody,
    Schema,
)

from pgsched.adapters.formats.shape import MEDIA_TYPES, Format
from pgsched.entrypoints.http import examples, problems
from pgsched.entrypoints.http.described_parameters import INT64, PLACES
from pgsched.entrypoints.http.description import BODIES
from pgsched.entrypoints.http.format_answers import tell_formats

if TYPE_CHECKING:
    from litestar import Litestar

#: shapes that are only ever answered: every property is there
_WHOLE = (
    *("Run", "RunWithResult", "RunList", "QueryCard", "QueryList", "TableDocument", "Ready", "Alive"),
    *("Account", "UserList", "SessionShown", "SessionList"),
    *("DataSourceShown", "DataSourceList", "SourceName", "QueryShown", "AdminQueryList", "DryRunFound"),
    *("GrantsShown", "UserGrant", "RoleGrant", "TokenGrant"),
    *("Ledger", "Entry"),
    *("ApiToken", "TokenMade", "TokenList", "AuditEvent", "AuditList"),
)
_TEXT = Schema(type=OpenAPIType.STRING)
_SECONDS = Schema(type=OpenAPIType.INTEGER, minimum=1)
#: headers of answers, and whether they are always there where they are named
_HEADERS = {
    "X-Request-Id": (_TEXT, "Of the request; it stands in the access log too.", True),
    "Retry-After": (_SECONDS, "Seconds after which asking again may help.", True),
    "WWW-Authenticate": (_TEXT, "The challenge.", True),
    "Location": (_TEXT, "Path of what was made.", True),
    "Set-Cookie": (_TEXT, "The session's cookie, sid.", True),
    "ETag": (_TEXT, "Of this version; for If-Match.", True),
    "Pgsched-Age": (
        Schema(type=OpenAPIType.INTEGER, minimum=0),
        "Seconds since the end of the run, with the latest success.",
        False,
    ),
    "Pgsched-Stale": (
        Schema(type=OpenAPIType.STRING, enum=["0", "1"]),
        "1 when the latest success is older than the query's fresh_for.",
        False,
    ),
}
_OF_STATUS = {401: ("WWW-Authenticate",), 429: ("Retry-After",), 503: ("Retry-After",)}
#: headers of good answers, by operation
_OF_OPERATION = {
    **dict.fromkeys(("logIn", "logOut"), ("Set-Cookie",)),
    **dict.fromkeys(("runQuery", "cancelRun"), ("Location",)),
    **dict.fromkeys(("addUser", "addDataSource", "addQuery"), ("Location", "ETag")),
    **dict.fromkeys(("getUser", "changeUser", "getDataSource", "changeDataSource"), ("ETag",)),
    **dict.fromkeys(("getAdminQuery", "changeQuery"), ("ETag",)),
    "getLatestRun": ("Pgsched-Age", "Pgsched-Stale"),
}


class _Null(Enum):
    """A null that the framework writes: it leaves out what is None."""

    NULL = None


def complete(app: Litestar) -> OpenAPI:
    """Finish the document of an application."""
    document = app.openapi_schema
    schemas = document.components.schemas
    if schemas is not None:
        _, shapes = msgspec.json.schema_components(
            BODIES.values(), ref_template="#/components/schemas/{name}"
        )
        for name, shape in shapes.items():
            # a mapping is written as it is
            schemas[name] = cast("Schema", {**shape, "additionalProperties": False})
        for name, schema in schemas.items():
            if name in _WHOLE and isinstance(schema, Schema) and schema.properties:
                schema.required = list(schema.properties)
            if isinstance(schema, Schema):
                _tell_integers(schema)
    tell_formats(document)
    document.components.headers = {
        name: OpenAPIHeader(schema=schema, description=description, required=always)
        for name, (schema, description, always) in _HEADERS.items()
    }
    for operation in _operations(document):
        _tell_login(operation)
        _tell_places(operation)
        _tell_headers(operation)
        _show_body(operation)
        _show_answers(operation)
    return document


def _tell_integers(schema: Schema) -> None:
    """Say of every integer in an answer that it has 64 bits."""
    if schema.type is OpenAPIType.INTEGER and schema.format is None:
        schema.format = INT64
    inner = [*(schema.properties or {}).values(), *(schema.one_of or ()), schema.items]
    for each in inner:
        if isinstance(each, Schema):
            _tell_integers(each)


def _operations(document: OpenAPI) -> Iterator[Operation]:
    for item in (document.paths or {}).values():
        for operation in (item.get, item.post, item.put, item.patch, item.delete):
            if operation is not None:
                yield operation


def _answers(operation: Operation) -> Iterator[tuple[int, OpenAPIResponse]]:
    for status, answer in (operation.responses or {}).items():
        if isinstance(answer, OpenAPIResponse):
            yield int(status), answer


def _tell_login(operation: Operation) -> None:
    # what a caller can be refused for who he is takes a login; only logging in itself takes nothing
    if "403" in (operation.responses or {}):
        operation.security = [{}] if operation.operation_id == "logIn" else [{"session": []}]


def _tell_places(operation: Operation) -> None:
    for parameter in operation.parameters or []:
        if isinstance(parameter, Parameter) and parameter.param_in == "path":
            parameter.schema = PLACES[parameter.name]
            parameter.examples = {"example": Example(value=examples.PLACES[parameter.name])}


def _tell_headers(operation: Operation) -> None:
    for status, answer in _answers(operation):
        told = ["X-Request-Id", *_OF_STATUS.get(status, ())]
        if status < 400:
            told += _OF_OPERATION.get(operation.operation_id or "", ())
        answer.headers = {
            **(answer.headers or {}),
            **{name: Reference(ref=f"#/components/headers/{name}") for name in told},
        }


def _show_body(operation: Operation) -> None:
    if isinstance(operation.request_body, RequestBody):
        for content in operation.request_body.content.values():
            content.examples = {"example": _example(examples.BODIES[_name_of(content.schema)])}


def _show_answers(operation: Operation) -> None:
    for status, answer in _answers(operation):
        for media_type, content in (answer.content or {}).items():
            if media_type == problems.MEDIA_TYPE:
                content.examples = {"example": _example(examples.problem_of(status))}
            else:
                content.examples = _shown(media_type, content)


def _shown(media_type: str, content: OpenAPIMediaType) -> dict[str, Example | Reference] | None:
    if media_type == MEDIA_TYPES[Format.CSV]:
        return {"example": _example(examples.CSV)}
    if media_type == MEDIA_TYPES[Format.NDJSON]:
        return {"example": _example(examples.NDJSON)}
    schema = content.schema
    if media_type != MediaType.JSON.value or schema is None:
        return None
    if isinstance(schema, Schema) and schema.any_of:
        return {
            "table": _example(examples.ANSWERS[_name_of(schema.any_of[0])]),
            "records": _example(examples.RECORDS),
            "columns": _example(examples.COLUMNS),
        }
    if isinstance(schema, Schema) and schema.type is OpenAPIType.ARRAY:
        return {"example": _example(examples.SOURCE_NAMES)}
    return {"example": _example(examples.ANSWERS[_name_of(schema)])}


def _name_of(schema: object) -> str:
    assert isinstance(schema, Reference), schema
    return schema.ref.rpartition("/")[2]


def _example(value: object) -> Example:
    return Example(value=_with_nulls(value))


def _with_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _with_nulls(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_with_nulls(inner) for inner in value]
    return _Null.NULL if value is None else value
