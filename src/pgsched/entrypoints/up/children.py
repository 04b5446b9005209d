"""The services that ``pgsched up`` runs: real processes of their own, on a leash."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

from pgsched.domain.errors import PgschedError
from pgsched.entrypoints.signals import LEASH_VARIABLE

log = logging.getLogger(__name__)

#: seconds a service gets to stop by itself: a worker's drain and some more
STOP_S = 25.0
#: seconds before a service that ended by itself is started again
RESTART_S = 1.0


class ServiceEnded(PgschedError):
    """A service ended before it was ready."""

    code = "service_ended"


class Child:
    """One service; started again when it ends by itself after it was ready."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        leash: int,
        *,
        pass_fds: Sequence[int] = (),
    ) -> None:
        """Describe ``pgsched <name> <arguments>``; nothing is started."""
        self.name = name
        self._arguments = arguments
        self._environment = {**environment, LEASH_VARIABLE: str(leash)}
        self._descriptors = (leash, *pass_fds)
        self._process: Process | None = None

    @property
    def ended(self) -> bool:
        """Whether the process is not running."""
        return self._process is None or self._process.returncode is not None

    async def start(self) -> None:
        """Start the process in a session of its own, so that Ctrl-C reaches it through us alone."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "pgsched",
            self.name,
            *self._arguments,
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            pass_fds=self._descriptors,
            start_new_session=True,
        )

    async def keep_running(self) -> None:
        """Start it again whenever it ends, until cancelled."""
        while True:
            assert self._process is not None
            code = await self._process.wait()
            log.error(
                "%s ended with code %d; starting it again",
                self.name,
                code,
                extra={"action": "up.restart", "service": self.name},
            )
            await asyncio.sleep(RESTART_S)
            await self.start()

    async def stop(self) -> None:
        """Ask it to stop, wait, insist."""
        if self._process is None or self.ended:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self._process.wait(), STOP_S)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()


def new_leash() -> tuple[int, int]:
    """Return the two ends of a pipe: the one children watch, and the one only this process holds."""
    watched, held = os.pipe()
    os.set_inheritable(watched, True)
    return watched, held


async def run_until(
    stop: asyncio.Event, children: Sequence[Child], *beside: Coroutine[Any, Any, None]
) -> None:
    """Keep children and whatever runs beside them going until ``stop`` is set.

    Raises what any of them raises.
    """
    tasks = [asyncio.create_task(each) for each in (*(child.keep_running() for child in children), *beside)]
    stopping = asyncio.create_task(stop.wait())
    try:
        done, _ = await asyncio.wait([stopping, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for each in (stopping, *tasks):
            each.cancel()
        await asyncio.gather(stopping, *tasks, return_exceptions=True)
