"""The event loop of the long-running services."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


def run_on_fast_loop(main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine on uvloop."""
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)
