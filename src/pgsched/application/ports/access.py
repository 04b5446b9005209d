"""Ports to what lets somebody in: sessions, tokens, failed logins, and the look-up of every request."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable

from pgsched.domain.accounts import Account
from pgsched.domain.sessions import Session
from pgsched.domain.throttling import Failures
from pgsched.domain.tokens import ApiToken


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionFound:
    """A session and whose it is, live or not."""

    session: Session
    #: as it is now, active or not
    account: Account
    #: when it was looked up, UTC
    at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenFound:
    """A token and whose it is, good or not."""

    token: ApiToken
    #: as it is now, active or not
    owner: Account
    #: when it was looked up, UTC
    at: datetime


@runtime_checkable
class Credentials(Protocol):
    """The look-up behind every request that shows something. What it means is judged by the caller.

    Answers may be kept while access_epoch stands still, with ``at`` moved on by the time that has passed; two
    things change without moving it: a session's end is put off (ask again before taking one for expired) and
    sessions and tokens are made (keep no absences).
    """

    async def session(self, sid_hash: str) -> SessionFound:
        """Return the session that a sid's hash stands for.

        Raises:
            NotFound: there is none.
        """
        ...

    async def token(self, token_hash: str) -> TokenFound:
        """Return the token that a hash stands for.

        Raises:
            NotFound: there is none.
        """
        ...


@runtime_checkable
class Sessions(Protocol):
    """The sessions."""

    async def add(self, session: Session) -> None:
        """Store a session that begins."""
        ...

    async def live(self, user_id: int, now: datetime) -> Sequence[Session]:
        """Return an account's sessions that may be used now, the newest first."""
        ...

    async def touch(self, session_id: str, seen_at: datetime, expires_at: datetime | None) -> None:
        """Note that a session was used, and its new end unless None; one that is gone or revoked stays so."""
        ...

    async def revoke(self, session_id: str, *, user_id: int) -> Session:
        """End an account's session.

        Raises:
            NotFound: it is not there, another's, or revoked already.
        """
        ...

    async def revoke_all(self, user_id: int, *, but: str | None = None) -> int:
        """End all sessions of an account but one, and return how many those were."""
        ...

    async def forget_ended(self, before: datetime) -> None:
        """Delete sessions that ended before this."""
        ...


@runtime_checkable
class Tokens(Protocol):
    """The API tokens; their texts are never here."""

    async def add(
        self,
        *,
        user_id: int,
        name: str,
        token_hash: str,
        queries: Collection[int] | None,
        expires_at: datetime | None,
    ) -> ApiToken:
        """Store a token.

        Raises:
            NotFound: there is no such account.
        """
        ...

    async def get(self, token_id: int) -> ApiToken:
        """Return one token.

        Raises:
            NotFound: there is none.
        """
        ...

    async def page(self, user_id: int | None, *, limit: int, offset: int) -> tuple[Sequence[ApiToken], int]:
        """Return some tokens of an account, None for all accounts, by id, and how many there are."""
        ...

    async def touch(self, token_id: int, used_at: datetime) -> None:
        """Note that a token was used; one that is gone stays so."""
        ...

    async def remove(self, token_id: int) -> None:
        """Delete a token, and its grants.

        Raises:
            NotFound: there is none.
        """
        ...

    async def remove_all(self, user_id: int) -> Sequence[ApiToken]:
        """Delete all tokens of an account and return them."""
        ...


@runtime_checkable
class LoginFailures(Protocol):
    """Failed logins, by address tried (small letters) and network; they hold over all processes."""

    async def count(self, email: str, network: str | None) -> Failures:
        """Count what lies inside the window for a try at an account from a network."""
        ...

    async def record(self, email: str, network: str | None) -> None:
        """Note a failure; forgets what is older than a day."""
        ...

    async def forget(self, email: str, network: str | None) -> None:
        """Forget the failures of an account from a network."""
        ...
