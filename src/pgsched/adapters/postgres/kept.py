"""What workers keep open at sources, on Postgres: rows that claims count (``claiming_sql``)."""

from __future__ import annotations

from typing import Final

from pgsched.adapters.postgres.claiming_sql import TAKEN
from pgsched.adapters.postgres.database import Database

#: seconds within which the server answers; whoever asks waits for one second
_ANSWER_S: Final = 2.0

# Like a claim: the lock makes the count true until the commit, and the next statement counts. Whoever makes
# no claims (an API process, below 0) is not granted the last place, which it would keep from every run.
_LOCK: Final = "select from data_source where id = %(source_id)s for no key update"
_GRANT: Final = f"""
with place as (
    select s.id, least(%(connections)s::bigint, s.max_concurrency - (%(worker_id)s < 0)::integer - {TAKEN} + (
        select count(*) from query_run o
        where o.status = 'running' and o.data_source_id = s.id and o.worker_id = %(worker_id)s)) as granted
    from data_source s where s.id = %(source_id)s),
given_back as (
    delete from source_kept k
    where k.worker_id = %(worker_id)s and k.data_source_id = %(source_id)s
      and not exists (select from place where granted > 0))
insert into source_kept (worker_id, data_source_id, connections, until_at)
select %(worker_id)s, id, granted, clock_timestamp() + make_interval(secs => %(for_s)s)
from place where granted > 0
on conflict (worker_id, data_source_id) do update
set connections = excluded.connections, until_at = excluded.until_at
returning connections"""


class PostgresKeptConnections:
    """The port ``KeptConnections`` over the metadata database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def note(self, worker_id: int, source_id: int, connections: int, *, for_s: float) -> int:
        """Note as many connections of a worker as others leave places for."""
        values = {
            "worker_id": worker_id,
            "source_id": source_id,
            "connections": connections,
            "for_s": for_s,
        }
        async with self._database.pipeline(within_s=_ANSWER_S) as pipeline:
            pipeline.send(_LOCK, {"source_id": source_id})
            noted = pipeline.send(_GRANT, values)
        return sum(row["connections"] for row in noted.rows)
