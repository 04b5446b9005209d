"""Dry runs under way on Postgres: a row each, so that every process counts the same."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Any, Final

from pgsched.adapters.postgres.database import Database
from pgsched.domain.dry_runs import ensure_place
from pgsched.domain.errors import DatabaseFault

#: of the advisory lock that is held while one is counted: two that count at once would both find a place
_LOCK: Final = 7_247_244

_ONE_AT_A_TIME: Final = f"select pg_advisory_xact_lock({_LOCK})"
_EXPIRE: Final = "delete from dry_run where until_at <= clock_timestamp()"
_COUNT: Final = """
select count(*) filter (where user_name = %(user)s),
       count(*) filter (where data_source_id = %(source_id)s)
from dry_run"""
_TAKE: Final = """
insert into dry_run (user_name, data_source_id, until_at)
values (%(user)s, %(source_id)s, clock_timestamp() + %(for)s)
returning id"""
_LEAVE: Final = "delete from dry_run where id = %s"


class PostgresDryRunPlaces:
    """The port ``DryRunPlaces`` over the metadata database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @asynccontextmanager
    async def hold(self, user: str, source_id: int, *, for_s: float) -> AsyncIterator[None]:
        """Count a dry run for the time of the block."""
        place = await self._take(user, source_id, for_s)
        try:
            yield
        finally:
            # when the database is away the place is free once its time is over
            with suppress(DatabaseFault):
                async with self._database.connection() as connection:
                    await connection.execute(_LEAVE, [place])

    async def _take(self, user: str, source_id: int, for_s: float) -> int:
        values: dict[str, Any] = {"user": user, "source_id": source_id, "for": timedelta(seconds=for_s)}
        async with self._database.transaction() as connection:
            await connection.execute(_ONE_AT_A_TIME)
            await connection.execute(_EXPIRE)
            counted = await (await connection.execute(_COUNT, values)).fetchone()
            assert counted is not None
            ensure_place(of_user=counted[0], of_source=counted[1])
            taken = await (await connection.execute(_TAKE, values)).fetchone()
            assert taken is not None
            place: int = taken[0]
            return place
