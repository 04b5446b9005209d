"""The way to the metadata database: one pool of psycopg connections that outlives restarts of the server."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, Final

from psycopg import Error
from psycopg.errors import ReadOnlySqlTransaction
from psycopg.pq import TransactionStatus
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from pgsched.adapters.postgres.connections import (
    Connection,
    Told,
    connect_secluded,
    is_alive,
    options,
    pin,
    shut,
)
from pgsched.adapters.postgres.faults import fault_of, reason_of, unavailable, unreachable
from pgsched.adapters.postgres.pipeline import Pipeline
from pgsched.domain.errors import DatabaseUnavailable

#: seconds to wait for a connection while the server gives none
WAIT_S: Final = 2.0
#: seconds between two tries while the server gives none, so that its return is noticed soon
TRY_S: Final = 0.2
#: seconds to wait while others of this process use all connections there are
BUSY_S: Final = 20.0
_IDENTITY: Final = """
select (extract(epoch from pg_postmaster_start_time()) * 1000000)::int8::text, current_database()"""

#: the database whose transaction the running task is in, and its connection
_joined: ContextVar[tuple[Database, Told] | None] = ContextVar("_joined", default=None)


class Database:
    """One pool of autocommit connections, in UTC, that comes back by itself after the server did."""

    def __init__(
        self,
        conninfo: str,
        *,
        application_name: str,
        max_size: int = 10,
        plans_once: bool = False,
        is_secluded: bool = False,
    ) -> None:
        """Take where it is.

        ``plans_once`` is for few statements that run often and always alike. ``is_secluded`` keeps the PG*
        variables of this machine out, for a server of our own; for another they are a way to configure libpq.
        """
        self._pin = partial(pin, plans_once=plans_once)
        self._conninfo = conninfo
        self._application_name = application_name
        self._max_size = max_size
        self._is_secluded = is_secluded
        self._pool: AsyncConnectionPool[Told] | None = None
        #: connections in use by this process
        self._lent: set[Told] = set()
        #: why the last try to connect failed, None when it did not
        self._fault: Exception | None = None

    def __repr__(self) -> str:
        """Name the service, not the conninfo: it may hold a password."""
        return f"Database(application_name={self._application_name!r})"

    async def open(self) -> None:
        """Make the pool; does not fail when the server is down."""
        if self._pool is not None:
            return
        # Its warnings would be one for each try; whoever needs the database is told why it cannot have it.
        logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)
        self._pool = AsyncConnectionPool(
            self._conninfo,
            connection_class=Told,
            kwargs={**self._options(), "tell": self._note, "is_secluded": self._is_secluded},
            min_size=1,
            max_size=self._max_size,
            open=False,
            configure=self._pin,
            timeout=WAIT_S,
            # Given up at once and begun anew by whoever asks: the pool's own backoff grows to minutes.
            reconnect_timeout=TRY_S / 2,
            # so that tries that hang at a host that is gone do not keep others waiting
            num_workers=min(8, self._max_size),
        )
        await self._pool.open()

    async def close(self) -> None:
        """Close every connection."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close(timeout=1.0)

    @asynccontextmanager
    async def connection(self, *, within_s: float | None = None) -> AsyncIterator[Told]:
        """Lend a connection in autocommit mode; rows are tuples unless a cursor says otherwise.

        One that is not back ``within_s`` seconds is shut: its backend may be frozen, and would be waited for
        as long as its host answers for it.

        Raises:
            DatabaseUnavailable: none was to be had in time, or the server went away meanwhile.
            SchemaMismatch: a table or column is not there.
            DatabaseFault: the role lacks a right.
            psycopg.Error: what concerns one statement alone (constraints, values).
        """
        joined = _joined.get()
        borrowed: Told | None = None
        if joined is not None and joined[0] is self:
            connection = joined[1]
        else:
            connection = borrowed = await self._borrow()
        bound = within_s and asyncio.get_running_loop().call_later(within_s, shut, connection)
        try:
            yield connection
        except Error as error:
            if isinstance(error, ReadOnlySqlTransaction):
                # After a failover this server is the standby; a new connection may find the other one.
                await connection.close()
            fault = fault_of(error)
            if fault is None:
                raise
            raise fault from None
        finally:
            if bound:
                bound.cancel()
            if borrowed is not None:
                await self._give_back(borrowed)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Told]:
        """Lend a connection inside a transaction: committed at the end, rolled back by an exception.

        Raises as ``connection`` does.
        """
        async with self.connection() as connection:
            try:
                async with connection.transaction():
                    yield connection
            except BaseException:
                connection.forget_prepared()
                raise

    @asynccontextmanager
    async def begin(self, *, rights: bool = False) -> AsyncIterator[None]:
        """Let all that this task does with this database inside the block be one transaction.

        The port ``Transactions``. ``rights`` takes the row of access_epoch, which every change of rights
        writes to: taken first, such changes wait for each other instead of meeting half-way in a deadlock.
        """
        async with self.transaction() as connection:
            if rights:
                await connection.execute("select from access_epoch for update")
            before = _joined.set((self, connection))
            try:
                yield
            finally:
                _joined.reset(before)

    @asynccontextmanager
    async def pipeline(
        self, *, within_s: float | None = None, in_steps: bool = False
    ) -> AsyncIterator[Pipeline]:
        """Lend a connection for statements that go out together, in a transaction of their own.

        Each time that answers are waited for may last ``within_s`` seconds; ``in_steps`` that is more than
        once.

        Committed at the end; rolled back by an exception, which costs the connection.

        Raises as ``connection`` does.
        """
        async with self.connection() as connection, connection.lock:
            connection.pgconn.enter_pipeline_mode()
            pipeline = Pipeline(connection, within_s=within_s, in_steps=in_steps)
            try:
                yield pipeline
                await pipeline.end()
            finally:
                # answers that were not waited for would be taken for those of the next statement
                if pipeline.is_over:
                    connection.pgconn.exit_pipeline_mode()
                else:
                    connection.pgconn.finish()

    async def connect(self) -> Connection:
        """Open a connection outside the pool, for session state; the caller closes it.

        Raises:
            DatabaseUnavailable: the server gives none.
        """
        try:
            if self._is_secluded:
                connection = await connect_secluded(Connection, self._conninfo, **self._options())
            else:
                connection = await Connection.connect(self._conninfo, **self._options())
        except Error as error:
            raise fault_of(error) or unreachable(reason_of(error)) from None
        try:
            await self._pin(connection)
        except BaseException as error:
            await connection.close()
            if isinstance(error, Error):
                raise unreachable(reason_of(error)) from None
            raise
        return connection

    def abandon(self) -> None:
        """End whatever waits for the server now: it was not seen for too long.

        Every statement under way raises DatabaseUnavailable. Cancelling would first ask the server to cancel.
        """
        for connection in self._lent:
            shut(connection)

    async def identity(self) -> tuple[str, str]:
        """Return what tells this database from every other: its server's start and its name.

        The start in microseconds since 1970, as digits. Any role may read it, so a source that leads here can
        be told by it whatever host name was written.

        Raises as ``connection`` does.
        """
        async with self.connection() as connection:
            row = await (await connection.execute(_IDENTITY)).fetchone()
        assert row is not None
        return str(row[0]), str(row[1])

    def _options(self) -> dict[str, Any]:
        return options(self._conninfo, application_name=self._application_name)

    def _note(self, fault: Exception | None) -> None:
        self._fault = fault

    @property
    def _is_only_busy(self) -> bool:
        """Whether others at work will give a connection back; a server that refuses new ones will not."""
        return bool(self._lent) and self._fault is None

    async def _borrow(self) -> Told:
        """Take a connection that is alive out of the pool."""
        asked = time.monotonic()
        while True:
            if self._pool is None:
                raise unavailable("it is not open in this process")
            # To ask again makes the pool try again, at a server that may be back; who waits for others at
            # work keeps its place in the line.
            wait_s = WAIT_S if self._is_only_busy else TRY_S
            try:
                connection = await self._pool.getconn(wait_s)
            except PoolTimeout:
                if time.monotonic() - asked < (BUSY_S if self._is_only_busy else WAIT_S):
                    continue
                raise self._why() from None
            except PoolClosed:
                raise unavailable("it is not open in this process") from None
            self._lent.add(connection)
            try:
                if await is_alive(connection):
                    return connection
                # Found dead before anything was sent (the server was restarted): another one serves as well.
                await connection.close()
            except BaseException:
                await self._give_back(connection)
                raise
            await self._give_back(connection)

    async def _give_back(self, connection: Told) -> None:
        self._lent.discard(connection)
        if connection.pgconn.transaction_status != TransactionStatus.IDLE:
            # the pool rolls back, or gives it up
            connection.forget_prepared()
        if self._pool is None:
            await connection.close()
        else:
            await self._pool.putconn(connection)

    def _why(self) -> DatabaseUnavailable:
        if self._fault is not None:
            return unreachable(reason_of(self._fault))
        if self._lent:
            return unavailable(f"all connections of this process were busy for {BUSY_S:g} s")
        return unreachable(f"no connection within {WAIT_S:g} s")
