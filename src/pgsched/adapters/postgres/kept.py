"""What workers keep open at sources, on Postgres: rows that claims count (``runs_sql``)."""

from __future__ import annotations

from typing import Final

from pgsched.adapters.postgres.database import Database

_NOTE: Final = """
insert into source_kept (worker_id, data_source_id, connections, until_at)
select %(worker_id)s, s.id, %(connections)s, clock_timestamp() + make_interval(secs => %(for_s)s)
from data_source s where s.id = %(source_id)s
on conflict (worker_id, data_source_id) do update
set connections = excluded.connections, until_at = excluded.until_at"""
_FORGET: Final = "delete from source_kept where worker_id = %(worker_id)s and data_source_id = %(source_id)s"


class PostgresKeptConnections:
    """The port ``KeptConnections`` over the metadata database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def note(self, worker_id: int, source_id: int, connections: int, *, for_s: float) -> None:
        """Say how many connections a worker may have open at a source for so long."""
        values = {
            "worker_id": worker_id,
            "source_id": source_id,
            "connections": connections,
            "for_s": for_s,
        }
        async with self._database.connection() as connection:
            await connection.execute(_NOTE if connections else _FORGET, values)
