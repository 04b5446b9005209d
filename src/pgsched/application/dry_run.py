"""A dry run: a query's SQL at its source, a few rows of it, nothing stored."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from pgsched.application.ports.execution import DryRunPlaces, QuerySource, SqlGuard
from pgsched.application.ports.queue import KeptConnections
from pgsched.application.ports.repositories import Jobs, Sources
from pgsched.application.ports.secrets import PasswordVault
from pgsched.application.ports.timing import Clock
from pgsched.application.sources import address_of, open_password
from pgsched.application.statements import judge, statement_of
from pgsched.domain.audit import Actor
from pgsched.domain.errors import FieldFault, InvalidInput
from pgsched.domain.results import OnLimit

DEFAULT_LIMIT: Final = 100
MOST_ROWS: Final = 10_000
DEFAULT_TIMEOUT_MS: Final = 30_000
LONGEST_TIMEOUT_MS: Final = 300_000
#: bytes of encoded rows, whatever the query allows: a dry run is held in memory
MOST_BYTES: Final = 8 * 1024 * 1024
#: seconds for which a connection waits for the next dry run; somebody who writes a query tries it again soon
KEPT_S: Final = 10.0
#: seconds beyond its timeout after which a dry run is over whatever happens: connecting, cancelling, closing
_OVERHEAD_S: Final = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class DryResult:
    """What a dry run found."""

    #: rows found, at most the limit
    rows_returned: int
    #: milliseconds, connecting included
    duration_ms: int
    #: whether there was more
    truncated: bool
    #: ``{"schema":…,"data":…}`` as UTF-8 JSON
    result: bytes


class DryRun:
    """Runs a query's SQL as a worker would, bounded, and hands the rows back instead of storing them."""

    def __init__(
        self,
        jobs: Jobs,
        sources: Sources,
        vault: PasswordVault,
        guard: SqlGuard,
        at_source: QuerySource,
        places: DryRunPlaces,
        clock: Clock,
        kept: KeptConnections,
        keeper_id: int,
    ) -> None:
        """``keeper_id`` stands for this process where connections kept are noted: below 0, as no worker's."""
        self._jobs = jobs
        self._sources = sources
        self._vault = vault
        self._guard = guard
        self._at_source = at_source
        self._places = places
        self._clock = clock
        self._kept = kept
        self._keeper_id = keeper_id

    async def __call__(
        self,
        key: str | int,
        by: Actor,
        *,
        limit: int = DEFAULT_LIMIT,
        timeout_ms: int = DEFAULT_TIMEOUT_MS,
        params: str | None = None,
    ) -> DryResult:
        """Run the query of this name or id; cancelling the task cancels the statement at the source.

        ``params`` names a parameter set of the query; without it the first is taken.

        Raises:
            InvalidInput: ``limit`` or ``timeout_ms`` is out of bounds, or there is no such set.
            NotFound: there is no such query.
            TooManyRequests: as many as may be are under way.
            KeyFault: the source's password cannot be opened here.
            SqlNotAllowed: the guard refuses the statement by now.
            SourceFault: what the source did; the subclass says what.
        """
        check_bounds(limit, timeout_ms)
        job = await self._jobs.get(key)
        chosen = job.spec.set_called(params)
        source = await self._sources.get(job.spec.data_source_id)
        async with self._places.hold(by.name, source.id, for_s=timeout_ms / 1000 + _OVERHEAD_S):
            started = time.monotonic()
            password = await open_password(self._vault, source)
            spec = job.spec
            check = partial(self._guard.check, allow_user_functions=source.allow_user_functions)
            instead = await judge(partial(asyncio.to_thread, check), spec, params=chosen)
            statement = replace(
                statement_of(
                    spec,
                    source,
                    params=chosen,
                    scheduled_at=await self._clock.now(),
                    application_name=f"pgsched:test/{job.id}",
                    instead=instead,
                ),
                timeout_ms=timeout_ms,
                max_rows=limit,
                max_bytes=min(spec.max_bytes, MOST_BYTES),
                on_limit=OnLimit.TRUNCATE,
            )

            async def keep(connections: int, for_s: float) -> int:
                return await self._kept.note(self._keeper_id, source.id, connections, for_s=for_s)

            # the only place of a source is not kept from its runs
            may_keep = keep if source.max_concurrency > 1 else None
            address = address_of(source, password)
            async with self._at_source.execute(address, statement, keep=may_keep, keep_s=KEPT_S) as stream:
                rows = [batch.data async for batch in stream]
            data = b",".join(rows)
            return DryResult(
                rows_returned=stream.rows,
                duration_ms=round((time.monotonic() - started) * 1000),
                truncated=stream.truncated,
                result=b'{"schema":%b,"data":[%b]}' % (stream.table_schema(), data),
            )


def check_bounds(limit: int, timeout_ms: int) -> None:
    """Refuse bounds that are none.

    Raises:
        InvalidInput: with a fault for each.
    """
    bounds = (("limit", limit, MOST_ROWS), ("timeout_ms", timeout_ms, LONGEST_TIMEOUT_MS))
    faults = [
        FieldFault(field=name, message=f"must be a whole number from 1 to {most}")
        for name, value, most in bounds
        if not 1 <= value <= most
    ]
    if faults:
        raise InvalidInput.of(*faults)
