"""Optimistic edits: a change goes through if the thing is still as its writer knows it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final, Protocol, TypeVar

from pgsched.domain.errors import Stale

#: whether the version of a thing (when it last changed, UTC) is one that the caller knows
KnownVersion = Callable[[datetime], bool]

#: tries of a change that others get in the way of
TRIES: Final = 20


class Versioned(Protocol):
    """What is stored with the time of its last change."""

    @property
    def updated_at(self) -> datetime:
        """When it last changed, UTC."""
        ...


_T = TypeVar("_T", bound=Versioned)


async def compare_and_set(
    kind: str,
    read: Callable[[], Awaitable[_T]],
    change: Callable[[_T], Awaitable[_T]],
    only_if: KnownVersion | None,
) -> _T:
    """Read a thing and change it as it was read; again from the start when others changed it meanwhile.

    Without ``only_if`` the last write of a field wins.

    Raises:
        Stale: its version is not one that ``only_if`` knows, or others got in the way too often.
    """
    for _ in range(TRIES):
        before = await read()
        if only_if is not None and not only_if(before.updated_at):
            raise Stale(kind)
        try:
            return await change(before)
        except Stale:
            continue
    raise Stale(kind)
