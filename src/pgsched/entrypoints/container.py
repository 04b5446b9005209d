"""The composition root: the one place that joins ports and adapters, and the only one that reads settings.

Entry points ask it for a use-case or a view and get it with everything inside. Tests build the same container
and override its adapters. How each part is built stands in ``parts``, in rooms by duty; adapters are imported
when they are first built, so that a command pays only for what it uses.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from dependency_injector import containers, providers

from pgsched.entrypoints.parts import choices, running, secrets, stores, telling, views
from pgsched.entrypoints.parts.choices import load_settings, metadata
from pgsched.entrypoints.parts.secrets import PEPPER_FILE, pepper_of

if TYPE_CHECKING:
    from pgsched.application.accounts import AddAccount, ChangeAccount, DeleteAccount, SetPassword
    from pgsched.application.authentication import Authenticate
    from pgsched.application.dry_run import DryRun
    from pgsched.application.grants import ChangeGrants
    from pgsched.application.hashing import BoundedHashing
    from pgsched.application.job_judge import JobJudge
    from pgsched.application.jobs import AddJob, CancelRun, ChangeJob, RequestRun
    from pgsched.application.keys import RotateKeys
    from pgsched.application.ledger import ExplainInstants
    from pgsched.application.login import CheckPassword, EndSession, LogIn
    from pgsched.application.removal import RemoveJob, RemoveSource
    from pgsched.application.run_job import RunJob
    from pgsched.application.sources import AddSource, ChangeSource, InspectSource
    from pgsched.application.tokens import AddToken, DeleteToken
    from pgsched.application.work import Worker
    from pgsched.config import Settings
    from pgsched.entrypoints.parts.running import Close

__all__ = [
    "PEPPER_FILE",
    "Container",
    "container_for",
    "load_settings",
    "metadata",
    "opened",
    "pepper_of",
]


def _use_case(module: str, name: str) -> Callable[..., Any]:
    """Return a builder that imports the use-case when it is first asked for."""

    def build(*parts: object, **named: object) -> Any:
        from importlib import import_module

        return getattr(import_module(f"pgsched.application.{module}"), name)(*parts, **named)

    return build


class Container(containers.DeclarativeContainer):
    """Everything by its port's name."""

    settings: providers.Provider[Settings] = providers.Singleton(choices.load_settings)
    #: name of the service, for application_name and logs
    service: providers.Provider[str] = providers.Object("cli")
    #: most connections to the metadata database
    pool_size: providers.Provider[int] = providers.Object(4)
    #: runs at once of a worker
    concurrency: providers.Provider[int] = providers.Object(32)

    #: what the singletons opened on first use
    closers: providers.Provider[list[Close]] = providers.Singleton(list)
    database = providers.Singleton(stores.database, settings, service, pool_size)
    sources = providers.Singleton(stores.sources, database)
    jobs = providers.Singleton(stores.jobs, database)
    accounts = providers.Singleton(stores.accounts, database)
    grants = providers.Singleton(stores.grants, database)
    transactions = providers.Singleton(stores.transactions, database)
    audit = providers.Singleton(stores.audit, database)
    credentials = providers.Singleton(stores.credentials, database)
    sessions = providers.Singleton(stores.sessions, database)
    tokens = providers.Singleton(stores.tokens, database)
    login_failures = providers.Singleton(stores.login_failures, database)
    dry_runs = providers.Singleton(stores.dry_runs, database)
    session_rules = providers.Singleton(choices.session_rules, settings)
    queue = providers.Singleton(stores.queue, database)
    workers = providers.Singleton(stores.workers, database)
    kept = providers.Singleton(stores.kept, database)
    clock = providers.Singleton(stores.clock, database)
    query_view = providers.Singleton(views.query_view, database)
    run_view = providers.Singleton(views.run_view, database)
    health_view = providers.Singleton(views.health_view, database)
    ledger_view = providers.Singleton(views.ledger_view, database)
    figures_view = providers.Singleton(views.figures_view, database)
    tally = providers.Singleton(stores.tally, database)
    retention = providers.Singleton(stores.retention, database)
    access_log = providers.Singleton(telling.access_log)
    meter = providers.Singleton(telling.meter, access_log)
    watch = providers.Singleton(stores.watch, database)
    watching = providers.Singleton(stores.watching, watch, database)
    vault = providers.Singleton(secrets.vault, settings)
    key_rings = providers.Singleton(secrets.key_rings, settings)
    hasher = providers.Singleton(secrets.hasher, settings)
    guard = providers.Singleton(running.guard)
    at_source = providers.Singleton(running.at_source, database, closers, concurrency)
    alarms = providers.Singleton(running.alarms)

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
        public_read=providers.Callable(choices.public_read, settings),
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
    dry_run: providers.Factory[DryRun] = providers.Factory(
        _use_case("dry_run", "DryRun"),
        *(jobs, sources, vault, guard, at_source, dry_runs, clock, kept),
        providers.Singleton(running.keeper_id),
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
            running.housekeeping,
            tally,
            retention,
            providers.Factory(choices.default_limits, settings),
            sessions,
            clock,
            settings.provided.audit_keep_days,
        ),
        figures=providers.Factory(running.worker_figures, at_source),
        retire=at_source.provided.retire,
        info=providers.Factory(running.worker_info, concurrency),
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
    telling.configure_logs(container.settings(), service)
    return container
