"""The server-rendered pages: templates filled in, everything escaped, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined

if TYPE_CHECKING:
    from pgsched.application.ports.views import QueryCard
    from pgsched.entrypoints.http.preview import Preview

#: seconds between two loads of the front page
REFRESH_S = 10


class Pages:
    """Renders pages; the templates are read once."""

    def __init__(self, version: str) -> None:
        environment = Environment(
            loader=PackageLoader("pgsched.entrypoints.http"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.globals.update(version=version, refresh_s=REFRESH_S)
        environment.filters.update(instant=instant, duration=duration, shape=shape)
        assert environment.loader is not None
        #: the style sheet of all pages
        self.style = environment.loader.get_source(environment, "style.css")[0].encode()
        self._front = environment.get_template("front.html")
        self._fault = environment.get_template("fault.html")
        self._schema = environment.get_template("schema.html")

    def front(
        self, shown: Sequence[tuple[QueryCard, Preview | None]], *, total: int, offset: int, page: int
    ) -> bytes:
        """Return the page of queries with their newest rows."""
        return self._front.render(shown=shown, total=total, offset=offset, page=page).encode()

    def fault(self, detail: str) -> bytes:
        """Return the page that says why there is nothing to show at the moment."""
        return self._fault.render(detail=detail).encode()

    def schema(self, document: Mapping[str, Any]) -> bytes:
        """Return the page of an OpenAPI document's operations."""
        operations = [
            {"path": path, "method": method, **operation}
            for path, item in document["paths"].items()
            for method, operation in item.items()
        ]
        return self._schema.render(
            info=document["info"], operations=operations, schemas=document["components"]["schemas"]
        ).encode()


def instant(value: datetime) -> str:
    """Write a time for people, in UTC."""
    return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def duration(milliseconds: int) -> str:
    """Write a duration for people."""
    if milliseconds < 1000:
        return f"{milliseconds} ms"
    if milliseconds < 60_000:
        return f"{milliseconds / 1000:.1f} s"
    return f"{milliseconds // 60_000} min {milliseconds % 60_000 // 1000} s"


def shape(schema: Mapping[str, Any]) -> str:
    """Write a JSON schema in a few words."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if choices := schema.get("oneOf") or schema.get("anyOf"):
        return " | ".join(map(shape, choices))
    kind = schema.get("type", "any")
    if isinstance(kind, list):
        return " | ".join(kind)
    if kind == "array":
        return f"{shape(schema.get('items', {}))}[]"
    return str(schema.get("format") or kind)
