"""What the OpenAPI document says of answers that come in several formats."""

from __future__ import annotations

from litestar.openapi.spec import (
    OpenAPI,
    OpenAPIHeader,
    OpenAPIMediaType,
    OpenAPIResponse,
    OpenAPIType,
    Operation,
    Schema,
)

from pgsched.adapters.formats.shape import MEDIA_TYPES, Format

_ROW = Schema(type=OpenAPIType.OBJECT)
_RECORDS = Schema(title="Records", type=OpenAPIType.ARRAY, items=_ROW, description="With format=records.")
_COLUMNS = Schema(
    title="Columns",
    type=OpenAPIType.OBJECT,
    additional_properties=Schema(type=OpenAPIType.ARRAY, items=Schema()),
    description="With format=columns.",
)
#: what is no JSON: text, or bytes
_OTHERS = {
    Format.CSV: Schema(type=OpenAPIType.STRING),
    Format.NDJSON: Schema(type=OpenAPIType.STRING),
    Format.PARQUET: Schema(),
    Format.ARROW: Schema(),
}
_TEXT = Schema(type=OpenAPIType.STRING)
_HEADERS = {
    "ETag": OpenAPIHeader(schema=_TEXT, description="Of a finished run; for If-None-Match."),
    "X-Total-Count": OpenAPIHeader(
        schema=Schema(type=OpenAPIType.INTEGER), description="Rows that the result has for the reader."
    ),
    "Content-Disposition": OpenAPIHeader(schema=_TEXT, description="A file name, of CSV, Parquet and Arrow."),
}


def tell_formats(document: OpenAPI) -> None:
    """Add the formats beside JSON, and the headers, to each operation that takes ``format``."""
    for item in (document.paths or {}).values():
        if item.get is not None and _takes_format(item.get):
            answer = (item.get.responses or {}).get("200")
            if isinstance(answer, OpenAPIResponse):
                _complete(answer)


def _takes_format(operation: Operation) -> bool:
    return any(getattr(parameter, "name", None) == "format" for parameter in operation.parameters or [])


def _complete(answer: OpenAPIResponse) -> None:
    content = answer.content or {}
    whole = content["application/json"].schema
    if whole is None or (isinstance(whole, Schema) and whole.any_of):
        return  # told before
    shapes = [whole, _RECORDS, _COLUMNS]
    content["application/json"] = OpenAPIMediaType(schema=Schema(any_of=shapes))
    for format_, schema in _OTHERS.items():
        content[MEDIA_TYPES[format_]] = OpenAPIMediaType(schema=schema)
    answer.content = content
    answer.headers = {**(answer.headers or {}), **_HEADERS}
