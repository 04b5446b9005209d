"""The newest rows of a result for the front page: the first few, the rest is not read."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from pgsched.adapters.formats.columns import Column, columns_of, rows_in
from pgsched.domain.audience import WHOLE_ACCESS, access_to
from pgsched.domain.errors import NotFound
from pgsched.domain.runs import Run

if TYPE_CHECKING:
    from pgsched.application.ports.views import QueryCard, RunView
    from pgsched.domain.audience import Audience

#: rows and columns shown of a result
ROWS, COLUMNS = 10, 12
#: characters shown of a value
_CHARACTERS = 120
#: previews kept; a finished run never changes
_KEPT = 256

_NUMERIC = frozenset({"integer", "number"})
#: timestamp and timestamptz: alike in a run where a row, hidden from the reader maybe, made their column text
_MOMENTS = frozenset({1114, 1184})

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


def preview_of(run: Run, schema: bytes, arrays: Sequence[bytes]) -> Preview:
    """Make a preview of a Table Schema and the first rows, given as JSON arrays."""
    columns = columns_of(schema)
    rows = [_row.decode(raw) for array in arrays for raw in rows_in(array)][:ROWS]
    return Preview(
        run=run,
        columns=tuple((column.name, column.type in _NUMERIC) for column in columns[:COLUMNS]),
        rows=tuple(
            tuple(_cell(bytes(row[column.name]), _is_moment(column)) for column in columns[:COLUMNS])
            for row in rows
        ),
        hidden_columns=max(0, len(columns) - COLUMNS),
    )


def _is_moment(column: Column) -> bool:
    return column.type == "datetime" or column.pg_oid in _MOMENTS


def _cell(raw: bytes, is_moment: bool) -> Cell:
    if raw == b"null":
        return Cell(text="", null=True)
    text = _text.decode(raw) if raw.startswith(b'"') else raw.decode()
    if is_moment:
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
        """Return the preview of a query's newest success, None when there is none.

        ``card`` was just read for this audience, so a kept preview may be shown without asking again where
        every row is shown to it; only previews of every row are kept.
        """
        last = card.last_run
        if last is None:
            return None
        # Without its grants: whether every row is shown to it anyway.
        whole = access_to(audience, query_id=card.id, visibility=card.visibility) == WHOLE_ACCESS
        if whole and (kept := self._kept.get(last.id)) is not None:
            self._kept.move_to_end(last.id)
            return kept
        try:
            stored = await self._view.latest(audience, card.id, whole=False)
            if stored.table_schema is None:
                return None
            if stored.rows is None and (kept := self._kept.get(stored.run.id)) is not None:
                return kept
            arrays = []
            if stored.run.rows_returned:
                arrays = [array async for array in self._view.rows(stored, limit=ROWS)]
        except NotFound:
            return None
        preview = preview_of(stored.run, stored.table_schema, arrays)
        if stored.rows is None:
            self._kept[stored.run.id] = preview
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return preview
