"""The server: uvicorn on a socket of our own, so that a port in use is one line and not a traceback."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pgsched.domain.errors import CannotListen

if TYPE_CHECKING:
    from litestar import Litestar

#: seconds that requests under way have to end when the server is to stop
_GRACE_S = 10
#: connections that wait to be accepted
_BACKLOG = 2048


def listen(host: str, port: int) -> socket.socket:
    """Return a socket bound to an address; port 0 takes a free one.

    Raises:
        CannotListen: with one line that says what to do.
    """
    try:
        if not 0 <= port <= 65535:  # getaddrinfo would take it modulo 65536
            raise OverflowError(port)
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, OverflowError, UnicodeError):
        raise CannotListen(
            f"{host} port {port} is no address to listen on; choose others with --host, --port"
        ) from None
    # localhost may be both; what people type next is 127.0.0.1
    family, kind, protocol, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    sock = socket.socket(family, kind, protocol)
    try:
        # an address whose last connections are still fading is free, one that is listened on is not
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        raise CannotListen(_advice(host, port, error)) from None
    sock.setblocking(False)
    return sock


def _advice(host: str, port: int, error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return f"port {port} on {host} is in use; choose another with --port"
        case errno.EACCES:
            return f"port {port} on {host} is not allowed to this user; choose one above 1023 with --port"
        case errno.EADDRNOTAVAIL:
            return f"{host} is no address of this machine; choose another with --host"
        case _:
            return f"cannot listen on port {port} of {host}: {error.strerror}"


def url_of(sock: socket.socket) -> str:
    """Return the URL that a bound socket is reached at from this machine."""
    host, port = sock.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 (shown, not bound)
    return f"http://[{shown}]:{port}" if ":" in shown else f"http://{shown}:{port}"


async def run(
    app: Litestar,
    sock: socket.socket,
    *,
    stop: asyncio.Event,
    ready: Callable[[str], object] | None = None,
) -> None:
    """Serve on the running loop until ``stop`` is set, then end what is under way within ten seconds.

    ``ready`` is called once with the URL when connections are accepted. Opens and closes the application;
    what its opening raises is raised here.
    """
    import uvicorn

    from pgsched.entrypoints.http.edge import Edge
    from pgsched.entrypoints.http.protocol import protocol_for

    edge = app.asgi_handler
    assert isinstance(edge, Edge)

    class Server(uvicorn.Server):
        """Leaves signals to whoever runs it."""

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if ready is not None:
                ready(url_of(sock))

    server = Server(
        uvicorn.Config(
            app,
            http=protocol_for(edge, asyncio.get_running_loop()),
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=_GRACE_S,
        )
    )

    async def stopping() -> None:
        await stop.wait()
        server.should_exit = True

    try:
        async with app.lifespan():
            waiting = asyncio.create_task(stopping())
            try:
                await server.serve(sockets=[sock])
            finally:
                waiting.cancel()
    except BaseExceptionGroup as group:
        # the framework's task group wraps what opening raised
        if len(group.exceptions) > 1:
            raise
        raise group.exceptions[0] from None
    finally:
        sock.close()
