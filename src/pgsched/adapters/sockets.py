"""Waiting for a socket of libpq's; psycopg's own way wakes up ten times a second to look for signals."""

from __future__ import annotations

import asyncio


async def ready(
    fileno: int, *, reading: bool = True, writing: bool = False, until: float | None = None
) -> None:
    """Wait until a socket can be read or written, whichever is asked for and comes first.

    Raises:
        TimeoutError: ``until``, a time of the loop, has come first.
    """
    loop = asyncio.get_running_loop()
    woken: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not woken.done():
            woken.set_result(None)

    if until is not None and loop.time() >= until:
        # a timer may lose to data that never ceases to come
        raise TimeoutError
    # a context of asyncio.timeout would cost more than all the rest of this
    timer = None if until is None else loop.call_at(until, _too_late, woken)
    if reading:
        loop.add_reader(fileno, wake)
    if writing:
        loop.add_writer(fileno, wake)
    try:
        await woken
    finally:
        if timer is not None:
            timer.cancel()
        if reading:
            loop.remove_reader(fileno)
        if writing:
            loop.remove_writer(fileno)


def _too_late(woken: asyncio.Future[None]) -> None:
    if not woken.done():
        woken.set_exception(TimeoutError())
