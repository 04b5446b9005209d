"""Accounts: adding, changing and deleting one, and its password."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from pgsched.application.hashing import BoundedHashing
from pgsched.application.login import CheckPassword
from pgsched.application.ports.access import Sessions, Tokens
from pgsched.application.ports.audit import Audit, Transactions
from pgsched.application.ports.repositories import Accounts
from pgsched.application.tokens import trail_of as trail_of_token
from pgsched.domain.accounts import (
    Account,
    AccountChange,
    NewAccount,
    administers,
    check_password,
    ensure_admin_left,
)
from pgsched.domain.audit import Actor, added, changed, removed
from pgsched.domain.errors import InvalidCredentials, Stale, WrongPassword


class AddAccount:
    """Checks an account's rules, hashes its password, stores it."""

    def __init__(
        self, accounts: Accounts, hashing: BoundedHashing, transactions: Transactions, audit: Audit
    ) -> None:
        self._accounts = accounts
        self._hashing = hashing
        self._transactions = transactions
        self._audit = audit

    async def __call__(self, new: NewAccount, password: str, by: Actor) -> Account:
        """Store the account; the rules were judged when ``new`` was made.

        Raises:
            InvalidInput: the password is too short or too long.
            EmailTaken: another account has the address.
            TooManyRequests: too many passwords are being hashed.
        """
        check_password(password)
        async with self._hashing.slot():
            password_hash = await self._hashing.hash(password)
        async with self._transactions.begin(rights=True):
            account = await self._accounts.add(
                email=new.email, name=new.name, roles=new.roles, password_hash=password_hash
            )
            await self._audit.record(by, added("user", account.id, account.email, trail_of(account)))
        return account


class ChangeAccount:
    """Changes an account; whoever loses rights by it is out at once, and an admin is always left."""

    def __init__(
        self, accounts: Accounts, sessions: Sessions, tokens: Tokens, transactions: Transactions, audit: Audit
    ) -> None:
        self._accounts = accounts
        self._sessions = sessions
        self._tokens = tokens
        self._transactions = transactions
        self._audit = audit

    async def __call__(
        self,
        account_id: int,
        change: AccountChange,
        by: Actor,
        *,
        is_current: Callable[[datetime], bool] = lambda _: True,
    ) -> Account:
        """Change it; other roles or no activity end its sessions, no activity its tokens too.

        ``is_current`` says of ``updated_at`` whether the account is still the one that was decided about.

        Raises:
            NotFound: there is no such account.
            Stale: it is not current.
            LastAdmin: nobody would be left who can administer.
            EmailTaken: another account has the address.
        """
        async with self._transactions.begin(rights=True):
            before = await self._accounts.get(account_id)
            if not is_current(before.updated_at):
                raise Stale("user")
            after = change.of(before)
            if after == before:
                return before
            others = await self._accounts.count_admins() - administers(before)
            ensure_admin_left(before=before, after=after, other_active_admins=others)
            after = await self._accounts.replace(after)
            entry = changed("user.update", after.id, after.email, trail_of(before), trail_of(after))
            await self._audit.record(by, entry)
            if set(after.roles) != set(before.roles) or (before.is_active and not after.is_active):
                await self._sessions.revoke_all(account_id)
            if not after.is_active:
                for token in await self._tokens.remove_all(account_id):
                    await self._audit.record(
                        by, removed("token", token.id, token.name, trail_of_token(token))
                    )
        return after


class DeleteAccount:
    """Deletes an account with all that hangs on it."""

    def __init__(self, accounts: Accounts, transactions: Transactions, audit: Audit) -> None:
        self._accounts = accounts
        self._transactions = transactions
        self._audit = audit

    async def __call__(self, account_id: int, by: Actor) -> None:
        """Delete it, its sessions, tokens and grants; the trail keeps what it was.

        Raises:
            NotFound: there is no such account.
            LastAdmin: nobody would be left who can administer.
        """
        async with self._transactions.begin(rights=True):
            before = await self._accounts.get(account_id)
            others = await self._accounts.count_admins() - administers(before)
            ensure_admin_left(before=before, after=None, other_active_admins=others)
            await self._accounts.remove(account_id)
            await self._audit.record(by, removed("user", before.id, before.email, trail_of(before)))


class SetPassword:
    """Gives an account another password and ends its sessions."""

    def __init__(
        self,
        accounts: Accounts,
        sessions: Sessions,
        check: CheckPassword,
        hashing: BoundedHashing,
        transactions: Transactions,
        audit: Audit,
    ) -> None:
        self._accounts = accounts
        self._sessions = sessions
        self._check = check
        self._hashing = hashing
        self._transactions = transactions
        self._audit = audit

    async def __call__(
        self, account_id: int, new_password: str, by: Actor, *, keep_session: str | None = None
    ) -> None:
        """Set it for somebody: every session of the account ends but ``keep_session``.

        Raises:
            InvalidInput: the new password is too short or too long.
            NotFound: there is no such account.
            TooManyRequests: too many passwords are being hashed.
        """
        check_password(new_password, "new_password")
        async with self._hashing.slot():
            password_hash = await self._hashing.hash(new_password)
        async with self._transactions.begin(rights=True):
            account = await self._accounts.get(account_id)
            await self._accounts.set_password(account_id, password_hash)
            await self._sessions.revoke_all(account_id, but=keep_session)
            masked = changed("user.set_password", account.id, account.email, {"password": 0}, {"password": 1})
            await self._audit.record(by, masked)

    async def own(
        self, account: Account, current: str | None, new_password: str, by: Actor, *, session_id: str | None
    ) -> None:
        """Set one's own: the current one must be given, and the session it is done in goes on.

        Wrong ones count as failed logins, so that a borrowed session is no way to guess.

        Raises:
            WrongPassword: the current password is wrong or missing.
        """
        check_password(new_password, "new_password")
        try:
            if current is None:
                raise InvalidCredentials
            await self._check(account.email, current, by.ip)
        except InvalidCredentials:
            raise WrongPassword("current_password must be the password that you have now") from None
        await self(account.id, new_password, by, keep_session=session_id)


def trail_of(account: Account) -> dict[str, object]:
    """Return what the audit trail keeps of an account."""
    return {
        "email": account.email,
        "name": account.name,
        "roles": account.roles,
        "is_active": account.is_active,
    }
