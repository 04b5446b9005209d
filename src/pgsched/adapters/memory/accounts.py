"""The accounts and their roles in memory."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from pgsched.adapters.memory.store import MemoryStore
from pgsched.domain.accounts import Account, administers, email_key
from pgsched.domain.errors import EmailTaken


class MemoryAccounts:
    """The port ``Accounts`` over a store; roles come out in the order of their names."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def add(self, *, email: str, name: str, roles: Collection[str], password_hash: str) -> Account:
        """Store an account."""
        if any(email_key(other.email) == email_key(email) for other in self._store.accounts.values()):
            raise EmailTaken(email)
        now = self._store.clock.read()
        account = Account(
            id=self._store.new_id(),
            email=email,
            name=name,
            roles=tuple(sorted(set(roles))),
            created_at=now,
            updated_at=now,
        )
        self._store.accounts[account.id] = account
        self._store.password_hashes[account.id] = password_hash
        return account

    async def all(self) -> Sequence[Account]:
        """Return every account, by id."""
        return sorted(self._store.accounts.values(), key=lambda account: account.id)

    async def count_admins(self) -> int:
        """Return how many active admins there are."""
        return sum(administers(account) for account in self._store.accounts.values())
