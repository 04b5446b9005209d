"""Bodies that describe sources and queries, for the document; the use-cases judge them field by field."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Annotated, Any, get_type_hints

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pgsched.domain.jobs import BOUNDS, JobSpec
from pgsched.domain.names import MAX_DESCRIPTION, MAX_TITLE, NAME
from pgsched.domain.sources import NewSource
from pgsched.entrypoints.http.bodies import Secretive

_NAME = Annotated[str, Meta(pattern=f"^{NAME.pattern}$")]
_ID = Annotated[int, Meta(ge=1)]
#: something visible, and no control characters
_LINE = r"^[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*$"
#: names in a Postgres server
_IDENTIFIER = Annotated[str, Meta(min_length=1, max_length=63, pattern=_LINE)]
#: for the document; months and days can be 0 but not all of it, which the field's fault says
_DURATION = Annotated[
    str,
    Meta(
        description="ISO 8601 duration such as P1D, or whole seconds.",
        pattern=r"^(P[0-9YMWDTHS]{2,40}|[0-9]{1,20})$",
    ),
]
_INSTANT = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
_PASSWORD: list[tuple[str, Any, Any]] = [
    ("password", str | None | UnsetType, UNSET),
    ("enc_password_b64", str | None | UnsetType, UNSET),
    ("enc_algo", str | None | UnsetType, UNSET),
    ("key_version", _ID | None | UnsetType, UNSET),
]

#: what fields may be, where the domain's types say less
_BOUNDED: dict[str, Any] = {
    "name": _NAME,
    "title": Annotated[str, Meta(min_length=1, max_length=MAX_TITLE, pattern=_LINE)],
    "sql_text": Annotated[str, Meta(min_length=1, description="One statement that only reads.")],
    "timezone": Annotated[str, Meta(description="IANA name of a zone, as Europe/Berlin.")],
    "misfire_window": _DURATION,
    "fresh_for": _DURATION,
    "description": Annotated[str, Meta(max_length=MAX_DESCRIPTION)],
    "host": Annotated[
        str,
        Meta(description="One host name or IP address.", max_length=254, pattern="^[A-Za-z0-9._:-]+$"),
    ],
    "dbname": _IDENTIFIER,
    "username": _IDENTIFIER,
    "max_cost": Annotated[int, Meta(ge=1, le=10**15)],
    "port": Annotated[int, Meta(ge=1, le=65535)],
    "max_concurrency": Annotated[int, Meta(ge=1, le=1000)],
    **{name: Annotated[int, Meta(ge=least, le=most)] for name, least, most, _ in BOUNDS},
}


def _names(kind: Any) -> set[str]:
    return {field.name for field in fields(kind)}


def _fields_of(kind: type, *, change: bool, but: frozenset[str] = frozenset()) -> list[Any]:
    """Return the fields of a domain's dataclass as those of a body; in a change all may be absent."""
    hints = get_type_hints(kind) | {name: hint for name, hint in _BOUNDED.items() if name in _names(kind)}
    described: list[Any] = []
    for field in fields(kind):
        if field.name in but:
            continue
        has_default = field.default is not MISSING or field.default_factory is not MISSING
        if has_default:
            described.append((field.name, hints[field.name] | None | UnsetType, UNSET))
        elif change:
            described.append((field.name, hints[field.name] | UnsetType, UNSET))
        else:
            described.append((field.name, hints[field.name]))
    return described


_SOURCE_OF_QUERY: list[Any] = [
    ("data_source_id", _ID | UnsetType, UNSET),
    ("data_source", _NAME | UnsetType, UNSET),
    ("schedule_expr", str | None | UnsetType, UNSET),
    ("start_at", _INSTANT | None | UnsetType, UNSET),
]
_APART = frozenset({"data_source_id", "schedule_expr"})

NewDataSource = msgspec.defstruct(
    "NewDataSource",
    [*_fields_of(NewSource, change=False, but=frozenset({"password"})), *_PASSWORD],
    bases=(Secretive,),
    kw_only=True,
)
DataSourceChange = msgspec.defstruct(
    "DataSourceChange",
    [*_fields_of(NewSource, change=True, but=frozenset({"password"})), *_PASSWORD],
    bases=(Secretive,),
    kw_only=True,
)
NewQuery = msgspec.defstruct(
    "NewQuery", [*_fields_of(JobSpec, change=False, but=_APART), *_SOURCE_OF_QUERY], kw_only=True
)
QueryChange = msgspec.defstruct(
    "QueryChange", [*_fields_of(JobSpec, change=True, but=_APART), *_SOURCE_OF_QUERY], kw_only=True
)
