"""How a command gets at the container: built, opened, used once, closed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from pgsched.entrypoints.container import Container

_T = TypeVar("_T")


def with_container(operation: Callable[[Container], Awaitable[_T]]) -> _T:
    """Run one operation with the container open and the schema right, on an event loop of its own."""
    from pgsched.entrypoints.container import Container, opened
    from pgsched.entrypoints.schema_guard import refuse_other

    async def once() -> _T:
        async with opened(Container()) as container:
            await refuse_other(container)
            return await operation(container)

    return asyncio.run(once())


def key_of(text: str) -> str | int:
    """Read an argument NAME_OR_ID: digits are an id, all else a name."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 4000 else text
