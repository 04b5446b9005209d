"""Who asks: what a cookie or a token means, judged anew on every request."""

from __future__ import annotations

import logging
from collections.abc import Awaitable
from datetime import datetime, timedelta

from pgsched.application.ports.access import Credentials, Sessions, Tokens
from pgsched.domain.audience import anonymous, of_account, of_token
from pgsched.domain.callers import Caller
from pgsched.domain.errors import DatabaseFault, NotAuthenticated, NotFound
from pgsched.domain.sessions import SessionRules, extended_expiry, is_live, is_sid, sid_hash
from pgsched.domain.tokens import is_good, is_token, token_hash

_log = logging.getLogger(__name__)

#: a use is written down when the last one that was lies this far back
_TOUCH_EVERY = timedelta(minutes=1)
#: uses remembered by a process at most; beyond, they are written down once more than needed
_MOST_REMEMBERED = 10_000


class Authenticate:
    """Tells the caller from what is shown, and notes its use at most once a minute."""

    def __init__(
        self,
        credentials: Credentials,
        sessions: Sessions,
        tokens: Tokens,
        rules: SessionRules,
        *,
        public_read: bool,
    ) -> None:
        self._credentials = credentials
        self._sessions = sessions
        self._tokens = tokens
        self._rules = rules
        self._anonymous = Caller(audience=anonymous(public_read=public_read))
        #: when each session's or token's use was last written down here
        self._touched: dict[str | int, datetime] = {}

    def nobody(self) -> Caller:
        """Return the caller who shows nothing."""
        return self._anonymous

    async def by_sid(self, sid: str) -> Caller:
        """Return whose session a sid stands for.

        A sid that is none, no longer one, or of an account that is not active, shows nothing: a browser goes
        on sending its cookie, and what is public shall not end with the login.
        """
        if not is_sid(sid):
            return self._anonymous
        try:
            found = await self._credentials.session(sid_hash(sid))
        except NotFound:
            return self._anonymous
        if not is_live(found.session, found.at) or not found.account.is_active:
            return self._anonymous
        later = extended_expiry(found.session, found.at, self._rules)
        if self._is_to_be_noted(found.session.id, found.session.last_seen_at, found.at):
            await self._noted(self._sessions.touch(found.session.id, found.at, later))
        return Caller(audience=of_account(found.account), account=found.account, session_id=found.session.id)

    async def by_token(self, token: str) -> Caller:
        """Return whose token a text is.

        Raises:
            NotAuthenticated: it is none, no longer one, or of an account that is not active. Somebody put it
                there to be let in, and shall not take what is public for what it opens.
        """
        if not is_token(token):
            raise NotAuthenticated("the token is not valid")
        try:
            found = await self._credentials.token(token_hash(token))
        except NotFound:
            raise NotAuthenticated("the token is not valid") from None
        if not is_good(found.token, found.at) or not found.owner.is_active:
            raise NotAuthenticated("the token is not valid")
        if self._is_to_be_noted(found.token.id, found.token.last_used_at, found.at):
            await self._noted(self._tokens.touch(found.token.id, found.at))
        return Caller(
            audience=of_token(found.owner, found.token.id, found.token.queries),
            account=found.owner,
            token_id=found.token.id,
        )

    def _is_to_be_noted(self, key: str | int, last: datetime | None, at: datetime) -> bool:
        """Whether a minute has passed; by what was found or, where that was kept for a while, by memory."""
        here = self._touched.get(key)
        known = max((when for when in (last, here) if when is not None), default=None)
        if known is not None and at - known < _TOUCH_EVERY:
            return False
        if len(self._touched) >= _MOST_REMEMBERED:
            self._touched.clear()
        self._touched[key] = at
        return True

    async def _noted(self, write: Awaitable[None]) -> None:
        """Write a use down; a request that could be answered does not fail for it."""
        try:
            await write
        except DatabaseFault as fault:
            _log.warning("a use was not noted: %s", fault.detail, extra={"action": "access.not_noted"})
