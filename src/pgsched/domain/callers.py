"""Callers: who asks, as authentication found it, and what they may do beyond reading."""

from __future__ import annotations

from dataclasses import dataclass

from pgsched.domain.accounts import Account, Right
from pgsched.domain.audience import Audience
from pgsched.domain.errors import Forbidden, NotAuthenticated

_ORDER = tuple(Right)


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """Who asks: nobody known, an account by its session, or a token."""

    #: what they may read
    audience: Audience
    #: whose session or token it is, None for nobody known
    account: Account | None = None
    #: SHA-256 of the sid, None unless by session
    session_id: str | None = None
    #: id of the token, None unless by token
    token_id: int | None = None

    def require(self, right: Right) -> Account:
        """Return the account when it may do what ``right`` allows, by a session.

        Raises:
            NotAuthenticated: nobody is logged in.
            Forbidden: the roles do not allow it, or the caller is a token, which reads results and no more.
        """
        if self.account is None:
            raise NotAuthenticated("log in first: POST /api/auth/login")
        if self.token_id is not None:
            raise Forbidden("a token reads results and nothing else; log in for this")
        if _ORDER.index(self.account.right) < _ORDER.index(right):
            raise Forbidden(f"this needs the role {right}")
        return self.account

    def require_self_or_admin(self, user_id: int) -> Account:
        """Return the account when it is the one named, or an admin's.

        Raises:
            NotAuthenticated: nobody is logged in.
            Forbidden: it is somebody else's.
        """
        account = self.require(Right.VIEWER)
        if account.id != user_id and account.right is not Right.ADMIN:
            raise Forbidden("this is for admins, and for the account itself")
        return account
