"""Starts Postgres, schema, keys, admin, API and worker in order, says where to look, stops it all cleanly."""

from __future__ import annotations

import asyncio
import json
import os
import urllib.request
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from http.client import HTTPException
from typing import TYPE_CHECKING, Any

import click

from pgsched.domain.errors import EmbeddedFault, SettingFault
from pgsched.entrypoints.container import Container, container_for, opened
from pgsched.entrypoints.http.server import listen
from pgsched.entrypoints.signals import stop_on_signals
from pgsched.entrypoints.up import first_steps
from pgsched.entrypoints.up.children import Child, ServiceEnded, new_leash, run_until

if TYPE_CHECKING:
    from pgsched.adapters.embedded.cluster import EmbeddedCluster
    from pgsched.config import Settings

#: seconds within which API and worker must answer
READY_S = 60.0
DEMO_QUERY = "orders_by_hour"


async def up(*, host: str, port: int, demo: bool) -> None:
    """Run everything until SIGTERM or SIGINT; leaves no process behind.

    Raises:
        PgschedError: something could not be started; everything started is stopped again.
    """
    container = container_for("up", pool_size=4)
    settings = container.settings()
    if demo and settings.pg_dsn_app is not None:
        raise SettingFault("PG_DSN_APP", "is set, and --demo needs the embedded Postgres; unset one of them")
    # A port in use is told before anything is started; the API takes it for good.
    listen(host, port).close()
    stop = stop_on_signals()
    async with AsyncExitStack() as stack:
        cluster = await _database(settings, stack, stop)
        if stop.is_set():
            return
        first_steps.make_keys(settings)
        await _migrate(settings)
        login = await _furnish(container, stack, cluster if demo else None)
        watched, held = new_leash()
        stack.callback(os.close, held)
        stack.callback(os.close, watched)
        environment = {**os.environ, "PGSCHED_HOME": str(settings.pgsched_home)}
        children = [
            Child("api", ["--host", host, "--port", str(port)], environment, watched),
            Child("worker", [], environment, watched),
        ]
        for child in children:
            stack.push_async_callback(child.stop)
            await child.start()
        url = f"http://{_shown_host(host)}:{port}"
        if not await _ready(_Probe(url, settings, demo=demo), children, stop):
            return
        _tell(url, login, demo=demo)
        beside = [] if cluster is None else [_keep_postgres(cluster)]
        await run_until(stop, children, *beside)
        click.echo("stopping", err=True)


async def _database(settings: Settings, stack: AsyncExitStack, stop: asyncio.Event) -> EmbeddedCluster | None:
    if settings.pg_dsn_app is not None:
        return None
    from pgsched.adapters.embedded.cluster import EmbeddedCluster

    cluster = EmbeddedCluster(settings.pgsched_home, pg_bin=settings.pgsched_pg_bin)
    stack.push_async_callback(cluster.stop)
    click.echo("starting the embedded Postgres", err=True)
    await _unless_stopped(stop, cluster.start())
    return cluster


async def _migrate(settings: Settings) -> None:
    from pgsched.adapters.postgres.schema import upgrade
    from pgsched.entrypoints.container import metadata

    place = metadata(settings)
    await upgrade(place.conninfo, is_secluded=place.is_embedded)


async def _furnish(container: Container, stack: AsyncExitStack, demo_on: EmbeddedCluster | None) -> list[str]:
    """Make the admin and the demo; the demo's orders keep coming until the stack is left."""
    async with opened(container):
        login = await first_steps.first_admin(container)
        if demo_on is not None:
            from pgsched.adapters.demo.shop import build_shop, keep_orders_coming
            from pgsched.entrypoints.up.demo import install

            superuser = demo_on.superuser
            shop = await build_shop(superuser.dsn(), host=superuser.host, port=superuser.port)
            await install(container, shop)
            orders = asyncio.create_task(keep_orders_coming(shop))
            stack.push_async_callback(_cancel, orders)
    return login


class _Probe:
    """Asks the API whether all is there, straight and by a name that it answers to."""

    def __init__(self, url: str, settings: Settings, *, demo: bool) -> None:
        self.url = url
        self._paths = ["/readyz"]
        if demo and settings.public_read:
            self._paths.append(f"/api/queries/{DEMO_QUERY}/runs/latest")
        names = [name for name in settings.allowed_hosts or () if name != "*"]
        self._headers = {"Host": f"[{names[0]}]" if ":" in names[0] else names[0]} if names else {}
        # whatever proxy the environment names is not for our own address
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def answers(self) -> bool:
        """Whether the API answers, a worker is there, and the demo has a result."""
        try:
            bodies = [self._get(path) for path in self._paths]
            return bool(json.loads(bodies[0]).get("workers"))
        except (OSError, ValueError, HTTPException):
            return False

    def _get(self, path: str) -> bytes:
        request = urllib.request.Request(f"{self.url}{path}", headers=self._headers)  # noqa: S310 (our own address)
        with self._opener.open(request, timeout=2) as answer:
            body: bytes = answer.read()
            return body


async def _ready(probe: _Probe, children: list[Child], stop: asyncio.Event) -> bool:
    """Wait until everything answers; False when a signal came first."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + READY_S
    while loop.time() < deadline:
        for child in children:
            if child.ended:
                raise ServiceEnded(f"`pgsched {child.name}` ended before it was ready; its own line says why")
        if stop.is_set():
            return False
        if await asyncio.to_thread(probe.answers):
            return True
        await asyncio.sleep(0.1)
    raise ServiceEnded(f"{probe.url} did not answer within {READY_S:.0f} s; the logs say more")


def _tell(url: str, login: list[str], *, demo: bool) -> None:
    """Print where to look, and lines that work when pasted."""
    click.echo(f"pgsched is up: {url}")
    for line in login:
        click.echo(line)
    click.echo("try:")
    click.echo(f"  curl -s '{url}/api/queries'")
    if demo:
        click.echo(f"  curl -s '{url}/api/queries/{DEMO_QUERY}/runs/latest'")
    else:
        click.echo(f"  curl -s '{url}/readyz'")
    click.echo("Ctrl-C stops all of it.")


async def _keep_postgres(cluster: EmbeddedCluster) -> None:
    port = cluster.application.port
    while True:
        await cluster.wait()
        click.echo("the embedded Postgres ended; starting it again", err=True)
        if (await cluster.start()).port != port:
            # Rare: it was taken meanwhile. Everything that runs here knows the old one.
            raise EmbeddedFault("the embedded Postgres had to take another port; start `pgsched up` again")


async def _unless_stopped(stop: asyncio.Event, starting: Awaitable[object]) -> None:
    """Await a start, and cancel it when a signal comes first."""
    task = asyncio.ensure_future(starting)
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([task, stopping], return_when=asyncio.FIRST_COMPLETED)
    await _cancel(stopping)
    if task.done():
        task.result()
    else:
        await _cancel(task)


async def _cancel(task: asyncio.Future[Any]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _shown_host(host: str) -> str:
    if host in {"0.0.0.0", "::"}:  # noqa: S104 (shown, not bound)
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host
