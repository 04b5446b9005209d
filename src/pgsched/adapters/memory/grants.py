"""The grants in memory."""

from __future__ import annotations

from collections.abc import Sequence

from pgsched.adapters.memory.store import MemoryStore
from pgsched.application.ports.grants import Grantee, HeldGrant
from pgsched.domain.audience import Grant
from pgsched.domain.errors import NotFound


class MemoryGrants:
    """The port ``Grants`` over a store."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def of(self, query_id: int) -> Sequence[HeldGrant]:
        """Return the grants on a query."""
        held = [self._held(grant) for grant in self._store.grants.get(query_id, ())]
        return sorted(
            held,
            key=lambda each: (
                each.grant.user_id is None,
                each.grant.role is None,
                (each.email or "").lower(),
                each.grant.role or "",
                each.grant.token_id or 0,
            ),
        )

    async def replace(self, query_id: int, grants: Sequence[Grant]) -> None:
        """Put these in the place of all grants on a query."""
        if query_id not in self._store.jobs:
            raise NotFound("query", query_id)
        for grant in grants:
            if grant.user_id is not None and grant.user_id not in self._store.accounts:
                raise NotFound("user", "named here any more")
            if grant.token_id is not None and grant.token_id not in self._store.tokens:
                raise NotFound("token", "named here any more")
        self._store.grants[query_id] = list(grants)

    async def users(self, key: str | int) -> Sequence[Grantee]:
        """Return the users of this id, address or name; an address comes before a name."""
        everybody = [
            Grantee(id=each.id, name=each.name, email=each.email) for each in self._store.accounts.values()
        ]
        if isinstance(key, int):
            return [each for each in everybody if each.id == key]
        addressed = [each for each in everybody if (each.email or "").lower() == key.lower()]
        return addressed or [each for each in everybody if each.name == key]

    async def tokens(self, key: str | int) -> Sequence[Grantee]:
        """Return the tokens of this id or name."""
        found = self._store.tokens.values()
        return [
            Grantee(id=each.id, name=each.name)
            for each in found
            if key == (each.id if isinstance(key, int) else each.name)
        ]

    def _held(self, grant: Grant) -> HeldGrant:
        if grant.user_id is not None:
            account = self._store.accounts[grant.user_id]
            return HeldGrant(grant=grant, name=account.name, email=account.email)
        if grant.token_id is not None:
            return HeldGrant(grant=grant, name=self._store.tokens[grant.token_id].name)
        return HeldGrant(grant=grant, name=grant.role or "")
