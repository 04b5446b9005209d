"""Ports to the audit trail, and to the transaction that a change and its trail share."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol, runtime_checkable

from pgsched.domain.audit import Actor, AuditEntry, AuditEvent, AuditFilter


@runtime_checkable
class Transactions(Protocol):
    """Makes several writes one: all of them are there afterwards, or none.

    Use-cases put a change and its trail into one::

        async with self._transactions.begin():
            account = await self._accounts.add(…)
            await self._audit.record(by, added("user", account.id, account.email, …))
    """

    def begin(self, *, rights: bool = False) -> AbstractAsyncContextManager[None]:
        """Join whatever ports of this database do inside the block, by this task; an exception undoes it.

        With ``rights`` changes of who may do what come one after another: what is read inside is still true
        when the block ends, in every process. Inside another block this is a part of that one.

        Raises:
            DatabaseUnavailable: others held it for too long, or the database is away.
        """
        ...


@runtime_checkable
class Audit(Protocol):
    """The trail. It is written to and read, never changed."""

    async def record(self, by: Actor, entry: AuditEntry) -> None:
        """Write down what ``by`` did; inside ``Transactions.begin`` it stands or falls with the change."""
        ...

    async def page(self, wanted: AuditFilter, *, limit: int, offset: int) -> tuple[Sequence[AuditEvent], int]:
        """Return some events, newest first, and how many there are in all."""
        ...
