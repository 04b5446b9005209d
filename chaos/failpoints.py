"""Places between claim and finish at which a worker can be killed or frozen.

The driver arms one by writing ``kill`` or ``stop`` into a file of its name. The first member to get there
takes the file away, leaves a note of who it was, and sends itself the signal. Production code carries nothing
of this: its methods are wrapped in the member's process.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import signal
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from pathlib import Path
from typing import Any

#: every failpoint, in the order of a run's life
NAMES = (
    "before_plan",
    "plan_uncommitted",
    "planned",
    "before_claim",
    "claim_uncommitted",
    "claimed",
    "password_opened",
    "sql_judged",
    "connected",
    "first_rows",
    "staged",
    "before_succeed",
    "succeed_borrowed",
    "succeed_sent",
    "succeeded",
    "before_fail",
    "fail_borrowed",
    "failed",
    "before_renew",
    "renewed",
    "before_reap",
    "reaped",
    "handing_back",
)
_FOLDER = Path(os.environ.get("CHAOS_FOLDER", "/nonexistent")) / "armed"
#: which transaction this is, for the failpoint before its commit
_DOING: ContextVar[str] = ContextVar("doing", default="")


def reached(name: str) -> bool:
    """Meet whatever fate was armed for this place; True when it was frozen here and has been thawed."""
    path = _FOLDER / name
    try:
        action = path.read_text()
        path.unlink()
    except OSError:
        return False
    note = _FOLDER / "hits" / f"{name}-{os.getpid()}"
    note.write_text(f"{action} {time.time()}")
    if name.endswith("_sent"):
        # While the statement is on its way, before its answer is here.
        threading.Timer(0.002, os.kill, (os.getpid(), signal.SIGKILL)).start()
        return False
    os.kill(os.getpid(), signal.SIGKILL if action == "kill" else signal.SIGSTOP)
    return True


def install() -> None:
    """Wrap the production classes of this process."""
    from pgsched.adapters.crypto.vault import SealedBoxVault
    from pgsched.adapters.guard.grammar import PostgresGrammarGuard
    from pgsched.adapters.postgres.database import Database
    from pgsched.adapters.postgres.runs import PostgresRunQueue
    from pgsched.adapters.source.sources import PsycopgSources

    for method, before, after in (
        ("plan_due", "before_plan", "planned"),
        ("plan_and_claim", "before_plan", "planned"),
        ("claim", "before_claim", "claimed"),
        ("stage", "", "staged"),
        ("succeed", "before_succeed", "succeeded"),
        ("fail", "before_fail", "failed"),
        ("renew", "before_renew", "renewed"),
        ("reap", "before_reap", "reaped"),
        ("hand_back", "handing_back", ""),
    ):
        _around(PostgresRunQueue, method, before, after)
    _after_sync(SealedBoxVault, "open", "password_opened")
    _after_sync(PostgresGrammarGuard, "check", "sql_judged")
    _at_source(PsycopgSources)
    _before_commit(Database)
    _with_the_connection()


def _around(owner: Any, method: str, before: str, after: str) -> None:
    wrapped = getattr(owner, method)

    @functools.wraps(wrapped)
    async def call(*args: Any, **kwargs: Any) -> Any:
        token = _DOING.set({"plan_due": "plan", "plan_and_claim": "plan", "claim": "claim"}.get(method, ""))
        try:
            if before:
                reached(before)
            if method == "plan_and_claim":
                reached("before_claim")
            if method == "succeed":
                reached("succeed_sent")
            answer = await wrapped(*args, **kwargs)
            # Polls that found nothing are no step of a run's life.
            if after and (method not in ("plan_due", "plan_and_claim", "claim", "reap") or _found(answer)):
                reached(after)
            if method == "plan_and_claim" and answer.claims:
                reached("claimed")
            return answer
        finally:
            _DOING.reset(token)

    setattr(owner, method, call)


def _found(answer: Any) -> bool:
    return bool(answer.jobs) if hasattr(answer, "jobs") else bool(answer)


def _after_sync(owner: Any, method: str, after: str) -> None:
    wrapped: Callable[..., Any] = getattr(owner, method)

    @functools.wraps(wrapped)
    def call(*args: Any, **kwargs: Any) -> Any:
        answer = wrapped(*args, **kwargs)
        reached(after)
        return answer

    setattr(owner, method, call)


def _at_source(owner: Any) -> None:
    execute = owner.execute

    @contextlib.asynccontextmanager
    async def call(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        async with execute(*args, **kwargs) as stream:
            reached("connected")
            yield _Stream(stream)

    owner.execute = call


class _Stream:
    """A result stream that passes a failpoint after its first batch."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def __aiter__(self) -> AsyncIterator[Any]:
        first = True
        async for batch in self._stream:
            yield batch
            if first:
                reached("first_rows")
            first = False


def _before_commit(owner: Any) -> None:
    for name in ("transaction", "pipeline"):
        setattr(owner, name, _pausing(getattr(owner, name)))


def _pausing(lend: Any) -> Any:
    @contextlib.asynccontextmanager
    async def call(self: Any, **kwargs: Any) -> AsyncIterator[Any]:
        async with lend(self, **kwargs) as lent:
            yield lent
            if _DOING.get():
                reached(f"{_DOING.get()}_uncommitted")
            if _DOING.get() == "plan":
                reached("claim_uncommitted")

    return call


def _with_the_connection() -> None:
    """Freeze with a connection in hand: what is sent on waking is stale, and it is sent for certain."""
    from pgsched.adapters.postgres import runs, runs_sql
    from pgsched.adapters.postgres.pipeline import Pipeline

    first, send, end = runs._first, Pipeline.send, Pipeline.end

    async def fail(connection: Any, statement: str, parameters: Any) -> Any:
        if statement not in (runs_sql.FAIL, runs_sql.RETRY) or not _outslept("fail_borrowed"):
            return await first(connection, statement, parameters)
        # Sent before the loop comes round to noticing that the lease is over.
        sending = asyncio.ensure_future(first(connection, statement, parameters))
        try:
            row = await asyncio.shield(sending)
        except asyncio.CancelledError:
            row = await sending
            _note_stale(row is not None)
            raise
        _note_stale(row is not None)
        return row

    def succeed(self: Any, statement: str, parameters: Any = None) -> Any:
        stale = statement == runs_sql.SUCCEED and _outslept("succeed_borrowed")
        answer = send(self, statement, parameters)
        if stale:
            _stale[id(self)] = answer
        return answer

    async def over(self: Any) -> None:
        answer = _stale.pop(id(self), None)
        try:
            await end(self)
        finally:
            if answer is not None:
                _note_stale(self.is_over and bool(answer.rows))

    runs._first = fail
    Pipeline.send, Pipeline.end = succeed, over  # type: ignore[method-assign]


#: answers to what was sent after its lease, by pipeline
_stale: dict[int, Any] = {}


def _outslept(name: str) -> bool:
    """Whether this process was frozen here for longer than its lease."""
    from pgsched.domain.runs import LEASE_S

    since = time.monotonic()
    # Thawed earlier, by another fault, it writes as it may.
    return reached(name) and time.monotonic() - since > LEASE_S


def _note_stale(landed: bool) -> None:
    fate = "landed" if landed else "refused"
    (_FOLDER / "stale" / f"{fate}-{os.getpid()}-{time.monotonic_ns()}").write_text("")
