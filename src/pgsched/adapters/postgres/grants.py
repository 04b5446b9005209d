"""The grants on Postgres."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from psycopg.rows import dict_row

from pgsched.adapters.postgres.database import Database
from pgsched.adapters.postgres.faults import violations
from pgsched.application.ports.grants import Grantee, HeldGrant
from pgsched.domain.audience import Grant, RowFilter
from pgsched.domain.errors import NotFound
from pgsched.domain.names import text_fault
from pgsched.domain.row_filters import filter_json

_OF: Final = """
select g.user_id, g.role, g.token_id, g.row_filter::text as row_filter, u.email,
    coalesce(u.name, t.name, g.role) as name
from query_grant g
left join user_account u on u.id = g.user_id
left join api_token t on t.id = g.token_id
where g.query_id = %(query_id)s
order by g.user_id is null, g.role is null, lower(u.email) collate "C", g.role collate "C", g.token_id"""
# Two that replace the grants of one query come one after the other.
_LOCK: Final = "select from query_job where id = %(query_id)s for no key update"
_CLEAR: Final = "delete from query_grant where query_id = %(query_id)s"
_ADD: Final = """
insert into query_grant (query_id, user_id, role, token_id, row_filter)
select %(query_id)s, user_id, role, token_id, row_filter
from unnest(%(user_id)s::bigint[], %(role)s::text[], %(token_id)s::bigint[], %(row_filter)s::text[]::jsonb[])
    as given (user_id, role, token_id, row_filter)"""
_ONE_USER: Final = "select id, name, email from user_account where id = %(key)s"
_SUCH_USERS: Final = """
select id, name, email from user_account where lower(email) = lower(%(key)s) or name = %(key)s
order by lower(email) <> lower(%(key)s), id limit 2"""
_ONE_HOLDER: Final = "select id, name from api_token where id = %(key)s"
_SUCH_HOLDERS: Final = "select id, name from api_token where name = %(key)s order by id limit 2"


class PostgresGrants:
    """The port ``Grants`` over the metadata database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, query_id: int) -> Sequence[HeldGrant]:
        """Return the grants on a query."""
        return [
            HeldGrant(
                grant=Grant(
                    user_id=row["user_id"],
                    role=row["role"],
                    token_id=row["token_id"],
                    row_filter=_filter_from(row["row_filter"]),
                ),
                name=row["name"],
                email=row["email"],
            )
            for row in await self._rows(_OF, {"query_id": query_id})
        ]

    async def replace(self, query_id: int, grants: Sequence[Grant]) -> None:
        """Put these in the place of all grants on a query."""
        values = {
            "query_id": query_id,
            "user_id": [grant.user_id for grant in grants],
            "role": [grant.role for grant in grants],
            "token_id": [grant.token_id for grant in grants],
            "row_filter": [_filter_text(grant.row_filter) for grant in grants],
        }
        gone = {
            "query_grant_user_fkey": NotFound("user", "named here any more"),
            "query_grant_token_fkey": NotFound("token", "named here any more"),
        }
        with violations(gone):
            async with self._database.transaction() as connection:
                if await (await connection.execute(_LOCK, values)).fetchone() is None:
                    raise NotFound("query", query_id)
                await connection.execute(_CLEAR, values)
                await connection.execute(_ADD, values)

    async def users(self, key: str | int) -> Sequence[Grantee]:
        """Return the users of this id, address or name; an address comes before a name."""
        rows = await self._found(_ONE_USER, _SUCH_USERS, key)
        if rows and isinstance(key, str) and rows[0]["email"].lower() == key.lower():
            rows = rows[:1]
        return [Grantee(**row) for row in rows]

    async def tokens(self, key: str | int) -> Sequence[Grantee]:
        """Return the tokens of this id or name."""
        return [Grantee(**row) for row in await self._found(_ONE_HOLDER, _SUCH_HOLDERS, key)]

    async def _found(self, by_id: str, by_text: str, key: str | int) -> list[dict[str, Any]]:
        if isinstance(key, int):
            return await self._rows(by_id, {"key": key}) if 0 < key < 2**63 else []
        if text_fault("name", key, 1000) is not None:
            # what Postgres cannot hold is nobody's name
            return []
        return await self._rows(by_text, {"key": key})

    async def _rows(self, statement: str, values: dict[str, Any]) -> list[dict[str, Any]]:
        async with (
            self._database.connection() as connection,
            connection.cursor(row_factory=dict_row) as cursor,
        ):
            await cursor.execute(statement.encode(), values)
            return await cursor.fetchall()


def _filter_from(text: str | None) -> RowFilter | None:
    if text is None:
        return None
    return {column: tuple(values) for column, values in json.loads(text).items()}


def _filter_text(shown: RowFilter | None) -> str | None:
    if shown is None:
        return None
    columns = (
        f"{json.dumps(column)}:[{','.join(map(filter_json, values))}]" for column, values in shown.items()
    )
    return "{" + ",".join(columns) + "}"
