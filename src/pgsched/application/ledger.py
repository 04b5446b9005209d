"""Why did it not run? Reads a query's past and explains its instants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pgsched.application.ports.ledger import LedgerView
from pgsched.domain.errors import FieldFault, InvalidInput, NotFound
from pgsched.domain.ledger import Entry, Fate, Past, expected, explain, newest_expected
from pgsched.domain.parameters import MOST_SETS

_A_DAY = timedelta(days=1)
_MOMENT = timedelta(microseconds=1)
#: between these a date can be counted with in any zone; no schedule names an instant beyond them
_EARLIEST, _LATEST = datetime(1, 1, 3, tzinfo=UTC), datetime(9999, 12, 29, tzinfo=UTC)
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
    #: what became of the last instant not later than that, of the set asked for or the first
    entry: Entry
    #: the same of each parameter set asked for; empty for a query without sets
    sets: Sequence[Entry]
    #: the instant after that, UTC; None when there is none in ten years
    following: datetime | None


class ExplainInstants:
    """Joins a query's past with its rows."""

    def __init__(self, view: LedgerView) -> None:
        self._view = view

    async def ledger(
        self,
        query: str | int,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        limit: int,
        params: str | None = None,
    ) -> Ledger:
        """Explain instants from ``start`` (inclusive) to ``end`` (exclusive), ``limit`` entries at most.

        Each parameter set has an entry of its own for each instant; ``params`` names the only one wanted. The
        entries of one instant stay together, even if they alone are more than ``limit``. Without ``end`` up
        to now, without ``start`` the day before the end.

        Raises:
            NotFound: there is no such query, or it never had such a set.
            InvalidInput: the range is empty.
        """
        past = await self._past(query, params)
        end = past.now if end is None else _countable(end)
        start = end - _A_DAY if start is None else _countable(start)
        if start >= end:
            raise InvalidInput.of(FieldFault(field="end", message="must be later than start"))
        entries, following = await self._explained(past, start, end, limit, params)
        return Ledger(query_id=past.query_id, name=past.name, items=entries, next_start=following)

    async def why(self, query: str | int, at: datetime | None = None, *, params: str | None = None) -> Answer:
        """Explain the last instant not later than ``at``, or than now, for one parameter set or for all.

        Raises:
            NotFound: there is no such query, or it never had such a set.
        """
        past = await self._past(query, params)
        asked_at = past.now if at is None else _countable(at)
        newest = newest_expected(past, asked_at, params)
        entries: Sequence[Entry] = (
            Entry(
                at=asked_at,
                params=params,
                outcome=Fate.BEFORE,
                detail="no schedule of this query named that time, or any before",
            ),
        )
        if newest is not None:
            entries, _ = await self._explained(past, newest, newest + _MOMENT, 1, params)
        ahead = expected(past, asked_at + _MOMENT, asked_at + min(_AHEAD, _LATEST - asked_at))
        following = next((at for at, phase in ahead if params is None or params in phase.sets), None)
        return Answer(
            query_id=past.query_id,
            name=past.name,
            asked_at=asked_at,
            entry=entries[0],
            sets=[entry for entry in entries if entry.params is not None],
            following=following,
        )

    async def _past(self, query: str | int, params: str | None) -> Past:
        past = await self._view.past(query)
        if params is not None and not any(params in phase.sets for phase in past.phases):
            raise NotFound("parameter set", params)
        return past

    async def _explained(
        self, past: Past, start: datetime, end: datetime, limit: int, params: str | None
    ) -> tuple[list[Entry], datetime | None]:
        rows, gaps = await self._view.rows(
            past.query_id, start, end, limit=limit + MOST_SETS + 1, params=params
        )
        return explain(past, tuple(rows), tuple(gaps), start=start, end=end, limit=limit, params=params)


def _countable(at: datetime) -> datetime:
    """Return an instant in UTC, or the nearest one that can be counted with."""
    return min(max(at, _EARLIEST), _LATEST).astimezone(UTC)
