"""The numbers of newest results, for metrics: each result is read once, and only its first rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from pgsched.adapters.postgres.connections import Connection
from pgsched.domain.exposure import MOST_RESULTS, MOST_VALUES, Exposed, Value, exposed_values

# of each set that the query has now, or of the query that has none
_NEWEST: Final = f"""
select j.id, p.params, r.id, r.rows_returned
from query_job j
cross join lateral (
    select s ->> 'name' as params from jsonb_array_elements(j.param_sets) s
    union all select '' where j.param_sets = '[]') p
cross join lateral (
    select n.id, n.rows_returned from query_run n
    where n.query_id = j.id and n.params = p.params and n.status = 'success'
    order by n.scheduled_at desc, n.id desc limit 1) r
where j.expose_metrics and j.visibility = 'public'
order by j.id, p.params limit {MOST_RESULTS}"""
_FIRST: Final = f"""
select b.run_id, b.df_json -> 'schema', jsonb_path_query_array(
    case when b.format = 'jsonb' then b.df_json -> 'data'
    else (select c.data from query_run_chunk c where c.run_id = b.run_id order by c.seq limit 1) end,
    '$[0 to {MOST_VALUES - 1}]')
from query_run_blob b where b.run_id = any(%s)"""


class ExposedResults:
    """Looks for newest results and remembers what they tell: a stored result never changes."""

    def __init__(self) -> None:
        #: numbers and rows left out, by run
        self._told: dict[int, tuple[Sequence[Value], int]] = {}

    async def look(self, connection: Connection) -> Sequence[Exposed]:
        """Return what is told now."""
        newest = await (await connection.execute(_NEWEST)).fetchall()
        told = {run_id: self._told[run_id] for _, _, run_id, _ in newest if run_id in self._told}
        unread = {run_id: rows for _, _, run_id, rows in newest if run_id not in told}
        if unread:
            for run_id, schema, data in await (await connection.execute(_FIRST, [[*unread]])).fetchall():
                rows = _parsed(data) or []
                told[run_id] = exposed_values(
                    _parsed(schema), rows, rows_of_all=max(len(rows), unread[run_id] or 0)
                )
        self._told = told
        return [
            Exposed(query_id=query_id, params=params, values=told[run_id][0], rows_left_out=told[run_id][1])
            for query_id, params, run_id, _ in newest
            # deleted meanwhile
            if run_id in told
        ]


def _parsed(found: Any) -> Any:
    return json.loads(found) if isinstance(found, str | bytes) else found
