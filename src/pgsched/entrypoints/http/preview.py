"""The newest rows of a result for the front page: the first few, without parsing the rest."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from pgsched.domain.audience import WHOLE_ACCESS, access_to
from pgsched.domain.errors import NotFound
from pgsched.domain.runs import Run, RunStatus

if TYPE_CHECKING:
    from pgsched.application.ports.views import QueryCard, RunView
    from pgsched.domain.audience import Audience

#: rows and columns shown of a result
ROWS, COLUMNS = 10, 12
#: characters shown of a value
_CHARACTERS = 120
#: results with more rows are not fetched for a preview
_MOST_ROWS = 5_000
#: previews kept; a finished run never changes
_KEPT = 256

_NUMERIC = frozenset({"integer", "number"})


class _Field(msgspec.Struct):
    name: str
    type: str


class _Schema(msgspec.Struct):
    fields: list[_Field]


class _Document(msgspec.Struct):
    schema: _Schema
    data: msgspec.Raw


_document = msgspec.json.Decoder(_Document)
_rows = msgspec.json.Decoder(list[msgspec.Raw])
_row = msgspec.json.Decoder(dict[str, msgspec.Raw])
_text = msgspec.json.Decoder(str)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One value as shown; numbers with the digits they are stored with."""

    #: what is shown; empty for null
    text: str
    #: whether it is null
    null: bool = False
    #: the whole text where ``text`` was cut
    whole: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Preview:
    """The first rows of a run's result."""

    #: the run it belongs to
    run: Run
    #: names in column order, and whether they hold numbers
    columns: tuple[tuple[str, bool], ...]
    #: cells in column order
    rows: tuple[tuple[Cell, ...], ...]
    #: columns left out
    hidden_columns: int


def preview_of(run: Run, document: bytes) -> Preview:
    """Read the first rows of a stored document."""
    parts = _document.decode(document)
    fields = parts.schema.fields[:COLUMNS]
    rows = [_row.decode(raw) for raw in _rows.decode(parts.data)[:ROWS]]
    return Preview(
        run=run,
        columns=tuple((field.name, field.type in _NUMERIC) for field in fields),
        rows=tuple(tuple(_cell(bytes(row[field.name]), field.type) for field in fields) for row in rows),
        hidden_columns=len(parts.schema.fields) - len(fields),
    )


def _cell(raw: bytes, type_: str) -> Cell:
    if raw == b"null":
        return Cell(text="", null=True)
    text = _text.decode(raw) if raw.startswith(b'"') else raw.decode()
    if type_ == "datetime":
        # the page says that all times are UTC
        text = text.replace("T", " ").removesuffix("Z").removesuffix(".000000")
    if len(text) > _CHARACTERS:
        return Cell(text=text[: _CHARACTERS - 1] + "…", whole=text[:2000])
    return Cell(text=text)


class Previews:
    """Previews of the newest successes, kept by run."""

    def __init__(self, view: RunView) -> None:
        self._view = view
        self._kept: OrderedDict[int, Preview] = OrderedDict()

    async def of(self, audience: Audience, card: QueryCard) -> Preview | None:
        """Return the preview of a query's newest success, None when there is none or it is too large.

        ``card`` was just read for this audience, so a kept preview may be shown without asking again where
        every row is shown to it; only previews of every row are kept.
        """
        last = card.last_run
        if last is None:
            return None
        # Without its grants: whether every row is shown to it anyway.
        whole = access_to(audience, query_id=card.id, visibility=card.visibility) == WHOLE_ACCESS
        if whole and last.status is RunStatus.SUCCESS:
            if (kept := self._kept.get(last.id)) is not None:
                self._kept.move_to_end(last.id)
                return kept
            if (last.rows_returned or 0) > _MOST_ROWS:
                return None
        try:
            stored = await self._view.latest(audience, card.id)
        except NotFound:
            return None
        if stored.result is None or (stored.run.rows_returned or 0) > _MOST_ROWS:
            return None
        if stored.rows is None and (kept := self._kept.get(stored.run.id)) is not None:
            return kept
        preview = await asyncio.to_thread(preview_of, stored.run, stored.result)
        if stored.rows is None:
            self._kept[stored.run.id] = preview
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return preview
