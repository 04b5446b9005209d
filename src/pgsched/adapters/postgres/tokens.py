"""The API tokens on Postgres."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any, Final

from psycopg.rows import dict_row

from pgsched.adapters.postgres.database import Database
from pgsched.adapters.postgres.faults import violations
from pgsched.domain.errors import NotFound
from pgsched.domain.names import is_key
from pgsched.domain.tokens import ApiToken

_NAMES: Final = tuple(field.name for field in fields(ApiToken))
#: what ``token_from`` reads, of an api_token under the alias t
TOKEN_COLUMNS: Final = ", ".join(f"t.{name} as t_{name}" for name in _NAMES)

_ADD: Final = f"""
insert into api_token as t (user_id, name, token_hash, queries, created_at, expires_at)
values (%s, %s, %s, %s, clock_timestamp(), %s) returning {TOKEN_COLUMNS}"""

_GET: Final = f"select {TOKEN_COLUMNS} from api_token t where id = %s"

_PAGE: Final = f"""
select {TOKEN_COLUMNS} from api_token t
where %(user_id)s::bigint is null or user_id = %(user_id)s
order by id limit %(limit)s offset %(offset)s"""

_COUNT: Final = """
select count(*) from api_token where %(user_id)s::bigint is null or user_id = %(user_id)s"""

_TOUCH: Final = """
update api_token set last_used_at = greatest(last_used_at, %(used_at)s) where id = %(id)s"""


class PostgresTokens:
    """The port ``Tokens`` over the metadata database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(
        self,
        *,
        user_id: int,
        name: str,
        token_hash: str,
        queries: Collection[int] | None,
        expires_at: datetime | None,
    ) -> ApiToken:
        """Store a token."""
        narrowed = None if queries is None else list(queries)
        with violations({"api_token_user_fkey": NotFound("user", user_id)}):
            [token] = await self._rows(_ADD, [user_id, name, token_hash, narrowed, expires_at])
        return token

    async def get(self, token_id: int) -> ApiToken:
        """Return one token."""
        found = await self._rows(_GET, [token_id]) if is_key(token_id) else []
        if not found:
            raise NotFound("token", token_id)
        return found[0]

    async def page(self, user_id: int | None, *, limit: int, offset: int) -> tuple[Sequence[ApiToken], int]:
        """Return some tokens of an account, None for all accounts, by id, and how many there are."""
        found = await self._rows(_PAGE, {"user_id": user_id, "limit": limit, "offset": offset})
        async with self._database.connection() as connection:
            counted = await (await connection.execute(_COUNT, {"user_id": user_id})).fetchone()
        assert counted is not None
        return found, int(counted[0])

    async def touch(self, token_id: int, used_at: datetime) -> None:
        """Note that a token was used."""
        async with self._database.connection() as connection:
            await connection.execute(_TOUCH, {"id": token_id, "used_at": used_at})

    async def remove(self, token_id: int) -> None:
        """Delete a token, and its grants."""
        if is_key(token_id):
            async with self._database.connection() as connection:
                if (await connection.execute("delete from api_token where id = %s", [token_id])).rowcount:
                    return
        raise NotFound("token", token_id)

    async def remove_all(self, user_id: int) -> Sequence[ApiToken]:
        """Delete all tokens of an account and return them."""
        statement = f"delete from api_token t where user_id = %s returning {TOKEN_COLUMNS}"
        return await self._rows(statement, [user_id])

    async def _rows(self, statement: str, values: Sequence[Any] | Mapping[str, Any]) -> list[ApiToken]:
        async with (
            self._database.connection() as connection,
            connection.cursor(row_factory=dict_row) as cursor,
        ):
            await cursor.execute(statement.encode(), values)
            return [token_from(row) for row in await cursor.fetchall()]


def token_from(row: Mapping[str, Any]) -> ApiToken:
    """Return the token in the columns of ``TOKEN_COLUMNS``."""
    values = {name: row[f"t_{name}"] for name in _NAMES}
    queries = values.pop("queries")
    return ApiToken(**values, queries=None if queries is None else tuple(queries))
