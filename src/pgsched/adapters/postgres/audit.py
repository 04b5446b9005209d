"""The audit trail on Postgres."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from pgsched.adapters.postgres.database import Database
from pgsched.domain.audit import Actor, AuditEntry, AuditEvent, AuditFilter

_RECORD: Final = """
insert into audit_event (at, actor_id, actor, ip, request_id, action, noun, noun_id, noun_name, old, new)
values (clock_timestamp(), %(actor_id)s, %(actor)s, %(ip)s, %(request_id)s, %(action)s, %(noun)s, %(noun_id)s,
        %(noun_name)s, %(old)s, %(new)s)"""

_WANTED: Final = """
where (%(actor)s::text is null or lower(actor) = lower(%(actor)s))
  and (%(action)s::text is null or action = %(action)s)
  and (%(noun)s::text is null or noun = %(noun)s)
  and (%(noun_id)s::text is null or noun_id = %(noun_id)s)
  and (%(start)s::timestamptz is null or at >= %(start)s)
  and (%(end)s::timestamptz is null or at < %(end)s)"""

_PAGE: Final = f"""
select id, at, actor_id, actor, ip, request_id, action, noun, noun_id, noun_name, old, new
from audit_event {_WANTED}
order by at desc, id desc limit %(limit)s offset %(offset)s"""

_COUNT: Final = f"select count(*) from audit_event {_WANTED}"


class PostgresAudit:
    """The port ``Audit`` over the metadata database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, by: Actor, entry: AuditEntry) -> None:
        """Write down what ``by`` did."""
        values = {
            "actor_id": by.id,
            "actor": by.name,
            "ip": by.ip,
            "request_id": by.request_id,
            "action": entry.action,
            "noun": entry.noun,
            "noun_id": entry.noun_id,
            "noun_name": entry.noun_name,
            "old": None if entry.old is None else Jsonb(entry.old),
            "new": None if entry.new is None else Jsonb(entry.new),
        }
        async with self._database.connection() as connection:
            await connection.execute(_RECORD, values)

    async def page(self, wanted: AuditFilter, *, limit: int, offset: int) -> tuple[Sequence[AuditEvent], int]:
        """Return some events, newest first, and how many there are in all."""
        values: dict[str, Any] = {
            "actor": wanted.actor,
            "action": wanted.action,
            "noun": wanted.noun,
            "noun_id": wanted.noun_id,
            "start": wanted.start,
            "end": wanted.end,
        }
        async with self._database.connection() as connection:
            async with connection.cursor(row_factory=dict_row) as cursor:
                await cursor.execute(_PAGE, {**values, "limit": limit, "offset": offset})
                found = [AuditEvent(**row) for row in await cursor.fetchall()]
            counted = await (await connection.execute(_COUNT, values)).fetchone()
        assert counted is not None
        return found, int(counted[0])
