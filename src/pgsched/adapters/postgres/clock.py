"""The metadata database's clock, which alone decides what is due."""

from __future__ import annotations

from datetime import UTC, datetime

from pgsched.adapters.postgres.database import Database


class PostgresClock:
    """The port ``Clock`` over the metadata database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def now(self) -> datetime:
        """Return its ``clock_timestamp()``, UTC."""
        async with self._database.connection() as connection:
            row = await (await connection.execute("select clock_timestamp()")).fetchone()
        assert row is not None
        now: datetime = row[0]
        return now.astimezone(UTC)
