"""The schema of the metadata database: numbered SQL files, each applied once, in its own transaction."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final

from psycopg import AsyncConnection, Error, sql

from pgsched.adapters.postgres.database import Database
from pgsched.adapters.postgres.faults import fault_of, reason_of
from pgsched.domain.errors import DatabaseFault, SchemaMismatch

#: version this program is made for: the newest migration's
EXPECTED: Final = 14
#: oldest server, as in server_version_num
OLDEST_SERVER: Final = 150_000
#: seconds to wait for another upgrade that is on its way
_WAIT_FOR_OTHERS_S: Final = 120
#: seconds to wait for a table that running services use
_WAIT_FOR_TABLES_S: Final = 10
#: "pgsched" on a telephone's keys: the advisory lock that one upgrade holds at a time
_LOCK: Final = 7472433

_TABLE: Final = """\
create table schema_migration (
    version integer constraint schema_migration_pkey primary key,
    name text not null,
    applied_at timestamptz not null default clock_timestamp()
);
"""
_IS_THERE: Final = "select to_regclass('schema_migration') is not null"
_VERSION: Final = "select coalesce(max(version), 0) from schema_migration"


@dataclass(frozen=True, kw_only=True, slots=True)
class Migration:
    """One step of the schema."""

    #: from 1, without gaps
    version: int
    #: what it is about, from the file's name
    name: str
    #: its statements
    text: str


@lru_cache(maxsize=1)
def migrations() -> tuple[Migration, ...]:
    """Read the steps that come with the program, in their order."""
    found = []
    for entry in files("pgsched.adapters.postgres").joinpath("migrations").iterdir():
        match = re.fullmatch(r"(\d{4})_([a-z0-9_]+)\.sql", entry.name)
        if match:
            found.append(
                Migration(version=int(match[1]), name=match[2], text=entry.read_text("utf-8").strip() + "\n")
            )
    return tuple(sorted(found, key=lambda migration: migration.version))


async def upgrade(conninfo: str, *, is_secluded: bool = False) -> list[int]:
    """Apply what is missing and return the versions that this call applied, none when all was there.

    Two upgrades at once wait for each other, and each step is there once; a step that fails leaves nothing.
    ``is_secluded`` as for ``Database``.

    Raises:
        DatabaseUnavailable: the database cannot be reached, or a table stays in use.
        SchemaMismatch: the database is newer than this program, or its server older than Postgres 15.
        DatabaseFault: the role lacks a right, or a step does not fit what is there.
    """
    connection = await _connect(conninfo, is_secluded)
    async with connection:
        if connection.info.server_version < OLDEST_SERVER:
            version = connection.info.server_version // 10_000
            raise SchemaMismatch(f"the metadata database is Postgres {version}; 15 or later is needed")
        applied = []
        for migration in migrations():
            try:
                if await _apply(connection, migration):
                    applied.append(migration.version)
            except Error as error:
                message = f"migration {migration.version} ({migration.name}) failed: {reason_of(error)}"
                raise fault_of(error) or DatabaseFault(message) from None
        return applied


async def pending(conninfo: str, *, is_secluded: bool = False) -> list[Migration]:
    """Return the steps that an upgrade would apply, in their order; changes nothing.

    Raises:
        DatabaseUnavailable: the database cannot be reached.
        SchemaMismatch: the database is newer than this program.
    """
    there = await current(conninfo, is_secluded=is_secluded)
    if there > EXPECTED:
        raise _newer(there)
    return [migration for migration in migrations() if migration.version > there]


def _newer(there: int) -> SchemaMismatch:
    return SchemaMismatch(
        f"the metadata database has schema version {there}, this pgsched knows {EXPECTED}; "
        "upgrade pgsched on this machine"
    )


async def current(conninfo: str, *, is_secluded: bool = False) -> int:
    """Return the version of the schema that is there, 0 for none.

    Raises:
        DatabaseUnavailable: the database cannot be reached.
    """
    connection = await _connect(conninfo, is_secluded)
    async with connection:
        try:
            return await version_of(connection)
        except Error as error:
            raise fault_of(error) or DatabaseFault(reason_of(error)) from None


async def version_of(connection: AsyncConnection[Any]) -> int:
    """Return the version of the schema that a connection sees, 0 for none."""
    return int(await _value(connection, _VERSION)) if await _value(connection, _IS_THERE) else 0


def printed() -> str:
    """Return the whole schema as SQL for an empty database: one transaction, all or nothing."""
    parts = [f"-- pgsched's schema, version {EXPECTED}; for an empty database\n", "begin;\n", _TABLE]
    for migration in migrations():
        step = f"{migration.version}, '{migration.name}'"
        parts += [
            f"-- migration {migration.version}: {migration.name}\n{migration.text}",
            f"insert into schema_migration (version, name) values ({step});\n",
        ]
    return "\n".join([*parts, "commit;\n"])


async def _connect(conninfo: str, is_secluded: bool) -> AsyncConnection[Any]:
    return await Database(conninfo, application_name="pgsched-db", is_secluded=is_secluded).connect()


async def _apply(connection: AsyncConnection[Any], migration: Migration) -> bool:
    """Apply one step unless it is there; the lock ends with the transaction, behind a pooler too."""
    async with connection.transaction():
        # A step may take as long as it takes; waiting for locks has a bound of its own.
        await connection.execute("select set_config('statement_timeout', '0', true)")
        await _wait_at_most(connection, _WAIT_FOR_OTHERS_S)
        await connection.execute("select pg_advisory_xact_lock(%s)", [_LOCK])
        await _wait_at_most(connection, _WAIT_FOR_TABLES_S)
        if not await _value(connection, _IS_THERE):
            await connection.execute(_TABLE)
        there = int(await _value(connection, _VERSION))
        if there > EXPECTED:
            raise _newer(there)
        if there >= migration.version:
            return False
        # Without parameters the simple protocol takes a whole file of statements.
        await connection.execute(sql.SQL(migration.text))  # a file of this package
        await connection.execute(
            "insert into schema_migration (version, name) values (%s, %s)",
            [migration.version, migration.name],
        )
        return True


async def _wait_at_most(connection: AsyncConnection[Any], seconds: int) -> None:
    await connection.execute("select set_config('lock_timeout', %s, true)", [f"{seconds}s"])


async def _value(connection: AsyncConnection[Any], statement: Any) -> Any:
    row = await (await connection.execute(statement)).fetchone()
    assert row is not None
    return row[0]
