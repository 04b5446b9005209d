"""Logging in and out."""

from __future__ import annotations

import logging
import math
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

from pgsched.application.hashing import BoundedHashing
from pgsched.application.ports.access import LoginFailures, Sessions
from pgsched.application.ports.audit import Audit, Transactions
from pgsched.application.ports.repositories import Accounts, AccountWithPassword
from pgsched.application.ports.timing import Clock
from pgsched.domain.accounts import EMAIL_LONGEST, PASSWORD_LONGEST, Account, email_key
from pgsched.domain.audit import Actor, done
from pgsched.domain.callers import Caller
from pgsched.domain.errors import InvalidCredentials, NotFound, TooManyRequests
from pgsched.domain.sessions import KEPT_AFTER_END, Session, SessionRules, expiry_at_login, sid_hash
from pgsched.domain.throttling import network_of, wait_for

_log = logging.getLogger(__name__)

#: most characters kept of what a browser calls itself
_USER_AGENT_LONGEST = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class LoggedIn:
    """A login that was let in."""

    account: Account
    #: the secret that the browser keeps; nothing here does
    sid: str = field(repr=False)


class CheckPassword:
    """Checks passwords: bounded, throttled, and with equal work whoever is asked for."""

    def __init__(self, accounts: Accounts, failures: LoginFailures, hashing: BoundedHashing) -> None:
        self._accounts = accounts
        self._failures = failures
        self._hashing = hashing
        self._decoy: str | None = None

    async def __call__(self, email: str, password: str, ip: str | None) -> AccountWithPassword:
        """Return the account when it is active and the password is its own.

        Failures are counted for the account and the network before anything is looked up, and again once it
        is this one's turn: of those that came at once, the ones ahead have been decided by then.

        Raises:
            InvalidCredentials: there is no such account, it is not active, or the password is wrong.
            TooManyRequests: too many failures, or too many passwords being checked.
        """
        tried, network = email_key(email)[:EMAIL_LONGEST], network_of(ip)
        await self._ensure_free(tried, network)
        async with self._hashing.slot():
            await self._ensure_free(tried, network)
            try:
                found = await self._accounts.with_password(email)
            except NotFound:
                found = None
            if self._decoy is None:
                self._decoy = await self._hashing.hash(secrets.token_urlsafe())
            stored = self._decoy if found is None else found.password_hash
            fits = _fits(password) and await self._hashing.verify(stored, password)
            if found is None or not fits or not found.account.is_active:
                await self._failures.record(tried, network)
                raise InvalidCredentials
            if self._hashing.needs_rehash(stored):
                renewed = await self._hashing.hash(password)
                await self._accounts.set_password(found.account.id, renewed, instead_of=stored)
                found = AccountWithPassword(account=found.account, password_hash=renewed)
        await self._failures.forget(tried, network)
        return found

    async def _ensure_free(self, tried: str, network: str | None) -> None:
        wait = wait_for(await self._failures.count(tried, network))
        if wait > timedelta(0):
            seconds = math.ceil(wait.total_seconds())
            _log.warning(
                "a login is put off after too many failures",
                extra={"action": "login.throttled", "client": network},
            )
            raise TooManyRequests("too many failed logins", retry_after_s=seconds)


class LogIn:
    """Opens a session for a password."""

    def __init__(
        self,
        check_password: CheckPassword,
        hashing: BoundedHashing,
        accounts: Accounts,
        sessions: Sessions,
        transactions: Transactions,
        audit: Audit,
        clock: Clock,
        rules: SessionRules,
    ) -> None:
        self._check_password = check_password
        self._hashing = hashing
        self._accounts = accounts
        self._sessions = sessions
        self._transactions = transactions
        self._audit = audit
        self._clock = clock
        self._rules = rules

    async def __call__(
        self, email: str, password: str, by: Actor, *, user_agent: str | None, instead_of: Caller
    ) -> LoggedIn:
        """Let somebody in, with a new sid; the session that the same browser showed, if any, ends.

        Raises as ``CheckPassword`` does.
        """
        found = await self._check_password(email, password, by.ip)
        sid = secrets.token_urlsafe(32)
        now = await self._clock.now()
        session = Session(
            id=sid_hash(sid),
            user_id=found.account.id,
            created_at=now,
            last_seen_at=now,
            expires_at=expiry_at_login(now, self._rules),
            ip=by.ip,
            user_agent=user_agent and user_agent[:_USER_AGENT_LONGEST],
        )
        async with self._transactions.begin(rights=True):
            # What ended the account's sessions while the password was checked must end this one as well.
            account = await self._unchanged(found, password)
            await self._end(instead_of)
            await self._sessions.add(session)
            await self._sessions.forget_ended(now - KEPT_AFTER_END)
            actor = Actor(name=account.email, id=account.id, ip=by.ip, request_id=by.request_id)
            await self._audit.record(actor, done("session.create", session.id, account.email))
        return LoggedIn(account=account, sid=sid)

    async def _unchanged(self, found: AccountWithPassword, password: str) -> Account:
        try:
            again = await self._accounts.with_password(found.account.id)
        except NotFound:
            raise InvalidCredentials from None
        same = again.password_hash == found.password_hash
        # Another login of the same password may just have had it hashed anew.
        if not again.account.is_active or not (
            same or await self._hashing.verify(again.password_hash, password)
        ):
            raise InvalidCredentials
        return again.account

    async def _end(self, caller: Caller) -> None:
        if caller.session_id is not None and caller.account is not None:
            with suppress(NotFound):  # ended meanwhile, as was meant
                await self._sessions.revoke(caller.session_id, user_id=caller.account.id)


class EndSession:
    """Ends one of an account's sessions: its own at logout, or another from the list."""

    def __init__(self, sessions: Sessions, transactions: Transactions, audit: Audit) -> None:
        self._sessions = sessions
        self._transactions = transactions
        self._audit = audit

    async def __call__(self, account: Account, session_id: str, by: Actor) -> None:
        """End it; it opens nothing any more when this returns.

        Raises:
            NotFound: the account has no such session.
        """
        async with self._transactions.begin(rights=True):
            await self._sessions.revoke(session_id, user_id=account.id)
            await self._audit.record(by, done("session.revoke", session_id, account.email))


def _fits(password: str) -> bool:
    """Whether a text can be a password at all: longer ones are not hashed; short ones are, as any other."""
    return len(password) <= PASSWORD_LONGEST and len(password.encode()) <= PASSWORD_LONGEST
