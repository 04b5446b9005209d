"""Sessions, tokens, failed logins and the look-up of every request, in memory."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from pgsched.adapters.memory.store import MemoryStore
from pgsched.application.ports.access import SessionFound, TokenFound
from pgsched.domain.errors import NotFound
from pgsched.domain.sessions import Session, is_live
from pgsched.domain.throttling import WINDOW, Failures
from pgsched.domain.tokens import ApiToken


class MemoryCredentials:
    """The port ``Credentials`` over a store."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def session(self, sid_hash: str) -> SessionFound:
        """Return the session that a sid's hash stands for."""
        session = self._store.sessions.get(sid_hash)
        if session is None:
            raise NotFound("session", "that was shown")
        account = self._store.accounts[session.user_id]
        return SessionFound(session=session, account=account, at=self._store.clock.read())

    async def token(self, token_hash: str) -> TokenFound:
        """Return the token that a hash stands for."""
        token_id = self._store.token_ids.get(token_hash)
        if token_id is None:
            raise NotFound("token", "that was shown")
        token = self._store.tokens[token_id]
        owner = self._store.accounts[token.user_id]
        return TokenFound(token=token, owner=owner, at=self._store.clock.read())


class MemorySessions:
    """The port ``Sessions`` over a store."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def add(self, session: Session) -> None:
        """Store a session that begins."""
        self._store.sessions[session.id] = session

    async def live(self, user_id: int, now: datetime) -> Sequence[Session]:
        """Return an account's sessions that may be used now, the newest first."""
        found = [kept for kept in self._store.sessions.values() if kept.user_id == user_id]
        by_id = sorted((kept for kept in found if is_live(kept, now)), key=lambda kept: kept.id)
        return sorted(by_id, key=lambda kept: kept.created_at, reverse=True)

    async def touch(self, session_id: str, seen_at: datetime, expires_at: datetime | None) -> None:
        """Note that a session was used, and its new end unless None."""
        kept = self._store.sessions.get(session_id)
        if kept is not None and not kept.is_revoked:
            self._store.sessions[session_id] = replace(
                kept,
                last_seen_at=max(kept.last_seen_at, seen_at),
                expires_at=max(kept.expires_at, expires_at or kept.expires_at),
            )

    async def revoke(self, session_id: str, *, user_id: int) -> Session:
        """End an account's session."""
        kept = self._store.sessions.get(session_id)
        if kept is None or kept.user_id != user_id or kept.is_revoked:
            raise NotFound("session", session_id)
        self._store.sessions[session_id] = replace(kept, is_revoked=True)
        return self._store.sessions[session_id]

    async def revoke_all(self, user_id: int, *, but: str | None = None) -> int:
        """End all sessions of an account but one, and return how many those were."""
        ended = [
            kept
            for kept in self._store.sessions.values()
            if kept.user_id == user_id and not kept.is_revoked and kept.id != but
        ]
        self._store.sessions.update({kept.id: replace(kept, is_revoked=True) for kept in ended})
        return len(ended)

    async def forget_ended(self, before: datetime) -> None:
        """Delete sessions that ended before this."""
        kept = self._store.sessions
        self._store.sessions = {key: one for key, one in kept.items() if one.expires_at >= before}


class MemoryTokens:
    """The port ``Tokens`` over a store."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def add(
        self,
        *,
        user_id: int,
        name: str,
        token_hash: str,
        queries: Collection[int] | None,
        expires_at: datetime | None,
    ) -> ApiToken:
        """Store a token."""
        if user_id not in self._store.accounts:
            raise NotFound("user", user_id)
        token = ApiToken(
            id=self._store.new_id(),
            user_id=user_id,
            name=name,
            queries=None if queries is None else tuple(queries),
            created_at=self._store.clock.read(),
            expires_at=expires_at,
            last_used_at=None,
        )
        self._store.tokens[token.id] = token
        self._store.token_ids[token_hash] = token.id
        return token

    async def get(self, token_id: int) -> ApiToken:
        """Return one token."""
        if token_id not in self._store.tokens:
            raise NotFound("token", token_id)
        return self._store.tokens[token_id]

    async def page(self, user_id: int | None, *, limit: int, offset: int) -> tuple[Sequence[ApiToken], int]:
        """Return some tokens of an account, None for all accounts, by id, and how many there are."""
        found = [token for token in self._store.tokens.values() if user_id in (None, token.user_id)]
        return found[offset : offset + limit], len(found)

    async def touch(self, token_id: int, used_at: datetime) -> None:
        """Note that a token was used."""
        token = self._store.tokens.get(token_id)
        if token is not None:
            last = max(token.last_used_at or used_at, used_at)
            self._store.tokens[token_id] = replace(token, last_used_at=last)

    async def remove(self, token_id: int) -> None:
        """Delete a token, and its grants."""
        await self.get(token_id)
        self._store.remove_tokens([token_id])

    async def remove_all(self, user_id: int) -> Sequence[ApiToken]:
        """Delete all tokens of an account and return them."""
        gone = [token for token in self._store.tokens.values() if token.user_id == user_id]
        self._store.remove_tokens(token.id for token in gone)
        return gone


class MemoryLoginFailures:
    """The port ``LoginFailures`` over a store."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def count(self, email: str, network: str | None) -> Failures:
        """Count what lies inside the window for a try at an account from a network."""
        now = self._store.clock.read()
        recent = [failure for failure in self._store.login_failures if failure[2] > now - WINDOW]
        here = [at for tried, origin, at in recent if (tried, origin) == (email, network)]
        of_network = [at for _, origin, at in recent if network is not None and origin == network]
        return Failures(
            here=len(here),
            of_account=sum(tried == email for tried, _, _ in recent),
            of_network=len(of_network),
            last_here=max(here, default=None),
            last_of_network=max(of_network, default=None),
            now=now,
        )

    async def record(self, email: str, network: str | None) -> None:
        """Note a failure; forgets what is older than a day."""
        now = self._store.clock.read()
        kept = [failure for failure in self._store.login_failures if failure[2] >= now - timedelta(days=1)]
        self._store.login_failures = [*kept, (email, network, now)]

    async def forget(self, email: str, network: str | None) -> None:
        """Forget the failures of an account from a network."""
        self._store.login_failures = [
            failure for failure in self._store.login_failures if failure[:2] != (email, network)
        ]
