"""Accounts: adding one."""

from __future__ import annotations

import asyncio

from pgsched.application.ports.audit import Audit, Transactions
from pgsched.application.ports.repositories import Accounts
from pgsched.application.ports.secrets import PasswordHasher
from pgsched.domain.accounts import Account, NewAccount
from pgsched.domain.audit import Actor, added


class AddAccount:
    """Checks an account's rules, hashes its password, stores it."""

    def __init__(
        self, accounts: Accounts, hasher: PasswordHasher, transactions: Transactions, audit: Audit
    ) -> None:
        self._accounts = accounts
        self._hasher = hasher
        self._transactions = transactions
        self._audit = audit

    async def __call__(self, new: NewAccount, password: str, by: Actor) -> Account:
        """Store the account; the rules were judged when ``new`` was made.

        Raises:
            EmailTaken: another account has the address.
        """
        password_hash = await asyncio.to_thread(self._hasher.hash, password)
        async with self._transactions.begin():
            account = await self._accounts.add(
                email=new.email, name=new.name, roles=new.roles, password_hash=password_hash
            )
            await self._audit.record(by, added("user", account.id, account.email, trail_of(account)))
        return account


def trail_of(account: Account) -> dict[str, object]:
    """Return what the audit trail keeps of an account."""
    return {
        "email": account.email,
        "name": account.name,
        "roles": account.roles,
        "is_active": account.is_active,
    }
