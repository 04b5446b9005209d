"""The accounts and their roles on Postgres."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

from sqlalchemy import Select, func, insert, select

from pgsched.adapters.postgres.database import Database
from pgsched.adapters.postgres.faults import violations
from pgsched.adapters.postgres.mapping import account_from
from pgsched.adapters.postgres.statements import first, rows, run
from pgsched.adapters.postgres.tables import user_account, user_role
from pgsched.domain.accounts import ADMIN, Account
from pgsched.domain.errors import EmailTaken

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
                if held:
                    given = [{"user_id": row["id"], "role": role} for role in held]
                    await run(connection, insert(user_role).values(given))
        return account_from({**row, "roles": held})

    async def all(self) -> Sequence[Account]:
        """Return every account, by id."""
        async with self._database.connection() as connection:
            found = await rows(connection, _with_roles().order_by(user_account.c.id))
        return [account_from(row) for row in found]

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
