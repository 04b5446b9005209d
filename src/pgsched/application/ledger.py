"""Why did it not run? Reads a query's past and explains its instants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pgsched.application.ports.ledger import LedgerView
from pgsched.domain.errors import FieldFault, InvalidInput
from pgsched.domain.ledger import Entry, Fate, Past, expected, explain, newest_expected

_A_DAY = timedelta(days=1)
_MOMENT = timedelta(microseconds=1)
#: how far ahead the next instant is looked for
_AHEAD = timedelta(days=3660)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ledger:
    """A query's instants in a range of time."""

    #: the query
    query_id: int
    #: its name
    name: str
    #: oldest first
    items: Sequence[Entry]
    #: where the next ones begin, UTC; None when these are all
    next_start: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What became of the instant at or before a time."""

    #: the query
    query_id: int
    #: its name
    name: str
    #: what was asked for, UTC
    asked_at: datetime
    #: what became of the last instant not later than that
    entry: Entry
    #: the instant after that, UTC; None when there is none in ten years
    following: datetime | None


class ExplainInstants:
    """Joins a query's past with its rows."""

    def __init__(self, view: LedgerView) -> None:
        self._view = view

    async def ledger(
        self, query: str | int, start: datetime | None = None, end: datetime | None = None, *, limit: int
    ) -> Ledger:
        """Explain up to ``limit`` instants from ``start`` (inclusive) to ``end`` (exclusive).

        Without ``end`` up to now, without ``start`` the day before the end.

        Raises:
            NotFound: there is no such query.
            InvalidInput: the range is empty.
        """
        past = await self._view.past(query)
        end = past.now if end is None else end
        start = end - _A_DAY if start is None else start
        if start >= end:
            raise InvalidInput.of(FieldFault(field="end", message="must be later than start"))
        entries, following = await self._explained(past, start, end, limit)
        return Ledger(query_id=past.query_id, name=past.name, items=entries, next_start=following)

    async def why(self, query: str | int, at: datetime | None = None) -> Answer:
        """Explain the last instant not later than ``at``, or than now.

        Raises:
            NotFound: there is no such query.
        """
        past = await self._view.past(query)
        asked_at = past.now if at is None else at
        newest = newest_expected(past, asked_at)
        if newest is None:
            entry = Entry(
                at=asked_at,
                outcome=Fate.BEFORE,
                detail="no schedule of this query named that time, or any before",
            )
        else:
            (entry, *_), _ = await self._explained(past, newest, newest + _MOMENT, 1)
        ahead = expected(past, asked_at + _MOMENT, asked_at + _AHEAD)
        following = next((instant for instant, _ in ahead), None)
        return Answer(
            query_id=past.query_id, name=past.name, asked_at=asked_at, entry=entry, following=following
        )

    async def _explained(
        self, past: Past, start: datetime, end: datetime, limit: int
    ) -> tuple[list[Entry], datetime | None]:
        rows, gaps = await self._view.rows(past.query_id, start, end, limit=limit + 1)
        return explain(past, tuple(rows), tuple(gaps), start=start, end=end, limit=limit)
