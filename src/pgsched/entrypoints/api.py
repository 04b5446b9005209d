"""The API as a process, or as several on one listening socket."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import socket
from contextlib import AsyncExitStack, suppress
from tempfile import TemporaryDirectory

from pgsched import __version__
from pgsched.domain.errors import DatabaseFault, DatabaseUnavailable, SchemaMismatch
from pgsched.entrypoints.container import Container, container_for, opened, pepper_of
from pgsched.entrypoints.http.administration import Administration
from pgsched.entrypoints.http.app import ApiServices, create_app
from pgsched.entrypoints.http.callers import HeaderAuthenticator
from pgsched.entrypoints.http.identity import Identity
from pgsched.entrypoints.http.server import listen, run, url_of
from pgsched.entrypoints.schema_guard import refuse_newer, refuse_other
from pgsched.entrypoints.signals import stop_on_signals

log = logging.getLogger(__name__)

#: names the file descriptor of the socket that several processes share
SOCKET_VARIABLE = "PGSCHED_SOCKET_FD"
#: names the folder through which the processes share their metrics (prometheus_client reads it)
SHARED_METRICS = "PROMETHEUS_MULTIPROC_DIR"
#: most connections of one process to the metadata database
POOL_SIZE = 10
#: seconds between two looks at the start while the database is away
LOOK_AGAIN_S = 1.0


async def serve(*, host: str, port: int, processes: int) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        CannotListen: the address is not to be had.
        SettingFault: something is set wrong; ARGON2_SECRET_KEY_B64 is not set.
        SchemaMismatch: the schema is newer than this program.
    """
    container = container_for("api", pool_size=POOL_SIZE)
    # Logins need the pepper: told now, not at the first login.
    pepper_of(container.settings())
    shared = os.environ.pop(SOCKET_VARIABLE, "")
    sock = socket.socket(fileno=int(shared)) if shared.isdigit() else listen(host, port)
    sock.setblocking(False)
    stop = stop_on_signals()
    if processes > 1:
        with suppress(DatabaseUnavailable):
            async with opened(container):
                await refuse_newer(container)
        await _serve_by_children(sock, processes, stop)
        return
    async with opened(container):
        looking = asyncio.create_task(_look(container, stop))
        try:
            await run(
                create_app(services_of(container, host)), sock, stop=stop, ready=None if shared else _tell
            )
        finally:
            looking.cancel()
            (fault,) = await asyncio.gather(looking, return_exceptions=True)
        if isinstance(fault, SchemaMismatch):
            raise fault


async def _look(container: Container, stop: asyncio.Event) -> None:
    """Say at the start what every request would be told: the database is away, or not migrated.

    Raises:
        SchemaMismatch: the schema is newer than this program, which is stopped.
    """
    told = ""
    while True:
        try:
            await refuse_newer(container)
        except SchemaMismatch:
            stop.set()
            raise
        except DatabaseFault as fault:
            told = _wait_for(fault, told)
        else:
            try:
                await refuse_other(container)
            except DatabaseFault as fault:
                told = _wait_for(fault, told)
            else:
                return
        # a server that is slow to answer at first must not hide what else is to be told
        await asyncio.sleep(LOOK_AGAIN_S)


def _wait_for(fault: DatabaseFault, told: str) -> str:
    """Say what is waited for, unless that was ``told`` already; returns the code of what has been told."""
    if fault.code != told:
        log.warning("answering 503 for now: %s", fault.detail, extra={"action": "api.waiting"})
    return fault.code


def _tell(url: str) -> None:
    log.info("the API listens on %s", url, extra={"action": "api.ready"})


async def _serve_by_children(sock: socket.socket, processes: int, stop: asyncio.Event) -> None:
    """Let so many processes accept from one socket, until told to stop."""
    from pgsched.entrypoints.up.children import Child, new_leash, run_until

    watched, held = new_leash()
    sock.set_inheritable(True)
    async with AsyncExitStack() as stack:
        # their metrics meet here, so that whichever answers tells of all
        shared = stack.enter_context(TemporaryDirectory(prefix="pgsched-metrics-"))
        environment = {**os.environ, SOCKET_VARIABLE: str(sock.fileno()), SHARED_METRICS: shared}
        for descriptor in (watched, held):
            stack.callback(os.close, descriptor)
        children = [
            Child("api", [], environment, watched, pass_fds=[sock.fileno()]) for _ in range(processes)
        ]
        for child in children:
            stack.push_async_callback(child.stop)
            await child.start()
        _tell(url_of(sock))
        await run_until(stop, children)


def services_of(container: Container, host: str) -> ApiServices:
    """Return what the HTTP application needs, for a server that listens on ``host``."""
    settings = container.settings()
    return ApiServices(
        query_view=container.query_view(),
        run_view=container.run_view(),
        health_view=container.health_view(),
        watching=container.watching(),
        access_log=container.access_log(),
        figures_view=container.figures_view(),
        meter=container.meter(),
        authenticate=HeaderAuthenticator(container.authenticate()),
        identity=_identity(container),
        administration=_administration(container),
        cors_allowed_origins=settings.cors_allowed_origins,
        allowed_hosts=settings.allowed_hosts or _hosts_answered(host),
        trust_proxy=settings.trust_proxy,
        trusted_proxies=settings.trusted_proxies,
        version=__version__,
        public_read=settings.public_read,
    )


def _administration(container: Container) -> Administration:
    return Administration(
        sources=container.sources(),
        jobs=container.jobs(),
        guard=container.guard(),
        add_source=container.add_source(),
        change_source=container.change_source(),
        remove_source=container.remove_source(),
        inspect_source=container.inspect_source(),
        add_job=container.add_job(),
        change_job=container.change_job(),
        remove_job=container.remove_job(),
        dry_run=container.dry_run(),
        request_run=container.request_run(),
        cancel_run=container.cancel_run(),
        grants=container.grants(),
        change_grants=container.change_grants(),
        explain_instants=container.explain_instants(),
    )


def _identity(container: Container) -> Identity:
    settings = container.settings()
    return Identity(
        clock=container.clock(),
        accounts=container.accounts(),
        sessions=container.sessions(),
        tokens=container.tokens(),
        audit=container.audit(),
        log_in=container.log_in(),
        end_session=container.end_session(),
        add_account=container.add_account(),
        change_account=container.change_account(),
        delete_account=container.delete_account(),
        set_password=container.set_password(),
        add_token=container.add_token(),
        delete_token=container.delete_token(),
        allowed_roles=settings.allowed_roles,
        session_max_s=settings.session_max_hours * 3600,
    )


def _hosts_answered(host: str) -> tuple[str, ...] | None:
    """Return the loopback names when bound to loopback (no other can be meant, none rebound), else any."""
    try:
        is_loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    if is_loopback:
        return ("localhost", "127.0.0.1", "::1")
    log.warning(
        "every Host name is answered; set ALLOWED_HOSTS to the names this API is reached by",
        extra={"action": "api.any_host"},
    )
    return None
