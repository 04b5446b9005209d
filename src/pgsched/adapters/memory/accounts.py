"""The accounts and their roles in memory."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from pgsched.adapters.memory.store import MemoryStore
from pgsched.application.ports.repositories import AccountWithPassword
from pgsched.domain.accounts import Account, administers, email_key
from pgsched.domain.errors import EmailTaken, NotFound


class MemoryAccounts:
    """The port ``Accounts`` over a store; roles come out in the order of their names."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def add(self, *, email: str, name: str, roles: Collection[str], password_hash: str) -> Account:
        """Store an account."""
        self._ensure_free(email)
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

    async def get(self, key: str | int) -> Account:
        """Return the account of this address or id."""
        for account in self._store.accounts.values():
            if key == account.id or (isinstance(key, str) and email_key(key) == email_key(account.email)):
                return account
        raise NotFound("user", key)

    async def with_password(self, key: str | int) -> AccountWithPassword:
        """Return the same and its password's hash."""
        account = await self.get(key)
        return AccountWithPassword(account=account, password_hash=self._store.password_hashes[account.id])

    async def all(self) -> Sequence[Account]:
        """Return every account, by id."""
        return sorted(self._store.accounts.values(), key=lambda account: account.id)

    async def page(self, *, limit: int, offset: int) -> tuple[Sequence[Account], int]:
        """Return some accounts by id, and how many there are."""
        found = await self.all()
        return found[offset : offset + limit], len(found)

    async def replace(self, account: Account) -> Account:
        """Put address, name, roles and activity anew."""
        before = await self.get(account.id)
        self._ensure_free(account.email, but=account.id)
        changed = replace(
            account,
            roles=tuple(sorted(set(account.roles))),
            created_at=before.created_at,
            updated_at=self._store.clock.read(),
        )
        self._store.accounts[account.id] = changed
        return changed

    async def set_password(
        self, account_id: int, password_hash: str, *, instead_of: str | None = None
    ) -> None:
        """Put the password's hash anew."""
        if instead_of is None:
            account = await self.get(account_id)
            self._store.accounts[account_id] = replace(account, updated_at=self._store.clock.read())
        elif self._store.password_hashes.get(account_id) != instead_of:
            return
        self._store.password_hashes[account_id] = password_hash

    async def remove(self, account_id: int) -> None:
        """Delete an account with its sessions, tokens and grants."""
        await self.get(account_id)
        store = self._store
        del store.accounts[account_id], store.password_hashes[account_id]
        store.sessions = {key: kept for key, kept in store.sessions.items() if kept.user_id != account_id}
        store.remove_tokens(token.id for token in store.tokens.values() if token.user_id == account_id)
        store.remove_grants(lambda grant: grant.user_id == account_id)

    async def count_admins(self) -> int:
        """Return how many active admins there are."""
        return sum(administers(account) for account in self._store.accounts.values())

    def _ensure_free(self, email: str, but: int | None = None) -> None:
        for other in self._store.accounts.values():
            if other.id != but and email_key(other.email) == email_key(email):
                raise EmailTaken(email)
