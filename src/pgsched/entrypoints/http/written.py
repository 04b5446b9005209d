"""Bodies that describe sources and queries, for the document; the use-cases judge them field by field."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Annotated, Any, get_type_hints

import msgspec
from msgspec import UNSET, Meta, UnsetType

from pgsched.domain.jobs import BOUNDS, JobSpec
from pgsched.domain.names import MAX_DESCRIPTION, MAX_TITLE, NAME
from pgsched.domain.sources import NewSource

_PASSWORD: list[tuple[str, Any, Any]] = [
    ("password", str | None | UnsetType, UNSET),
    ("enc_password_b64", str | None | UnsetType, UNSET),
    ("enc_algo", str | None | UnsetType, UNSET),
    ("key_version", int | None | UnsetType, UNSET),
]


_NAME = Annotated[str, Meta(pattern=f"^{NAME.pattern}$")]
#: what fields may be, where the domain's types say less
_BOUNDED: dict[str, Any] = {
    "name": _NAME,
    "title": Annotated[str, Meta(min_length=1, max_length=MAX_TITLE)],
    "description": Annotated[str, Meta(max_length=MAX_DESCRIPTION)],
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
    ("data_source_id", int | UnsetType, UNSET),
    ("data_source", str | UnsetType, UNSET),
    ("schedule_expr", str | None | UnsetType, UNSET),
    ("start_at", str | None | UnsetType, UNSET),
]
_APART = frozenset({"data_source_id", "schedule_expr"})

NewDataSource = msgspec.defstruct(
    "NewDataSource",
    [*_fields_of(NewSource, change=False, but=frozenset({"password"})), *_PASSWORD],
    kw_only=True,
)
DataSourceChange = msgspec.defstruct(
    "DataSourceChange",
    [*_fields_of(NewSource, change=True, but=frozenset({"password"})), *_PASSWORD],
    kw_only=True,
)
NewQuery = msgspec.defstruct(
    "NewQuery", [*_fields_of(JobSpec, change=False, but=_APART), *_SOURCE_OF_QUERY], kw_only=True
)
QueryChange = msgspec.defstruct(
    "QueryChange", [*_fields_of(JobSpec, change=True, but=_APART), *_SOURCE_OF_QUERY], kw_only=True
)
