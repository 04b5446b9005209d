"""API tokens: making and deleting one."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pgsched.application.ports.access import Tokens
from pgsched.application.ports.audit import Audit, Transactions
from pgsched.application.ports.repositories import Accounts
from pgsched.application.ports.timing import Clock
from pgsched.application.ports.views import QueryView
from pgsched.domain.accounts import Account
from pgsched.domain.audience import of_account
from pgsched.domain.audit import Actor, added, removed
from pgsched.domain.errors import FieldFault, InvalidInput, NotFound
from pgsched.domain.tokens import (
    MOST_QUERIES,
    SECRET_BYTES,
    ApiToken,
    token_hash,
    token_name_fault,
    token_text,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class AddedToken:
    """A token that was made, and its text, which is never to be had again."""

    token: ApiToken
    text: str = field(repr=False)


class AddToken:
    """Makes a token that reads what its owner may read, or less."""

    def __init__(
        self,
        tokens: Tokens,
        accounts: Accounts,
        queries: QueryView,
        transactions: Transactions,
        audit: Audit,
        clock: Clock,
    ) -> None:
        self._tokens = tokens
        self._accounts = accounts
        self._queries = queries
        self._transactions = transactions
        self._audit = audit
        self._clock = clock

    async def __call__(
        self,
        owner: Account,
        name: str,
        by: Actor,
        *,
        expires_at: datetime | None = None,
        queries: Sequence[str | int] | None = None,
    ) -> AddedToken:
        """Make it; ``queries`` are names or ids of queries that the owner may see.

        Raises:
            InvalidInput: with a fault for each bad field.
            NotFound: the owner is gone, or not active any more.
        """
        faults = [fault] if (fault := token_name_fault(name)) else []
        if expires_at is not None and expires_at <= await self._clock.now():
            faults.append(FieldFault(field="expires_at", message="must be in the future"))
        narrowed = None if queries is None else await self._ids(owner, queries, faults)
        if faults:
            raise InvalidInput.of(*faults)
        text = token_text(secrets.token_bytes(SECRET_BYTES))
        async with self._transactions.begin(rights=True):
            if not (await self._accounts.get(owner.id)).is_active:
                raise NotFound("user", owner.id)
            token = await self._tokens.add(
                user_id=owner.id,
                name=name,
                token_hash=token_hash(text),
                queries=narrowed,
                expires_at=expires_at,
            )
            await self._audit.record(by, added("token", token.id, token.name, trail_of(token)))
        return AddedToken(token=token, text=text)

    async def _ids(self, owner: Account, queries: Sequence[str | int], faults: list[FieldFault]) -> list[int]:
        if len(queries) > MOST_QUERIES:
            faults.append(FieldFault(field="queries", message=f"must name at most {MOST_QUERIES} queries"))
            return []
        found: list[int] = []
        for number, key in enumerate(queries):
            try:
                found.append((await self._queries.card(of_account(owner), key)).id)
            except NotFound as error:
                faults.append(FieldFault(field=f"queries[{number}]", message=error.detail))
        return sorted(set(found))


class DeleteToken:
    """Deletes a token: it opens nothing any more."""

    def __init__(self, tokens: Tokens, transactions: Transactions, audit: Audit) -> None:
        self._tokens = tokens
        self._transactions = transactions
        self._audit = audit

    async def __call__(self, token_id: int, by: Actor, *, owner_id: int | None = None) -> None:
        """Delete it with its grants; with ``owner_id`` only when it is that account's.

        Raises:
            NotFound: there is no such token, or it is another's.
        """
        async with self._transactions.begin(rights=True):
            token = await self._tokens.get(token_id)
            if owner_id not in (None, token.user_id):
                raise NotFound("token", token_id)
            await self._tokens.remove(token_id)
            await self._audit.record(by, removed("token", token.id, token.name, trail_of(token)))


def trail_of(token: ApiToken) -> dict[str, object]:
    """Return what the audit trail keeps of a token."""
    return {
        "name": token.name,
        "user_id": token.user_id,
        "queries": token.queries,
        "expires_at": token.expires_at,
    }
