"""The event loop of the long-running services."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from pgsched.adapters.lookups import Found, Lookups


def run_on_fast_loop(main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine on uvloop."""
    with asyncio.Runner(loop_factory=_fast_loop) as runner:
        runner.run(main)


def _fast_loop() -> asyncio.AbstractEventLoop:
    import uvloop

    class FastLoop(uvloop.Loop):
        """Looks hosts up in threads that end with the process; psycopg asks for the metadata database's."""

        def __init__(self) -> None:
            super().__init__()
            self._lookups = Lookups()

        async def getaddrinfo(self, host: Any, port: Any, **hints: int) -> Found:
            wanted = (hints.get(name, 0) for name in ("family", "type", "proto", "flags"))
            return await self._lookups.find(host, port, *wanted)

    return FastLoop()
