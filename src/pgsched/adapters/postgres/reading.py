"""How the views read: rows as mappings, stored JSON as bytes, counts as they are shown."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from psycopg import AsyncConnection, AsyncCursor
from psycopg.rows import dict_row
from psycopg.types.json import set_json_loads

from pgsched.adapters.postgres import row_filters
from pgsched.adapters.postgres.database import Database
from pgsched.domain.audience import RowFilter
from pgsched.domain.row_filters import fingerprint
from pgsched.domain.runs import Run

#: a row of an answer
Row = dict[str, Any]
#: counts kept of rows shown; a finished run never changes
_KEPT: Final = 10_000


class Reader:
    """What the views share: the database, and how many rows of a run are shown."""

    def __init__(self, database: Database) -> None:
        self._database = database
        #: by run and filters
        self._counts: OrderedDict[tuple[int, str], int] = OrderedDict()

    async def ask(self, statement: str, parameters: Row) -> list[Row]:
        """Return the rows of a statement, JSON in them as the bytes that came."""
        async with self._database.connection() as connection, _cursor(connection) as cursor:
            await cursor.execute(statement, parameters)
            return await cursor.fetchall()

    async def counted(self, runs: list[Run], filters: Sequence[RowFilter] | None) -> list[Run]:
        """Return the runs with the number of rows shown where there are filters."""
        if filters is None:
            return runs
        seen = fingerprint(filters)
        unknown = [run.id for run in runs if run.rows_returned and (run.id, seen) not in self._counts]
        if unknown:
            parameters: Row = {"run_ids": unknown}
            statement = row_filters.count(row_filters.shown(filters, parameters))
            for row in await self.ask(statement, parameters):
                self._counts[row["run_id"], seen] = row["shown"]
        counted = [
            replace(run, rows_returned=self._counts.get((run.id, seen), 0)) if run.rows_returned else run
            for run in runs
        ]
        while len(self._counts) > _KEPT:
            self._counts.popitem(last=False)
        return counted


def _cursor(connection: AsyncConnection[Any]) -> AsyncCursor[Row]:
    cursor = connection.cursor(row_factory=dict_row)
    set_json_loads(_as_stored, context=cursor)
    return cursor


def _as_stored(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()
