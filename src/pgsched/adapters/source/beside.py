"""Writing what is large beside the event loop, which has the leases of other runs to renew.

In threads of its own: those that the loop lends are for the guard and for passwords, which nobody should wait
for because results are large.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar, TypeVarTuple

_T = TypeVar("_T")
_Given = TypeVarTuple("_Given")

#: results written at once; Python writes one after the other anyway
MOST_AT_ONCE = 4


async def beside_the_loop(write: Callable[[*_Given], _T], *given: *_Given) -> _T:
    """Call ``write`` in a thread; who is cancelled leaves it to its end."""
    return await asyncio.get_running_loop().run_in_executor(_threads(), write, *given)


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=MOST_AT_ONCE, thread_name_prefix="pgsched-writing")
