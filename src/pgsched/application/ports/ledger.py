"""The port to a query's past: which schedules it had, and what stands in the record for their instants."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol, runtime_checkable

from pgsched.domain.ledger import Past, Recorded, RecordedGap


@runtime_checkable
class LedgerView(Protocol):
    """What editors may read of a query's past; messages are whole."""

    async def past(self, query: str | int) -> Past:
        """Return the phases of the query of this name (str) or id (int), and what else explaining needs.

        Raises:
            NotFound: there is none.
        """
        ...

    async def rows(
        self, query_id: int, start: datetime, end: datetime, *, limit: int, params: str | None = None
    ) -> tuple[Sequence[Recorded], Sequence[RecordedGap]]:
        """Return the scheduled runs from ``start`` (inclusive) to ``end`` (exclusive), and the gaps there.

        At most ``limit`` runs, oldest first; the gaps are those that reach into the range. With ``params``
        those of this parameter set alone.
        """
        ...
