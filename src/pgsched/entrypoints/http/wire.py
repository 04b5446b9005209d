"""What goes over the wire: bodies made of encoded pieces, and their shapes for the OpenAPI document.

A domain ``Run`` and a ``QueryCard`` are encoded as they are. Stored results are spliced in as the bytes they
were stored as: nothing here parses one.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from pgsched.adapters.formats.shape import Shape
from pgsched.adapters.formats.writing import written
from pgsched.application.ports.views import QueryCard, RunPage, RunView
from pgsched.domain.runs import Run

JSON = "application/json"

# Writes UTC times as RFC 3339 with Z; microseconds only where there are any.
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, kw_only=True, slots=True)
class TableDocument:
    """A result as pandas writes it with ``orient="table", index=False``."""

    #: the Table Schema: ``fields`` in column order, each with its Postgres type
    schema: dict[str, Any]
    #: an object for each row
    data: list[dict[str, Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class RunWithResult(Run):
    """A run with its result, null when it has none."""

    #: the stored document
    result: TableDocument | None


@dataclass(frozen=True, kw_only=True, slots=True)
class RunList:
    """A page of runs, newest first."""

    #: with ``include=result`` each has a ``result`` too
    items: list[Run]
    #: pass it as ``before`` for older runs; null when there are none
    next_before: int | None
    #: pass it as ``after`` for newer runs; null when there are none
    prev_after: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class QueryList:
    """Some of the queries, by name."""

    items: list[QueryCard]
    #: how many there are in all
    total: int
    #: most items in this answer
    limit: int
    #: items left out before the first
    offset: int


def encode(value: object) -> bytes:
    """Encode a domain value, or a plain structure of them, as JSON."""
    return _encode(value)


async def run_list(view: RunView, page: RunPage, shape: Shape | None) -> AsyncGenerator[bytes]:
    """Encode a page of runs, a run at a time, with their results in a shape of ``table`` if there is one."""
    yield b'{"items":['
    for number, item in enumerate(page.items):
        yield b"," if number else b""
        if shape is not None:
            async for piece in written(view, item, shape):
                yield piece
        else:
            yield _encode(item.run)
    yield b'],"next_before":%b,"prev_after":%b}' % (_encode(page.next_before), _encode(page.prev_after))


def offset_list(items: Sequence[object], *, total: int, limit: int, offset: int) -> bytes:
    """Encode some of ``total`` things: at most ``limit``, without the ``offset`` before the first."""
    return _encode({"items": items, "total": total, "limit": limit, "offset": offset})
