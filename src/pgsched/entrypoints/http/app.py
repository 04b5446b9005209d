"""The HTTP application, put together from the ports it reads through."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import TYPE_CHECKING, Any

from litestar import Litestar

from pgsched.entrypoints.http import (
    admin_queries,
    admin_runs,
    audit,
    auth,
    bodies,
    checks,
    completion,
    datasources,
    description,
    front,
    grants,
    health,
    ledger,
    methods,
    metrics,
    problems,
    queries,
    runs,
    tokens,
    users,
)
from pgsched.entrypoints.http.callers import RememberedCallers
from pgsched.entrypoints.http.deadline import Deadline
from pgsched.entrypoints.http.edge import Edge
from pgsched.entrypoints.http.memory import Memory
from pgsched.entrypoints.http.metrics import Meter, NotCounting
from pgsched.entrypoints.http.origins import OriginPolicy
from pgsched.entrypoints.http.pages import Pages
from pgsched.entrypoints.http.peers import PeerPolicy

if TYPE_CHECKING:
    from pgsched.adapters.logs.access import BatchedAccessLog
    from pgsched.application.ports.upkeep import FiguresView
    from pgsched.application.ports.views import HealthView, QueryView, RunView
    from pgsched.application.watching import Watching
    from pgsched.entrypoints.http.administration import Administration
    from pgsched.entrypoints.http.callers import Authenticator
    from pgsched.entrypoints.http.identity import Identity


async def _nothing() -> None:
    pass


@dataclass(frozen=True, kw_only=True, slots=True)
class ApiServices:
    """What the HTTP entry point needs of the rest."""

    #: queries as a dashboard sees them
    query_view: QueryView
    #: runs and results
    run_view: RunView
    #: whether this process can serve
    health_view: HealthView
    #: what /metrics tells of the database
    figures_view: FiguresView
    #: who asks
    authenticate: Authenticator
    #: accounts, sessions, tokens and the audit trail
    identity: Identity
    #: sources and queries as admins and editors write them
    administration: Administration
    #: origins as browsers send them, or ``*``
    cors_allowed_origins: tuple[str, ...]
    #: Host names answered, in small letters, IPv6 without brackets, ``*`` for any; None for any
    allowed_hosts: tuple[str, ...] | None
    #: whether forwarded headers count at all
    trust_proxy: bool
    #: networks of the proxies whose forwarded headers count
    trusted_proxies: Sequence[IPv4Network | IPv6Network]
    #: of pgsched, for the OpenAPI document
    version: str
    #: whether public queries may tell their results in /metrics: not where ``public`` means a login
    public_read: bool = True
    #: counts requests and writes /metrics
    meter: Meter = field(default_factory=NotCounting)
    #: what sees changes made elsewhere; None: nothing is answered from memory
    watching: Watching | None = None
    #: writes down answers from memory in batches; None: each at once
    access_log: BatchedAccessLog | None = None
    #: called once before the first request
    open: Callable[[], Awaitable[None]] = _nothing
    #: called once after the last request
    close: Callable[[], Awaitable[None]] = _nothing


@asynccontextmanager
async def _opened(services: ApiServices) -> AsyncIterator[None]:
    """Open what answers need, and watch, for the time that the application is there."""
    await services.open()
    watching = None if services.watching is None else asyncio.create_task(services.watching.run())
    try:
        yield
    finally:
        if watching is not None:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        if services.access_log is not None:
            await services.access_log.close()
        await services.close()


def create_app(services: ApiServices) -> Litestar:
    """Build the application; nothing is opened before its lifespan begins."""
    pages = Pages(services.version)
    handlers = [
        *front.routes(services.query_view, services.run_view, pages),
        *queries.routes(services.query_view),
        *runs.routes(services.run_view),
        *health.routes(services.health_view),
        *metrics.routes(services.figures_view, services.meter, public_read=services.public_read),
        *auth.routes(services.identity),
        *users.routes(services.identity),
        *tokens.routes(services.identity),
        *audit.routes(services.identity),
        *datasources.routes(services.administration),
        *admin_queries.routes(services.administration),
        *admin_runs.routes(services.administration),
        *ledger.routes(services.administration),
        *checks.routes(services.administration),
        *grants.routes(services.administration),
    ]
    app = Litestar(
        route_handlers=[*methods.routes(handlers), *handlers],
        request_max_body_size=bodies.MOST_BYTES,
        exception_handlers={Exception: problems.handler},
        openapi_config=description.configuration(services.version, pages.schema),
        lifespan=[lambda _: _opened(services)],
        # the framework would configure the root logger and start a thread for it
        logging_config=None,
    )
    completion.complete(app)
    memory = None if services.watching is None else Memory(services.watching)
    proxies = tuple(services.trusted_proxies) if services.trust_proxy else ()
    hosts = None if services.allowed_hosts is None else frozenset(services.allowed_hosts)
    # In front of the router and of its own error handling, which middleware of the framework is not.
    app.asgi_handler = Edge(
        app.asgi_handler,
        origins=OriginPolicy.of(services.cors_allowed_origins),
        peers=PeerPolicy(proxies=proxies, hosts=hosts),
        meter=services.meter,
        callers=RememberedCallers(services.authenticate, memory),
        memory=memory,
        deadline=Deadline(services.watching),
        access_log=services.access_log,
    )
    return app


def openapi_document(version: str) -> dict[str, Any]:
    """Return the OpenAPI document without anything to read through."""
    nothing: Any = None  # routes hold their views and ask them only when they are called
    services = ApiServices(
        query_view=nothing,
        run_view=nothing,
        health_view=nothing,
        figures_view=nothing,
        authenticate=nothing,
        identity=nothing,
        administration=nothing,
        cors_allowed_origins=("*",),
        allowed_hosts=None,
        trust_proxy=False,
        trusted_proxies=(),
        version=version,
    )
    return create_app(services).openapi_schema.to_schema()
