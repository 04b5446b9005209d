"""Accounts: adding one."""

from __future__ import annotations

import asyncio

from pgsched.application.ports.repositories import Accounts
from pgsched.application.ports.secrets import PasswordHasher
from pgsched.domain.accounts import Account, NewAccount


class AddAccount:
    """Checks an account's rules, hashes its password, stores it."""

    def __init__(self, accounts: Accounts, hasher: PasswordHasher) -> None:
        self._accounts = accounts
        self._hasher = hasher

    async def __call__(self, new: NewAccount, password: str) -> Account:
        """Store the account; the rules were judged when ``new`` was made.

        Raises:
            EmailTaken: another account has the address.
        """
        password_hash = await asyncio.to_thread(self._hasher.hash, password)
        return await self._accounts.add(
            email=new.email, name=new.name, roles=new.roles, password_hash=password_hash
        )
