"""The execution port on real sources: connect, refuse the metadata database, run, keep or close."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeAlias

from pgsched.adapters.lookups import Lookups
from pgsched.adapters.source.catalog import TypesUnknown
from pgsched.adapters.source.connections import RootCertificates, connect, is_c_text
from pgsched.adapters.source.cursor import RowStream
from pgsched.adapters.source.faults import keeping_secret, lost, query_fault
from pgsched.adapters.source.inspection import report
from pgsched.adapters.source.pool import KEPT_S, KeptSessions
from pgsched.adapters.source.session import Command, CommandFailed, Defaults, Session, row_of
from pgsched.application.ports.execution import Keep, ResultStream, SourceAddress, SourceReport, Statement
from pgsched.domain.errors import InvalidInput, IsMetadata, PgschedError, SourceUnreachable

#: microseconds since 1970 when the metadata server started, as digits, and the name of its database
MetadataIdentity: TypeAlias = tuple[str, str]

#: milliseconds for looking a source over
_INSPECT_TIMEOUT_MS = 10_000
_IDENTITY = b"""SELECT (extract(epoch FROM pg_catalog.pg_postmaster_start_time()) * 1000000)::int8::text,
  pg_catalog.current_database(),
  (SELECT pg_catalog.count(DISTINCT c.relname) FROM pg_catalog.pg_class c
   WHERE c.relname IN ('query_run', 'query_run_blob', 'user_session') AND c.relkind IN ('r', 'p')
     AND (pg_catalog.pg_table_is_visible(c.oid)
          OR c.relnamespace = pg_catalog.to_regnamespace('public')::pg_catalog.oid)),
  pg_catalog.current_setting('search_path'),
  pg_catalog.version() OPERATOR(pg_catalog.~~) '%linux%'
    AND pg_catalog.current_setting('client_connection_check_interval', true) IS NOT NULL"""


class PsycopgSources:
    """Runs statements at Postgres sources over asyncio; see ``QuerySource`` of the execution port."""

    def __init__(
        self,
        *,
        metadata_identity: Callable[[], Awaitable[MetadataIdentity]] | None = None,
        kept_s: float = KEPT_S,
        most: int | None = None,
        lookups: Lookups | None = None,
    ) -> None:
        """Open nothing yet.

        ``metadata_identity`` says which server and database is pgsched's own; it is asked for each new
        connection. Without it pgsched's tables alone give the metadata database away. ``kept_s`` is how
        many seconds an idle connection is kept for the next run, ``most`` how many runs this process has at
        once: no more connections are open in all than that. ``lookups`` find the addresses of hosts.
        """
        self._metadata_identity = metadata_identity
        self._kept = KeptSessions(kept_s=kept_s, most=most)
        self._root = RootCertificates()
        self._lookups = Lookups() if lookups is None else lookups

    @contextlib.asynccontextmanager
    async def execute(
        self,
        address: SourceAddress,
        statement: Statement,
        *,
        keep: Keep | None = None,
        keep_s: float | None = None,
    ) -> AsyncIterator[ResultStream]:
        """Run one statement, fenced; see the port for what is promised and raised."""
        with keeping_secret(address):
            session, stream = await self._start(address, statement)
            try:
                yield stream
                # before the run ends, which frees its place at the source
                may_stay = keep is not None and not session.is_old and not stream.is_large
                if keep is not None and may_stay and await self._kept.has_place(address, keep):
                    self._kept.settle(
                        address, session, stream.settle, is_sent=stream.is_cleanup_sent, keep_s=keep_s
                    )
                    return
            except BaseException:
                await self._abandon(address, session)
                raise
            if not may_stay:
                self._kept.closed(address)
            await session.abandon()

    async def inspect(self, address: SourceAddress, *, allow_metadata: bool = False) -> SourceReport:
        """Look a source over; what fails is in the report."""
        try:
            session = Session(await connect(address, self._root, self._lookups))
        except PgschedError as error:
            return SourceReport(ok=False, error_code=error.code, error_detail=error.detail)
        try:
            with keeping_secret(address):
                return await self._report(session, address, allow_metadata=allow_metadata)
        except PgschedError as error:
            fault = error
        finally:
            await session.abandon()
        return SourceReport(ok=False, error_code=fault.code, error_detail=fault.detail)

    async def _report(
        self, session: Session, address: SourceAddress, *, allow_metadata: bool
    ) -> SourceReport:
        try:
            async with asyncio.timeout(_INSPECT_TIMEOUT_MS / 1000):
                await self._look(session)
                if not allow_metadata:
                    _refuse_metadata(session)
                return await report(session, address, timeout_ms=_INSPECT_TIMEOUT_MS)
        except TimeoutError:
            raise SourceUnreachable(f"no answer within {_INSPECT_TIMEOUT_MS} ms after the login") from None
        except CommandFailed as failed:
            raise query_fault(failed.result, prefix=0, timeout_ms=_INSPECT_TIMEOUT_MS, elapsed_ms=0) from None

    def kept(self) -> int:
        """Return how many idle connections are kept for the next run."""
        return len(self._kept)

    async def retire(self) -> None:
        """Close what is kept and keep no more, so that others have the places."""
        await self._kept.close()

    async def close(self) -> None:
        """Close the connections that were kept, and remove the files of root certificates."""
        await self._kept.close()
        self._root.close()

    async def _start(self, address: SourceAddress, statement: Statement) -> tuple[Session, RowStream]:
        """Open the statement's cursor, on a kept connection where one is still good."""
        if not is_c_text(statement.sql):
            raise InvalidInput("the SQL must be UTF-8 text without a NUL character")
        while True:
            session = await self._kept.take(address)
            if session is None:
                session = await self._open(address)
            try:
                if session.is_metadata is None:
                    await self._look(session)
                if not statement.allow_metadata:
                    _refuse_metadata(session)
                stream = RowStream(session, statement)
                await stream.open()
            except TypesUnknown:
                # the statement has other columns since it ran here; a new connection asks about them
                await self._abandon(address, session)
            except SourceUnreachable:
                # the server may have closed a kept connection in the meantime: that is no fault, and nothing
                # runs there that could be cancelled
                if not session.is_kept:
                    await self._abandon(address, session)
                    raise
                session.close()
                self._kept.closed(address)
            except BaseException:
                await self._abandon(address, session)
                raise
            else:
                return session, stream

    async def _open(self, address: SourceAddress) -> Session:
        self._kept.opened(address)
        try:
            return Session(await connect(address, self._root, self._lookups))
        except BaseException:
            self._kept.closed(address)
            raise

    async def _abandon(self, address: SourceAddress, session: Session) -> None:
        try:
            await session.abandon()
        finally:
            self._kept.closed(address)

    async def _look(self, session: Session) -> None:
        """Find out whether a new connection leads to pgsched's own metadata database, and its defaults."""
        try:
            async with asyncio.timeout(_INSPECT_TIMEOUT_MS / 1000):
                (result,) = await session.ask(Command(sql=_IDENTITY))
        except TimeoutError:
            raise lost("the source did not answer after the login") from None
        except CommandFailed as failed:
            raise query_fault(
                failed.result, prefix=1 << 62, timeout_ms=_INSPECT_TIMEOUT_MS, elapsed_ms=0
            ) from None
        started, dbname, tables, search_path, can_look = row_of(result, 5)
        session.defaults = Defaults(search_path=search_path, can_look_for_client=can_look == "t")
        own = None if self._metadata_identity is None else await self._metadata_identity()
        session.is_metadata = tables == "3" or (started, dbname) == own


def _refuse_metadata(session: Session) -> None:
    if session.is_metadata:
        raise IsMetadata(
            "this is pgsched's own metadata database; it is no source unless an admin sets allow_metadata"
        )
