"""Waiting for a socket of libpq's; psycopg's own way wakes up ten times a second to look for signals."""

from __future__ import annotations

import asyncio
import select


async def ready(
    fileno: int, *, reading: bool = True, writing: bool = False, until: float | None = None
) -> None:
    """Wait until a socket can be read or written, whichever is asked for and comes first.

    Raises:
        TimeoutError: ``until``, a time of the loop, has come first.
    """
    loop = asyncio.get_running_loop()
    _look_at_the_time(loop, until)
    woken: asyncio.Future[None] = loop.create_future()
    if reading:
        loop.add_reader(fileno, _wake, woken)
    if writing:
        loop.add_writer(fileno, _wake, woken)
    try:
        await _in_time(woken, until)
    finally:
        if reading:
            loop.remove_reader(fileno)
        if writing:
            loop.remove_writer(fileno)


def _look_at_the_time(loop: asyncio.AbstractEventLoop, until: float | None) -> None:
    # a timer may lose to data that never ceases to come
    if until is not None and loop.time() >= until:
        raise TimeoutError


async def _in_time(woken: asyncio.Future[None], until: float | None) -> None:
    # a context of asyncio.timeout would cost more than all the rest of a wait
    timer = None if until is None else woken.get_loop().call_at(until, _too_late, woken)
    try:
        await woken
    finally:
        if timer is not None:
            timer.cancel()


def _wake(woken: asyncio.Future[None]) -> None:
    if not woken.done():
        woken.set_result(None)


def _too_late(woken: asyncio.Future[None]) -> None:
    if not woken.done():
        woken.set_exception(TimeoutError())


class Reader:
    """Waits for one socket to be readable, again and again.

    The loop is told of the socket once and not at each wait, which takes uvloop half a dozen system calls. It
    is told to look no more when something arrives that nobody waits for. To be stopped before the descriptor
    is closed; nobody else may ask the loop about it, and one task waits at a time.
    """

    def __init__(self, fileno: int) -> None:
        """Take an open socket; the loop is told at the first wait."""
        self._fileno = fileno
        self._loop: asyncio.AbstractEventLoop | None = None
        self._woken: asyncio.Future[None] | None = None
        self._state = select.poll()
        self._state.register(fileno, 0)

    async def ready(self, until: float | None = None) -> None:
        """Wait until there is something to read, or the other side has closed.

        May return for what has just been read; whoever waits looks and waits again.

        Raises:
            TimeoutError: ``until``, a time of the loop, has come first.
        """
        loop = asyncio.get_running_loop()
        _look_at_the_time(loop, until)
        if self._loop is not None and self._state.poll(0):
            # uvloop tells of an error or of a connection that is over once, and looks no more: there may be
            # more to read all the same, or the end of it
            self.stop()
        if self._loop is None:
            loop.add_reader(self._fileno, self._wake)
            self._loop = loop
        self._woken = loop.create_future()
        try:
            await _in_time(self._woken, until)
        finally:
            self._woken = None

    def stop(self) -> None:
        """Tell the loop to look no more."""
        if self._loop is not None:
            self._loop.remove_reader(self._fileno)
            self._loop = None

    def _wake(self) -> None:
        if self._woken is None:
            self.stop()
        else:
            _wake(self._woken)
