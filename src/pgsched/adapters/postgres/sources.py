"""The data sources on Postgres."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Final

from sqlalchemy import Label, delete, func, insert, select, update

from pgsched.adapters.postgres.database import Database
from pgsched.adapters.postgres.faults import violations
from pgsched.adapters.postgres.mapping import SOURCE, source_from
from pgsched.adapters.postgres.statements import first, labelled, next_version, one_by_key, rows, run
from pgsched.adapters.postgres.tables import data_source
from pgsched.adapters.postgres.workers import HINT
from pgsched.application.ports.repositories import Resealed
from pgsched.domain.errors import InUse, NameTaken, NotFound, Stale
from pgsched.domain.names import is_key
from pgsched.domain.sources import DataSource, NewSource

# Locked in the order in which claiming locks them, so that neither waits for the other for ever.
_RESEAL: Final = """
with change as materialized (
    select * from unnest(%(ids)s::bigint[], %(old)s::bytea[], %(old_versions)s::integer[],
        %(new)s::bytea[], %(algos)s::text[], %(versions)s::integer[])
        as c (id, old, old_version, new, algo, version)),
locked as materialized (
    select s.id from data_source s join change c on c.id = s.id
    where s.enc_password = c.old and s.key_version = c.old_version
    order by s.id for no key update of s)
update data_source s set enc_password = c.new, enc_algo = c.algo, key_version = c.version
from change c join locked l on l.id = c.id
where s.id = c.id and s.enc_password = c.old and s.key_version = c.old_version
returning s.id"""


class PostgresSources:
    """The port ``Sources`` over the metadata database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, source: NewSource) -> DataSource:
        """Store a source."""
        statement = insert(data_source).values(**_values(source)).returning(*_columns())
        with _violations(source):
            async with self._database.connection() as connection:
                row = await first(connection, statement)
        assert row is not None
        return source_from(row)

    async def get(self, key: str | int) -> DataSource:
        """Return the source of this name or id."""
        if is_key(key):
            column = data_source.c.id if isinstance(key, int) else data_source.c.name
            async with self._database.connection() as connection:
                row = await one_by_key(connection, _columns, column, key)
            if row is not None:
                return source_from(row)
        raise NotFound("data source", key)

    async def replace(self, source_id: int, source: NewSource) -> DataSource:
        """Put everything a person decides about a source anew."""
        if not is_key(source_id):
            raise NotFound("data source", source_id)
        statement = (
            update(data_source)
            .where(data_source.c.id == source_id)
            .values(**_values(source), updated_at=func.clock_timestamp())
            .returning(*_columns())
        )
        with _violations(source):
            async with self._database.connection() as connection:
                row = await first(connection, statement)
        if row is None:
            raise NotFound("data source", source_id)
        return source_from(row)

    async def change(self, before: DataSource, after: NewSource) -> DataSource:
        """Put everything a person decides about a source anew, if it is still as it was read."""
        held = data_source.c
        statement = (
            update(data_source)
            .where(
                held.id == before.id,
                held.updated_at == before.updated_at,
                held.enc_password.is_not_distinct_from(before.password and before.password.ciphertext),
            )
            .values(**_values(after), updated_at=next_version(held.updated_at))
            .returning(*_columns())
        )
        with _violations(after):
            async with self._database.transaction() as connection:
                row = await first(connection, statement)
                await connection.execute(HINT)
        if row is None:
            await self.get(before.id)
            raise Stale("data source")
        return source_from(row)

    async def remove(self, source_id: int) -> None:
        """Delete a source."""
        name = (await self.get(source_id)).name
        used = InUse(f"queries run at the data source {name}")
        with violations({"query_job_data_source_fkey": used}):
            async with self._database.connection() as connection:
                removed = await run(connection, delete(data_source).where(data_source.c.id == source_id))
        if not removed:
            raise NotFound("data source", source_id)

    async def all(self) -> Sequence[DataSource]:
        """Return every source, by name."""
        async with self._database.connection() as connection:
            found = await rows(connection, select(*_columns()).order_by(data_source.c.name.collate("C")))
        return [source_from(row) for row in found]

    async def reseal(self, changes: Sequence[Resealed]) -> frozenset[int]:
        """Put new envelopes in the place of old ones, each only where the old one still stands."""
        values = {
            "ids": [change.source_id for change in changes],
            "old": [change.old.ciphertext for change in changes],
            "old_versions": [change.old.key_version for change in changes],
            "new": [change.new.ciphertext for change in changes],
            "algos": [change.new.algo for change in changes],
            "versions": [change.new.key_version for change in changes],
        }
        async with self._database.connection() as connection:
            changed = await (await connection.execute(_RESEAL, values)).fetchall()
        return frozenset(row[0] for row in changed)


def _columns() -> list[Label[Any]]:
    return labelled(data_source, SOURCE, "s_")


def _values(source: NewSource) -> dict[str, object]:
    sealed = source.password
    return {
        "name": source.name,
        "host": source.host,
        "port": source.port,
        "dbname": source.dbname,
        "username": source.username,
        "enc_password": sealed and sealed.ciphertext,
        "enc_algo": sealed and sealed.algo,
        "key_version": sealed and sealed.key_version,
        "sslmode": source.sslmode.value,
        "sslrootcert": source.sslrootcert,
        "max_concurrency": source.max_concurrency,
        "max_cost": source.max_cost,
        "allow_user_functions": source.allow_user_functions,
        "allow_metadata": source.allow_metadata,
    }


def _violations(source: NewSource) -> AbstractContextManager[None]:
    return violations({"data_source_name_key": NameTaken("data source", source.name)})
