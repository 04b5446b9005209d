"""Throw-away servers and databases for tests, made with the product's own embedded server."""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import psycopg
from psycopg import sql

from pgsched.adapters.embedded.binaries import find_programs, in_wheel
from pgsched.adapters.embedded.cluster import EmbeddedCluster
from pgsched.adapters.embedded.connection import ConnectionInfo

#: prefix of the folders of throw-away servers
PREFIX = "pgsched-test-"
#: the role that owns pgsched's tables, as in production no superuser
APPLICATION = "pgsched"
#: the read-only role of source databases
READER = "reader"

numbers = count(1)


def run_loop(awaitable):
    """Run a coroutine to its end on a loop of its own, leaving pytest's loops alone."""
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(awaitable)
    finally:
        loop.close()


@dataclass(kw_only=True)
class Server:
    """A running throw-away server; user and password are the superuser's."""

    cluster: EmbeddedCluster
    admin: ConnectionInfo
    application: ConnectionInfo
    reader_password: str = field(default_factory=lambda: secrets.token_urlsafe(16), repr=False)
    _connection: psycopg.Connection | None = field(default=None, repr=False)
    _template: str | None = None

    @property
    def host(self) -> str:
        return self.admin.host

    @property
    def port(self) -> int:
        return self.admin.port

    @property
    def user(self) -> str:
        return self.admin.user

    @property
    def password(self) -> str:
        return self.admin.password

    @property
    def major(self) -> int:
        return self.cluster.programs.major

    def conninfo(self, dbname: str = "postgres") -> str:
        """The superuser's way in, as a libpq key=value string."""
        return psycopg.conninfo.make_conninfo(**self.admin.on(dbname).keywords())

    def url(self, dbname: str = "postgres") -> str:
        """The superuser's way in, as a URL."""
        return self.admin.on(dbname).dsn()

    def execute(self, statement, parameters=None, *, dbname: str | None = None) -> list[tuple]:
        """Run SQL as superuser, committed statement by statement; return the rows if there are any."""
        if dbname is not None:
            with psycopg.connect(self.conninfo(dbname), autocommit=True) as connection:
                return rows_of(connection.execute(statement, parameters))
        if self._connection is None or self._connection.closed or self._connection.broken:
            self._connection = psycopg.connect(self.conninfo(), autocommit=True)
        return rows_of(self._connection.execute(statement, parameters))

    def create(self, dbname: str, *, template: str | None = None, owner: str = APPLICATION) -> None:
        """Create a database, from a template if one is named."""
        self.execute(
            sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {}").format(
                sql.Identifier(dbname), sql.Identifier(owner), sql.Identifier(template or "template1")
            )
        )

    def drop(self, dbname: str) -> None:
        """Drop a database under whoever is connected to it."""
        self.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(dbname)))

    def close(self) -> None:
        """Close the kept connection."""
        if self._connection is not None:
            self._connection.close()


@dataclass(frozen=True, kw_only=True)
class Database:
    """A database of its own for one test, owned by the application's role."""

    server: Server
    dbname: str

    @property
    def _application(self) -> ConnectionInfo:
        return self.server.application.on(self.dbname)

    @property
    def url(self) -> str:
        """The application's way in (no superuser), as a URL."""
        return self._application.dsn()

    @property
    def conninfo(self) -> str:
        """The same as a libpq key=value string."""
        return psycopg.conninfo.make_conninfo(**self._application.keywords())

    @property
    def admin_url(self) -> str:
        """The superuser's way into this database, as a URL."""
        return self.server.url(self.dbname)

    @property
    def admin_conninfo(self) -> str:
        """The same as a libpq key=value string."""
        return self.server.conninfo(self.dbname)

    def execute(self, statement, parameters=None) -> list[tuple]:
        """Run SQL in this database as the application's role; return the rows if there are any."""
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            return rows_of(connection.execute(statement, parameters))


@dataclass(frozen=True, kw_only=True)
class SourceDatabase:
    """A source for queries: a database with a role that can log in and read, no more."""

    server: Server
    dbname: str
    username: str = READER

    @property
    def host(self) -> str:
        return self.server.host

    @property
    def port(self) -> int:
        return self.server.port

    @property
    def password(self) -> str:
        return self.server.reader_password

    @property
    def conninfo(self) -> str:
        """The reader's way in, as a libpq key=value string."""
        return psycopg.conninfo.make_conninfo(
            host=self.host,
            port=self.port,
            user=self.username,
            password=self.password,
            dbname=self.dbname,
        )

    @property
    def admin_conninfo(self) -> str:
        """The superuser's way into this database, as a libpq key=value string."""
        return self.server.conninfo(self.dbname)

    def execute(self, statement, parameters=None) -> list[tuple]:
        """Run set-up SQL as superuser (several statements at once when there are no parameters)."""
        return self.server.execute(statement, parameters, dbname=self.dbname)


def rows_of(cursor: psycopg.Cursor) -> list[tuple]:
    """The rows of the last statement, none when it has none."""
    return cursor.fetchall() if cursor.description is not None else []


def new_name(purpose: str) -> str:
    """A database name nobody else has."""
    return f"{purpose}_{os.getpid()}_{next(numbers)}"


@contextmanager
def throwaway(pg_bin: Path | None = None) -> Iterator[Server]:
    """Run a server for the time of the block, in memory where the machine has a RAM disk."""
    parent = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else Path(tempfile.gettempdir())
    remove_abandoned(parent)
    home = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=parent))
    cluster = EmbeddedCluster(
        home, pg_bin=pg_bin, durable=False, settings={"max_connections": "200", "shared_buffers": "64MB"}
    )
    try:
        application = run_loop(cluster.start())
        server = Server(cluster=cluster, admin=cluster.superuser, application=application)
        server.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(
                sql.Identifier(READER), sql.Literal(server.reader_password)
            )
        )
        try:
            yield server
        finally:
            server.close()
    finally:
        run_loop(cluster.stop())
        shutil.rmtree(home, ignore_errors=True)


def remove_abandoned(parent: Path) -> None:
    """Remove the folders of test sessions that were killed: their process is gone, nobody holds the lock.

    The lock alone says nothing: a test may stop its server for a while.
    """
    for lock in parent.glob(f"{PREFIX}*/postgres/lock"):
        session = lock.parent.parent.name.removeprefix(PREFIX).partition("-")[0]
        if session.isdigit() and Path(f"/proc/{session}").exists():
            continue
        with suppress(OSError), lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock.parent.parent, ignore_errors=True)


@contextmanager
def fresh_database(
    server: Server, *, template: str | None = None, purpose: str = "test"
) -> Iterator[Database]:
    """A database for the time of the block."""
    dbname = new_name(purpose)
    server.create(dbname, template=template)
    try:
        yield Database(server=server, dbname=dbname)
    finally:
        server.drop(dbname)


def template_of(server: Server) -> str:
    """The name of the server's template database with all migrations applied, made on first use."""
    if server._template is None:
        from pgsched.adapters.postgres.schema import upgrade

        dbname = new_name("template")
        server.create(dbname)
        run_loop(upgrade(Database(server=server, dbname=dbname).conninfo))
        server._template = dbname
    return server._template


@contextmanager
def fresh_source(server: Server) -> Iterator[SourceDatabase]:
    """A source database for the time of the block; what the superuser creates in it, the reader reads."""
    dbname = new_name("source")
    server.create(dbname, owner=server.user)
    reader = sql.Identifier(READER)
    try:
        source = SourceDatabase(server=server, dbname=dbname)
        source.execute(
            sql.SQL(
                "GRANT CONNECT ON DATABASE {db} TO {reader}; GRANT USAGE ON SCHEMA public TO {reader};"
                "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO {reader};"
                "ALTER DEFAULT PRIVILEGES GRANT USAGE ON SCHEMAS TO {reader}"
            ).format(db=sql.Identifier(dbname), reader=reader)
        )
        yield source
    finally:
        server.drop(dbname)


def all_bins() -> dict[str, Path]:
    """Every set of programs to test on, by a name for the test's id."""
    folders = [find_programs().bindir, *in_wheel()]
    folders += [Path(entry) for entry in os.environ.get("PGSCHED_TEST_PG_BINS", "").split(":") if entry]
    found: dict[str, Path] = {}
    for folder in folders:
        programs = find_programs(folder)
        found.setdefault(f"pg{programs.major}", folder)
    return found
