"""Failed logins on Postgres."""

from __future__ import annotations

from typing import Any, Final

from psycopg.rows import dict_row

from pgsched.adapters.postgres.database import Database
from pgsched.domain.throttling import WINDOW, Failures

# Two index scans of a window each; a row of this account from this network is in both and counted once.
_COUNT: Final = """
with clock as materialized (select clock_timestamp() as now),
tried as (
    select email, ip, at from login_failure, clock
    where email = %(email)s and at > now - %(window)s
    union all
    select email, ip, at from login_failure, clock
    where ip = %(network)s and email <> %(email)s and at > now - %(window)s)
select now,
       count(at) filter (where email = %(email)s and ip is not distinct from %(network)s) as here,
       count(at) filter (where email = %(email)s) as of_account,
       count(at) filter (where ip = %(network)s) as of_network,
       max(at) filter (where email = %(email)s and ip is not distinct from %(network)s) as last_here,
       max(at) filter (where ip = %(network)s) as last_of_network
from clock left join tried on true group by now"""

_RECORD: Final = """
with old as (delete from login_failure where at < clock_timestamp() - interval '1 day')
insert into login_failure (email, ip, at) values (%s, %s, clock_timestamp())"""

_FORGET: Final = "delete from login_failure where email = %s and ip is not distinct from %s"


class PostgresLoginFailures:
    """The port ``LoginFailures`` over the metadata database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def count(self, email: str, network: str | None) -> Failures:
        """Count what lies inside the window for a try at an account from a network."""
        values: dict[str, Any] = {"email": email, "network": network, "window": WINDOW}
        async with (
            self._database.connection() as connection,
            connection.cursor(row_factory=dict_row) as cursor,
        ):
            row = await (await cursor.execute(_COUNT, values)).fetchone()
        assert row is not None
        return Failures(**row)

    async def record(self, email: str, network: str | None) -> None:
        """Note a failure; forgets what is older than a day."""
        async with self._database.connection() as connection:
            await connection.execute(_RECORD, [email, network])

    async def forget(self, email: str, network: str | None) -> None:
        """Forget the failures of an account from a network."""
        async with self._database.connection() as connection:
            await connection.execute(_FORGET, [email, network])
