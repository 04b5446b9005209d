"""The accounts and their roles on Postgres."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Select, delete, func, insert, select, update

from pgsched.adapters.postgres.connections import Connection
from pgsched.adapters.postgres.database import Database
from pgsched.adapters.postgres.faults import violations
from pgsched.adapters.postgres.mapping import account_from
from pgsched.adapters.postgres.statements import first, rows, run
from pgsched.adapters.postgres.tables import user_account, user_role
from pgsched.application.ports.repositories import AccountWithPassword
from pgsched.domain.accounts import ADMIN, Account, email_fault, email_key
from pgsched.domain.errors import EmailTaken, NotFound
from pgsched.domain.names import is_key

_SHOWN: Final = ("id", "email", "name", "is_active", "created_at", "updated_at")


class PostgresAccounts:
    """The port ``Accounts`` over the metadata database; roles come out in the order of their names."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, *, email: str, name: str, roles: Collection[str], password_hash: str) -> Account:
        """Store an account."""
        columns = [user_account.c[column] for column in _SHOWN]
        statement = insert(user_account).values(email=email, name=name, password_hash=password_hash)
        held = sorted(set(roles))
        with violations({"user_account_email_key": EmailTaken(email)}):
            async with self._database.transaction() as connection:
                row = await first(connection, statement.returning(*columns))
                assert row is not None
                await _give(connection, row["id"], held)
        return account_from({**row, "roles": held})

    async def get(self, key: str | int) -> Account:
        """Return the account of this address or id."""
        return (await self.with_password(key)).account

    async def with_password(self, key: str | int) -> AccountWithPassword:
        """Return the same and its password's hash."""
        condition = _is(key)
        if condition is not None:
            async with self._database.connection() as connection:
                row = await first(
                    connection, _with_roles().add_columns(user_account.c.password_hash).where(condition)
                )
            if row is not None:
                return AccountWithPassword(account=account_from(row), password_hash=row["password_hash"])
        raise NotFound("user", key)

    async def all(self) -> Sequence[Account]:
        """Return every account, by id."""
        async with self._database.connection() as connection:
            found = await rows(connection, _with_roles().order_by(user_account.c.id))
        return [account_from(row) for row in found]

    async def page(self, *, limit: int, offset: int) -> tuple[Sequence[Account], int]:
        """Return some accounts by id, and how many there are."""
        some = _with_roles().order_by(user_account.c.id).limit(limit).offset(offset)
        async with self._database.connection() as connection:
            found = await rows(connection, some)
            counted = await first(connection, select(func.count().label("n")).select_from(user_account))
        assert counted is not None
        return [account_from(row) for row in found], int(counted["n"])

    async def replace(self, account: Account) -> Account:
        """Put address, name, roles and activity anew."""
        if not is_key(account.id):
            raise NotFound("user", account.id)
        columns = [user_account.c[column] for column in _SHOWN]
        statement = (
            update(user_account)
            .where(user_account.c.id == account.id)
            .values(
                email=account.email,
                name=account.name,
                is_active=account.is_active,
                updated_at=func.clock_timestamp(),
            )
            .returning(*columns)
        )
        held = sorted(set(account.roles))
        with violations({"user_account_email_key": EmailTaken(account.email)}):
            async with self._database.transaction() as connection:
                row = await first(connection, statement)
                if row is None:
                    raise NotFound("user", account.id)
                await run(connection, delete(user_role).where(user_role.c.user_id == account.id))
                await _give(connection, account.id, held)
        return account_from({**row, "roles": held})

    async def set_password(
        self, account_id: int, password_hash: str, *, instead_of: str | None = None
    ) -> None:
        """Put the password's hash anew."""
        if not is_key(account_id):
            raise NotFound("user", account_id)
        statement = update(user_account).where(user_account.c.id == account_id)
        if instead_of is None:
            statement = statement.values(password_hash=password_hash, updated_at=func.clock_timestamp())
        else:
            statement = statement.where(user_account.c.password_hash == instead_of)
            statement = statement.values(password_hash=password_hash)
        async with self._database.connection() as connection:
            if not await run(connection, statement) and instead_of is None:
                raise NotFound("user", account_id)

    async def remove(self, account_id: int) -> None:
        """Delete an account with its sessions, tokens and grants."""
        if is_key(account_id):
            async with self._database.connection() as connection:
                if await run(connection, delete(user_account).where(user_account.c.id == account_id)):
                    return
        raise NotFound("user", account_id)

    async def count_admins(self) -> int:
        """Return how many active admins there are."""
        statement = (
            select(func.count().label("admins"))
            .select_from(user_account.join(user_role, user_role.c.user_id == user_account.c.id))
            .where(user_account.c.is_active, user_role.c.role == ADMIN)
        )
        async with self._database.connection() as connection:
            row = await first(connection, statement)
        assert row is not None
        return int(row["admins"])


async def _give(connection: Connection, account_id: int, roles: Sequence[str]) -> None:
    if roles:
        given = [{"user_id": account_id, "role": role} for role in roles]
        await run(connection, insert(user_role).values(given))


def _is(key: str | int) -> ColumnElement[bool] | None:
    """Return what finds an account, None where nothing could: drivers raise on larger numbers and NUL."""
    if isinstance(key, int):
        return user_account.c.id == key if is_key(key) else None
    return None if email_fault(key) else func.lower(user_account.c.email) == email_key(key)


def _with_roles() -> Select[Any]:
    columns = [user_account.c[column] for column in _SHOWN]
    roles = (
        select(user_role.c.role)
        .where(user_role.c.user_id == user_account.c.id)
        .order_by(user_role.c.role)
        .correlate(user_account)
        .scalar_subquery()
    )
    return select(*columns, func.array(roles).label("roles"))
