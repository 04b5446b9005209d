"""The roles and the database pgsched needs on its embedded server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgsched.adapters.embedded import home as homes
from pgsched.adapters.embedded.connection import ConnectionInfo
from pgsched.domain.errors import EmbeddedFault

if TYPE_CHECKING:
    import psycopg

#: the role that owns pgsched's tables, and its database
APPLICATION = "pgsched"
#: databases that nobody enters without being granted it
CLOSED = (APPLICATION, "postgres", "template1")


async def provision(superuser: ConnectionInfo, layout: homes.Layout) -> ConnectionInfo:
    """See that role and database are there and the kept password opens them; return that way in.

    Does only what is missing, so a start that was killed half-way is finished by the next. The password
    file is written last: whoever finds one finds a database that is ready.

    Raises EmbeddedFault.
    """
    import psycopg

    kept = homes.read_secret(layout.application_password)
    application = ConnectionInfo(
        host=superuser.host,
        port=superuser.port,
        user=APPLICATION,
        password=kept or homes.new_secret(),
        dbname=APPLICATION,
    )
    if kept is not None and await opens(application):
        return application
    try:
        async with await _connected(superuser) as connection:
            await create(connection, application.password)
        if kept is None:
            homes.write_private(layout.application_password, application.password)
    except (psycopg.Error, OSError) as error:
        raise EmbeddedFault(f"the embedded database could not be set up: {error}") from None
    if not await opens(application):
        raise EmbeddedFault(f"the embedded server turns down the role {APPLICATION}; see {layout.log}")
    return application


async def opens(application: ConnectionInfo) -> bool:
    """Return whether the role can open its database with its password."""
    import psycopg

    try:
        async with await _connected(application):
            return True
    except psycopg.OperationalError:
        return False


async def _connected(role: ConnectionInfo) -> psycopg.AsyncConnection[tuple[object, ...]]:
    import psycopg

    from pgsched.adapters import secluded

    connection = await secluded.connect(psycopg.AsyncConnection, role.dsn(), within_s=10)
    await connection.set_autocommit(True)
    return connection


async def create(connection: psycopg.AsyncConnection[tuple[object, ...]], password: str) -> None:
    """Create what is missing, and set the password; the connection commits by itself."""
    from psycopg import sql

    name = sql.Identifier(APPLICATION)
    # Hashed on this side: neither the server's log nor pg_stat_activity ever sees the password.
    verifier = connection.pgconn.encrypt_password(password.encode(), APPLICATION.encode(), b"scram-sha-256")
    present = await connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [APPLICATION])
    if await present.fetchone() is None:
        await connection.execute(sql.SQL("CREATE ROLE {}").format(name))
    await connection.execute(
        sql.SQL("ALTER ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD {}").format(
            name, sql.Literal(verifier.decode())
        )
    )
    present = await connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [APPLICATION])
    if await present.fetchone() is None:
        await connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(name, name))
    for dbname in CLOSED:
        await connection.execute(
            sql.SQL("REVOKE CONNECT, TEMPORARY ON DATABASE {} FROM PUBLIC").format(sql.Identifier(dbname))
        )
