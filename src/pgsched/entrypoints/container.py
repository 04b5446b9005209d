"""The composition root: the one place that joins ports and adapters, and the only one that reads settings.

Entry points ask it for a use-case or a view and get it with everything inside. Tests build the same container
and override its adapters. Adapters are imported when they are first built, so that a command pays only for
what it uses.
"""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dependency_injector import containers, providers

from pgsched import config
from pgsched.config import Settings
from pgsched.domain.errors import SettingFault

if TYPE_CHECKING:
    from pgsched.adapters.logs.access import BatchedAccessLog
    from pgsched.adapters.postgres.database import Database
    from pgsched.application.accounts import AddAccount, ChangeAccount, DeleteAccount, SetPassword
    from pgsched.application.authentication import Authenticate
    from pgsched.application.dry_run import DryRun, DryRunSlots
    from pgsched.application.grants import ChangeGrants
    from pgsched.application.hashing import BoundedHashing
    from pgsched.application.housekeeping import Housekeeping
    from pgsched.application.job_judge import JobJudge
    from pgsched.application.jobs import AddJob, CancelRun, ChangeJob, RequestRun
    from pgsched.application.keys import RotateKeys
    from pgsched.application.ledger import ExplainInstants
    from pgsched.application.login import CheckPassword, EndSession, LogIn
    from pgsched.application.ports.access import Credentials, LoginFailures, Sessions, Tokens
    from pgsched.application.ports.audit import Audit, Transactions
    from pgsched.application.ports.execution import QuerySource, SqlGuard
    from pgsched.application.ports.grants import Grants
    from pgsched.application.ports.ledger import LedgerView
    from pgsched.application.ports.queue import KeptConnections, RunQueue, WorkerInfo, Workers
    from pgsched.application.ports.repositories import Accounts, Jobs, Sources
    from pgsched.application.ports.secrets import KeyRings, PasswordHasher, PasswordVault
    from pgsched.application.ports.timing import Alarms, Clock
    from pgsched.application.ports.upkeep import FiguresView, Retention, RunTally
    from pgsched.application.ports.views import HealthView, QueryView, RunView
    from pgsched.application.ports.watch import Watch
    from pgsched.application.removal import RemoveJob, RemoveSource
    from pgsched.application.run_job import RunJob
    from pgsched.application.sources import AddSource, ChangeSource, InspectSource
    from pgsched.application.tokens import AddToken, DeleteToken
    from pgsched.application.watching import Watching
    from pgsched.application.work import Worker
    from pgsched.domain.retention import Limits
    from pgsched.domain.sessions import SessionRules
    from pgsched.entrypoints.http.metrics import Meter

#: closes something that was opened on first use
Close = Callable[[], Awaitable[None]]

#: file under PGSCHED_HOME/keys that `pgsched up` keeps the pepper in, one base64 line
PEPPER_FILE = "argon2_secret.base64"


def load_settings() -> Settings:
    """Read the settings of this process: its environment and ``.env`` in its working directory.

    Raises:
        SettingFault: with one line that names the variable, the fault and the fix.
    """
    return config.load(os.environ, Path.cwd())


def metadata_conninfo(settings: Settings | None = None) -> str:
    """Return the libpq string of the metadata database: PG_DSN_APP, else the embedded server's.

    Raises:
        EmbeddedFault: PG_DSN_APP is unset and no embedded server runs here.
    """
    settings = settings or load_settings()
    if settings.pg_dsn_app is not None:
        return settings.pg_dsn_app
    from pgsched.adapters.embedded.attach import attach

    return attach(settings.pgsched_home).dsn()


def _database(settings: Settings, service: str, pool_size: int) -> Database:
    from pgsched.adapters.postgres.database import Database

    return Database(
        metadata_conninfo(settings), application_name=settings.app_name_for(service), max_size=pool_size
    )


def _sources(database: Database) -> Sources:
    from pgsched.adapters.postgres.sources import PostgresSources

    return PostgresSources(database)


def _jobs(database: Database) -> Jobs:
    from pgsched.adapters.postgres.jobs import PostgresJobs

    return PostgresJobs(database)


def _accounts(database: Database) -> Accounts:
    from pgsched.adapters.postgres.accounts import PostgresAccounts

    return PostgresAccounts(database)


def _grants(database: Database) -> Grants:
    from pgsched.adapters.postgres.grants import PostgresGrants

    return PostgresGrants(database)


def _transactions(database: Database) -> Transactions:
    return database


def _credentials(database: Database) -> Credentials:
    from pgsched.adapters.postgres.sessions import PostgresCredentials

    return PostgresCredentials(database)


def _sessions(database: Database) -> Sessions:
    from pgsched.adapters.postgres.sessions import PostgresSessions

    return PostgresSessions(database)


def _tokens(database: Database) -> Tokens:
    from pgsched.adapters.postgres.tokens import PostgresTokens

    return PostgresTokens(database)


def _login_failures(database: Database) -> LoginFailures:
    from pgsched.adapters.postgres.login_failures import PostgresLoginFailures

    return PostgresLoginFailures(database)


def _session_rules(settings: Settings) -> SessionRules:
    from pgsched.domain.sessions import SessionRules

    return SessionRules(
        ttl=timedelta(hours=settings.session_ttl_hours),
        extend_within=timedelta(minutes=settings.session_extend_on_use_min),
        longest=timedelta(hours=settings.session_max_hours),
    )


def _public_read(settings: Settings) -> bool:
    return settings.public_read


def _audit(database: Database) -> Audit:
    from pgsched.adapters.postgres.audit import PostgresAudit

    return PostgresAudit(database)


def _queue(database: Database) -> RunQueue:
    from pgsched.adapters.postgres.runs import PostgresRunQueue

    return PostgresRunQueue(database)


def _kept(database: Database) -> KeptConnections:
    from pgsched.adapters.postgres.kept import PostgresKeptConnections

    return PostgresKeptConnections(database)


def _workers(database: Database) -> Workers:
    from pgsched.adapters.postgres.workers import PostgresWorkers

    return PostgresWorkers(database)


def _clock(database: Database) -> Clock:
    from pgsched.adapters.postgres.clock import PostgresClock

    return PostgresClock(database)


def _query_view(database: Database) -> QueryView:
    from pgsched.adapters.postgres.views import PostgresQueryView

    return PostgresQueryView(database)


def _run_view(database: Database) -> RunView:
    from pgsched.adapters.postgres.views import PostgresRunView

    return PostgresRunView(database)


def _health_view(database: Database) -> HealthView:
    from pgsched.adapters.postgres.health import PostgresHealth

    return PostgresHealth(database)


def _figures_view(database: Database) -> FiguresView:
    from pgsched.adapters.postgres.figures import PostgresFigures

    return PostgresFigures(database)


def _tally(database: Database) -> RunTally:
    from pgsched.adapters.postgres.tally import PostgresRunTally

    return PostgresRunTally(database)


def _retention(database: Database) -> Retention:
    from pgsched.adapters.postgres.retention import PostgresRetention

    return PostgresRetention(database)


def _default_limits(settings: Settings) -> Limits:
    from pgsched.domain.retention import Limits

    return Limits(keep_runs=settings.default_keep_runs, keep_days=settings.default_keep_days)


def _meter() -> Meter:
    from pgsched import __version__
    from pgsched.adapters.logs.failures import lost_records
    from pgsched.adapters.metrics.process import ProcessMetrics

    return ProcessMetrics(__version__, lost_records=lost_records)


def _housekeeping(tally: RunTally, retention: Retention, limits: Limits) -> Housekeeping:
    from pgsched.application.housekeeping import DeleteOldRuns, Housekeeping, chores

    return Housekeeping(chores(tally, DeleteOldRuns(retention, limits)))


def _worker_figures(at_source: QuerySource) -> Callable[[], dict[str, float]]:
    """Return what a worker tells of its process with each sign of life."""
    from pgsched.adapters.logs.failures import lost_records

    return lambda: {"source_connections": at_source.kept(), "log_errors": lost_records()}


def _ledger_view(database: Database) -> LedgerView:
    from pgsched.adapters.postgres.ledger import PostgresLedger

    return PostgresLedger(database)


def _access_log() -> BatchedAccessLog:
    from pgsched.adapters.logs.access import BatchedAccessLog

    return BatchedAccessLog()


def _watch(database: Database) -> Watch:
    from pgsched.adapters.postgres.watch import PostgresWatch

    return PostgresWatch(database)


def _watching(watch: Watch, database: Database) -> Watching:
    from pgsched.application.watching import Watching

    return Watching(watch, lost=database.abandon)


def _vault(settings: Settings) -> PasswordVault:
    from pgsched.adapters.crypto.vault import SealedBoxVault

    paths = settings.key_paths()
    # A public key that nobody named and that is not there is told when something is to be sealed.
    there = os.path.exists(paths.public)  # noqa: PTH110 (False in a closed folder)
    named = settings.public_key_b64_path is not None or there
    return SealedBoxVault.load(public=paths.public if named else None, private=paths.private)


def _key_rings(settings: Settings) -> KeyRings:
    from pgsched.adapters.crypto.rings import KeyFileRings

    paths = settings.key_paths()
    return KeyFileRings(public=paths.public, private=paths.private)


def pepper_of(settings: Settings) -> bytes:
    """Return the pepper: ARGON2_SECRET_KEY_B64, else the one that ``pgsched up`` made.

    Raises:
        SettingFault: there is none, or it is damaged.
    """
    if settings.pepper is not None:
        return settings.pepper
    path = settings.keys_dir / PEPPER_FILE
    try:
        text = path.read_text("ascii").strip()
    except (FileNotFoundError, NotADirectoryError):
        raise SettingFault(
            "ARGON2_SECRET_KEY_B64",
            "is not set; passwords need it. Make one with: head -c 32 /dev/urandom | base64",
        ) from None
    except (OSError, UnicodeError) as error:
        raise SettingFault(
            "ARGON2_SECRET_KEY_B64", f"{path} cannot be read ({type(error).__name__})"
        ) from None
    return config.decode_pepper(text)


def _hasher(settings: Settings) -> PasswordHasher:
    from pgsched.adapters.crypto.passwords import Argon2Passwords

    return Argon2Passwords(pepper_of(settings))


def _guard() -> SqlGuard:
    from pgsched.adapters.guard.grammar import PostgresGrammarGuard

    return PostgresGrammarGuard()


def _at_source(database: Database, closers: list[Close], concurrency: int) -> QuerySource:
    from pgsched.adapters.source.sources import PsycopgSources

    at_source = PsycopgSources(metadata_identity=database.identity, most=concurrency)
    closers.append(at_source.close)
    return at_source


def _alarms() -> Alarms:
    from pgsched.adapters.alarms.apscheduler import APSchedulerAlarms

    return APSchedulerAlarms()


def _use_case(module: str, name: str) -> Callable[..., Any]:
    """Return a builder that imports the use-case when it is first asked for."""

    def build(*parts: object, **named: object) -> Any:
        from importlib import import_module

        return getattr(import_module(f"pgsched.application.{module}"), name)(*parts, **named)

    return build


def _worker_info(concurrency: int) -> WorkerInfo:
    import socket

    from pgsched import __version__
    from pgsched.application.ports.queue import WorkerInfo

    return WorkerInfo(
        host=socket.gethostname(), pid=os.getpid(), version=__version__, concurrency=concurrency
    )


class Container(containers.DeclarativeContainer):
    """Everything by its port's name."""

    settings: providers.Provider[Settings] = providers.Singleton(load_settings)
    #: name of the service, for application_name and logs
    service: providers.Provider[str] = providers.Object("cli")
    #: most connections to the metadata database
    pool_size: providers.Provider[int] = providers.Object(4)
    #: runs at once of a worker
    concurrency: providers.Provider[int] = providers.Object(32)

    #: what the singletons opened on first use
    closers: providers.Provider[list[Close]] = providers.Singleton(list)
    database = providers.Singleton(_database, settings, service, pool_size)
    sources = providers.Singleton(_sources, database)
    jobs = providers.Singleton(_jobs, database)
    accounts = providers.Singleton(_accounts, database)
    grants = providers.Singleton(_grants, database)
    transactions = providers.Singleton(_transactions, database)
    audit = providers.Singleton(_audit, database)
    credentials = providers.Singleton(_credentials, database)
    sessions = providers.Singleton(_sessions, database)
    tokens = providers.Singleton(_tokens, database)
    login_failures = providers.Singleton(_login_failures, database)
    session_rules = providers.Singleton(_session_rules, settings)
    queue = providers.Singleton(_queue, database)
    workers = providers.Singleton(_workers, database)
    kept = providers.Singleton(_kept, database)
    clock = providers.Singleton(_clock, database)
    query_view = providers.Singleton(_query_view, database)
    run_view = providers.Singleton(_run_view, database)
    health_view = providers.Singleton(_health_view, database)
    ledger_view = providers.Singleton(_ledger_view, database)
    figures_view = providers.Singleton(_figures_view, database)
    tally = providers.Singleton(_tally, database)
    retention = providers.Singleton(_retention, database)
    meter = providers.Singleton(_meter)
    access_log = providers.Singleton(_access_log)
    watch = providers.Singleton(_watch, database)
    watching = providers.Singleton(_watching, watch, database)
    vault = providers.Singleton(_vault, settings)
    key_rings = providers.Singleton(_key_rings, settings)
    hasher = providers.Singleton(_hasher, settings)
    guard = providers.Singleton(_guard)
    at_source = providers.Singleton(_at_source, database, closers, concurrency)
    alarms = providers.Singleton(_alarms)

    add_source: providers.Factory[AddSource] = providers.Factory(
        _use_case("sources", "AddSource"), sources, vault, at_source, transactions, audit
    )
    change_source: providers.Factory[ChangeSource] = providers.Factory(
        _use_case("sources", "ChangeSource"), sources, vault, transactions, audit
    )
    inspect_source: providers.Factory[InspectSource] = providers.Factory(
        _use_case("sources", "InspectSource"), sources, vault, at_source
    )
    rotate_keys: providers.Factory[RotateKeys] = providers.Factory(
        _use_case("keys", "RotateKeys"), sources, vault, key_rings
    )
    #: one for the process: it bounds how many passwords are hashed at once
    hashing: providers.Provider[BoundedHashing] = providers.Singleton(
        _use_case("hashing", "BoundedHashing"), hasher
    )
    authenticate: providers.Provider[Authenticate] = providers.Singleton(
        _use_case("authentication", "Authenticate"),
        credentials,
        sessions,
        tokens,
        session_rules,
        public_read=providers.Callable(_public_read, settings),
    )
    check_password: providers.Provider[CheckPassword] = providers.Singleton(
        _use_case("login", "CheckPassword"), accounts, login_failures, hashing
    )
    log_in: providers.Factory[LogIn] = providers.Factory(
        _use_case("login", "LogIn"),
        check_password,
        hashing,
        accounts,
        sessions,
        transactions,
        audit,
        clock,
        session_rules,
    )
    end_session: providers.Factory[EndSession] = providers.Factory(
        _use_case("login", "EndSession"), sessions, transactions, audit
    )
    add_account: providers.Factory[AddAccount] = providers.Factory(
        _use_case("accounts", "AddAccount"), accounts, hashing, transactions, audit
    )
    change_account: providers.Factory[ChangeAccount] = providers.Factory(
        _use_case("accounts", "ChangeAccount"), accounts, sessions, tokens, transactions, audit
    )
    delete_account: providers.Factory[DeleteAccount] = providers.Factory(
        _use_case("accounts", "DeleteAccount"), accounts, transactions, audit
    )
    set_password: providers.Factory[SetPassword] = providers.Factory(
        _use_case("accounts", "SetPassword"), accounts, sessions, check_password, hashing, transactions, audit
    )
    add_token: providers.Factory[AddToken] = providers.Factory(
        _use_case("tokens", "AddToken"), tokens, accounts, query_view, transactions, audit, clock
    )
    delete_token: providers.Factory[DeleteToken] = providers.Factory(
        _use_case("tokens", "DeleteToken"), tokens, transactions, audit
    )
    judge_job: providers.Factory[JobJudge] = providers.Factory(
        _use_case("job_judge", "JobJudge"), sources, guard, settings.provided.default_query_interval
    )
    add_job: providers.Factory[AddJob] = providers.Factory(
        _use_case("jobs", "AddJob"), jobs, judge_job, clock, transactions, audit
    )
    change_job: providers.Factory[ChangeJob] = providers.Factory(
        _use_case("jobs", "ChangeJob"), jobs, queue, judge_job, clock, transactions, audit
    )
    request_run: providers.Factory[RequestRun] = providers.Factory(
        _use_case("jobs", "RequestRun"), jobs, queue, transactions, audit
    )
    cancel_run: providers.Factory[CancelRun] = providers.Factory(
        _use_case("jobs", "CancelRun"), queue, transactions, audit
    )
    remove_job: providers.Factory[RemoveJob] = providers.Factory(
        _use_case("removal", "RemoveJob"), jobs, transactions, audit
    )
    remove_source: providers.Factory[RemoveSource] = providers.Factory(
        _use_case("removal", "RemoveSource"), sources, jobs, remove_job, transactions, audit
    )
    change_grants: providers.Factory[ChangeGrants] = providers.Factory(
        _use_case("grants", "ChangeGrants"),
        grants,
        jobs,
        transactions,
        audit,
        settings.provided.allowed_roles,
    )
    dry_run_slots: providers.Provider[DryRunSlots] = providers.Singleton(_use_case("dry_run", "DryRunSlots"))
    dry_run: providers.Factory[DryRun] = providers.Factory(
        _use_case("dry_run", "DryRun"), jobs, sources, vault, guard, at_source, dry_run_slots, clock
    )
    explain_instants: providers.Factory[ExplainInstants] = providers.Factory(
        _use_case("ledger", "ExplainInstants"), ledger_view
    )
    run_job: providers.Factory[RunJob] = providers.Factory(
        _use_case("run_job", "RunJob"), queue, vault, guard, at_source, kept
    )
    worker: providers.Factory[Worker] = providers.Factory(
        _use_case("work", "Worker"),
        queue=queue,
        workers=workers,
        alarms=alarms,
        run_job=run_job,
        housekeeping=providers.Factory(
            _housekeeping, tally, retention, providers.Factory(_default_limits, settings)
        ),
        figures=providers.Factory(_worker_figures, at_source),
        info=providers.Factory(_worker_info, concurrency),
    )


@asynccontextmanager
async def opened(container: Container) -> AsyncIterator[Container]:
    """Open what must be opened, once, and close it however the block ends."""
    database = container.database()
    await database.open()
    # A stack and not a loop: what cannot be closed must not keep the rest open.
    async with AsyncExitStack() as stack:
        stack.push_async_callback(database.close)
        try:
            yield container
        finally:
            for close in container.closers():
                stack.push_async_callback(close)


def container_for(service: str, *, pool_size: int, concurrency: int = 0) -> Container:
    """Build the container of a long-running service and turn its logs on.

    Raises:
        SettingFault: something is set wrong.
    """
    container = Container(
        service=providers.Object(service),
        pool_size=providers.Object(pool_size),
        concurrency=providers.Object(concurrency),
    )
    _configure_logs(container.settings(), service)
    return container


def _configure_logs(settings: Settings, service: str) -> None:
    from pgsched.adapters.logs.configure import configure
    from pgsched.adapters.logs.forwarding import SyslogTarget
    from pgsched.entrypoints.notices import tell_on_stderr

    configure(
        app_name=settings.app_name_for(service),
        log_dir=settings.log_dir if "file" in settings.log_to else None,
        to_stdout="stdout" in settings.log_to,
        syslog=settings.log_syslog and SyslogTarget(**settings.log_syslog._asdict()),
        enterprise_id=settings.rfc_enterprise_id,
        rotate_utc=settings.rotate_utc,
        gzip_after_days=settings.gzip_after_days,
        keep_days=settings.keep_days,
        max_log_bytes=settings.max_log_bytes,
        redact_keys=settings.redact_keys,
    )
    tell_on_stderr(service)
    for note in settings.notes:
        logging.getLogger(__name__).warning("%s", note, extra={"action": "settings.note"})
