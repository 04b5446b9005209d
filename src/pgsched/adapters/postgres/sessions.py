"""The sessions on Postgres, and the look-up that every request with a cookie or a token makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any, Final

from psycopg.rows import dict_row

from pgsched.adapters.postgres.database import Database
from pgsched.adapters.postgres.mapping import account_from
from pgsched.adapters.postgres.tokens import TOKEN_COLUMNS, token_from
from pgsched.application.ports.access import SessionFound, TokenFound
from pgsched.domain.errors import NotFound
from pgsched.domain.sessions import Session

_NAMES: Final = tuple(field.name for field in fields(Session))
_COLUMNS: Final = ", ".join(_NAMES)

_OWNER: Final = """
u.id, u.email, u.name, u.is_active, u.created_at, u.updated_at,
array(select role from user_role where user_id = u.id order by role) as roles,
clock_timestamp() as looked_at"""

_BY_SID: Final = f"""
select {_OWNER}, {", ".join(f"s.{name} as s_{name}" for name in _NAMES)}
from user_session s join user_account u on u.id = s.user_id where s.id = %s"""

_BY_TOKEN: Final = f"""
select {_OWNER}, {TOKEN_COLUMNS}
from api_token t join user_account u on u.id = t.user_id where t.token_hash = %s"""

_ADD: Final = f"""
insert into user_session ({_COLUMNS}) values ({", ".join(f"%({name})s" for name in _NAMES)})"""

_LIVE: Final = f"""
select {_COLUMNS} from user_session
where user_id = %s and not is_revoked and expires_at > %s
order by created_at desc, id"""

# an end is only ever put off: two processes that touch one session at once leave the later end
_TOUCH: Final = """
update user_session
set last_seen_at = greatest(last_seen_at, %(seen_at)s), expires_at = greatest(expires_at, %(expires_at)s)
where id = %(id)s and not is_revoked"""

_REVOKE: Final = f"""
update user_session set is_revoked = true
where id = %s and user_id = %s and not is_revoked returning {_COLUMNS}"""

_REVOKE_ALL: Final = """
update user_session set is_revoked = true
where user_id = %s and not is_revoked and id is distinct from %s"""

_ANY_ENDED: Final = "select exists (select from user_session where expires_at < %s)"
_FORGET: Final = "delete from user_session where expires_at < %s"


class PostgresCredentials:
    """The port ``Credentials`` over the metadata database: one statement for each look-up."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def session(self, sid_hash: str) -> SessionFound:
        """Return the session that a sid's hash stands for."""
        row = await self._row("session", _BY_SID, sid_hash)
        session = Session(**{name: row[f"s_{name}"] for name in _NAMES})
        return SessionFound(session=session, account=account_from(row), at=row["looked_at"])

    async def token(self, token_hash: str) -> TokenFound:
        """Return the token that a hash stands for."""
        row = await self._row("token", _BY_TOKEN, token_hash)
        return TokenFound(token=token_from(row), owner=account_from(row), at=row["looked_at"])

    async def _row(self, noun: str, statement: str, key: str) -> Mapping[str, Any]:
        async with (
            self._database.connection() as connection,
            connection.cursor(row_factory=dict_row) as cursor,
        ):
            row = await (await cursor.execute(statement.encode(), [key])).fetchone()
        if row is None:
            raise NotFound(noun, "that was shown")
        return row


class PostgresSessions:
    """The port ``Sessions`` over the metadata database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, session: Session) -> None:
        """Store a session that begins."""
        async with self._database.connection() as connection:
            await connection.execute(_ADD, {name: getattr(session, name) for name in _NAMES})

    async def live(self, user_id: int, now: datetime) -> Sequence[Session]:
        """Return an account's sessions that may be used now, the newest first."""
        async with (
            self._database.connection() as connection,
            connection.cursor(row_factory=dict_row) as cursor,
        ):
            await cursor.execute(_LIVE, [user_id, now])
            return [Session(**row) for row in await cursor.fetchall()]

    async def touch(self, session_id: str, seen_at: datetime, expires_at: datetime | None) -> None:
        """Note that a session was used, and its new end unless None."""
        values = {"id": session_id, "seen_at": seen_at, "expires_at": expires_at}
        async with self._database.connection() as connection:
            await connection.execute(_TOUCH, values)

    async def revoke(self, session_id: str, *, user_id: int) -> Session:
        """End an account's session."""
        async with (
            self._database.connection() as connection,
            connection.cursor(row_factory=dict_row) as cursor,
        ):
            row = await (await cursor.execute(_REVOKE, [session_id, user_id])).fetchone()
        if row is None:
            raise NotFound("session", session_id)
        return Session(**row)

    async def revoke_all(self, user_id: int, *, but: str | None = None) -> int:
        """End all sessions of an account but one, and return how many those were."""
        async with self._database.connection() as connection:
            return (await connection.execute(_REVOKE_ALL, [user_id, but])).rowcount

    async def forget_ended(self, before: datetime) -> None:
        """Delete sessions that ended before this; asks first, since a delete tells every process to look."""
        async with self._database.connection() as connection:
            found = await (await connection.execute(_ANY_ENDED, [before])).fetchone()
            if found is not None and found[0]:
                await connection.execute(_FORGET, [before])
