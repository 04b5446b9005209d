"""Builds the adapters that keep things in the metadata database; each is imported when it is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pgsched.entrypoints.parts.choices import metadata

if TYPE_CHECKING:
    from pgsched.adapters.postgres.database import Database
    from pgsched.application.ports.access import Credentials, LoginFailures, Sessions, Tokens
    from pgsched.application.ports.audit import Audit, Transactions
    from pgsched.application.ports.execution import DryRunPlaces
    from pgsched.application.ports.grants import Grants
    from pgsched.application.ports.queue import KeptConnections, RunQueue, Workers
    from pgsched.application.ports.repositories import Accounts, Jobs, Sources
    from pgsched.application.ports.timing import Clock
    from pgsched.application.ports.upkeep import Retention, RunTally
    from pgsched.application.ports.watch import Watch
    from pgsched.application.watching import Watching
    from pgsched.config import Settings


def database(settings: Settings, service: str, pool_size: int) -> Database:
    from pgsched.adapters.postgres.database import Database

    place = metadata(settings)
    return Database(
        place.conninfo,
        is_secluded=place.is_embedded,
        application_name=settings.app_name_for(service),
        max_size=pool_size,
        plans_once=service == "worker",
    )


def sources(database: Database) -> Sources:
    from pgsched.adapters.postgres.sources import PostgresSources

    return PostgresSources(database)


def jobs(database: Database) -> Jobs:
    from pgsched.adapters.postgres.jobs import PostgresJobs

    return PostgresJobs(database)


def accounts(database: Database) -> Accounts:
    from pgsched.adapters.postgres.accounts import PostgresAccounts

    return PostgresAccounts(database)


def grants(database: Database) -> Grants:
    from pgsched.adapters.postgres.grants import PostgresGrants

    return PostgresGrants(database)


def transactions(database: Database) -> Transactions:
    return database


def audit(database: Database) -> Audit:
    from pgsched.adapters.postgres.audit import PostgresAudit

    return PostgresAudit(database)


def queue(database: Database) -> RunQueue:
    from pgsched.adapters.postgres.runs import PostgresRunQueue

    return PostgresRunQueue(database)


def kept(database: Database) -> KeptConnections:
    from pgsched.adapters.postgres.kept import PostgresKeptConnections

    return PostgresKeptConnections(database)


def workers(database: Database) -> Workers:
    from pgsched.adapters.postgres.workers import PostgresWorkers

    return PostgresWorkers(database)


def clock(database: Database) -> Clock:
    from pgsched.adapters.postgres.clock import PostgresClock

    return PostgresClock(database)


def tally(database: Database) -> RunTally:
    from pgsched.adapters.postgres.tally import PostgresRunTally

    return PostgresRunTally(database)


def retention(database: Database) -> Retention:
    from pgsched.adapters.postgres.retention import PostgresRetention

    return PostgresRetention(database)


def watch(database: Database) -> Watch:
    from pgsched.adapters.postgres.watch import PostgresWatch

    return PostgresWatch(database)


def watching(watch: Watch, database: Database) -> Watching:
    from pgsched.application.watching import Watching

    return Watching(watch, lost=database.abandon)


def credentials(database: Database) -> Credentials:
    from pgsched.adapters.postgres.sessions import PostgresCredentials

    return PostgresCredentials(database)


def sessions(database: Database) -> Sessions:
    from pgsched.adapters.postgres.sessions import PostgresSessions

    return PostgresSessions(database)


def tokens(database: Database) -> Tokens:
    from pgsched.adapters.postgres.tokens import PostgresTokens

    return PostgresTokens(database)


def login_failures(database: Database) -> LoginFailures:
    from pgsched.adapters.postgres.login_failures import PostgresLoginFailures

    return PostgresLoginFailures(database)


def dry_runs(database: Database) -> DryRunPlaces:
    from pgsched.adapters.postgres.dry_runs import PostgresDryRunPlaces

    return PostgresDryRunPlaces(database)
