"""Builds what runs statements at the sources: guard, connections, alarms, chores of a worker."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgsched.adapters.postgres.database import Database
    from pgsched.application.housekeeping import Housekeeping
    from pgsched.application.ports.access import Sessions
    from pgsched.application.ports.execution import QuerySource, SqlGuard
    from pgsched.application.ports.queue import WorkerInfo
    from pgsched.application.ports.timing import Alarms, Clock
    from pgsched.application.ports.upkeep import Retention, RunTally
    from pgsched.domain.retention import Limits


#: closes something that was opened on first use
Close = Callable[[], Awaitable[None]]


def guard() -> SqlGuard:
    from pgsched.adapters.guard.grammar import PostgresGrammarGuard

    return PostgresGrammarGuard()


def at_source(database: Database, closers: list[Close], concurrency: int) -> QuerySource:
    from pgsched.adapters.source.sources import PsycopgSources

    at_source = PsycopgSources(metadata_identity=database.identity, most=concurrency)
    closers.append(at_source.close)
    return at_source


def alarms() -> Alarms:
    from pgsched.adapters.alarms.apscheduler import APSchedulerAlarms

    return APSchedulerAlarms()


def housekeeping(
    tally: RunTally,
    retention: Retention,
    limits: Limits,
    sessions: Sessions,
    clock: Clock,
    audit_keep_days: int | None,
) -> Housekeeping:
    from pgsched.application.housekeeping import (
        DeleteOldEvents,
        DeleteOldRuns,
        ForgetEndedSessions,
        Housekeeping,
        chores,
    )

    return Housekeeping(
        chores(
            tally,
            DeleteOldRuns(retention, limits),
            ForgetEndedSessions(sessions, clock),
            DeleteOldEvents(retention, audit_keep_days),
        )
    )


def worker_figures(at_source: QuerySource) -> Callable[[], dict[str, float]]:
    """Return what a worker tells of its process with each sign of life."""
    from pgsched.adapters.logs.failures import lost_records

    return lambda: {"source_connections": at_source.kept(), "log_errors": lost_records()}


def worker_info(concurrency: int) -> WorkerInfo:
    import socket

    from pgsched import __version__
    from pgsched.application.ports.queue import WorkerInfo

    return WorkerInfo(
        host=socket.gethostname(), pid=os.getpid(), version=__version__, concurrency=concurrency
    )


def keeper_id() -> int:
    """Return what stands for this process where its dry runs' connections are noted; no worker is below 0."""
    import secrets

    return -1 - secrets.randbelow(2**31 - 1)
