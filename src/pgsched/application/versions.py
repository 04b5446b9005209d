"""Optimistic edits: a change goes through if the thing is still as its writer knows it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

#: whether the version of a thing (when it last changed, UTC) is one that the caller knows
KnownVersion = Callable[[datetime], bool]

#: tries of a change that others get in the way of
TRIES: Final = 20
