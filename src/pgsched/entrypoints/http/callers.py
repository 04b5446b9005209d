"""Who asks: the seam between authentication, which the edge does once a request, and the handlers."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, cast

from pgsched.domain.audit import Actor
from pgsched.domain.callers import Caller

if TYPE_CHECKING:
    from litestar import Request

    from pgsched.application.authentication import Authenticate
    from pgsched.entrypoints.http.memory import Memory
    from pgsched.entrypoints.http.peers import Peer

#: seconds that a caller is remembered for: its session or token may end by itself meanwhile
REMEMBERED_S = 0.9
#: callers remembered at once
_MOST = 4096
_NOTHING = (None, None)

#: where the edge puts the caller in the scope of a request
CALLER = "pgsched.caller"
#: where it puts the request's id
REQUEST_ID = "pgsched.request_id"
#: where it puts, on writes, whether another site's page sent it
FOREIGN = "pgsched.foreign"

#: the session's cookie
COOKIE = "sid"
_SID = re.compile(rb"(?:^|;)[ \t]*sid=([^;]*)")


class Authenticator(Protocol):
    """Tells from a request's headers who asks."""

    async def __call__(self, headers: Mapping[bytes, bytes], peer: Peer) -> Caller:
        """Return the caller; somebody without a session or token is a caller too.

        Raises:
            NotAuthenticated: what is shown is not valid: never passed over as if nothing had been shown.
        """
        ...


class HeaderAuthenticator:
    """Asks what ``Authorization: Bearer`` or, without it, the cookie shows."""

    def __init__(self, authenticate: Authenticate) -> None:
        self._authenticate = authenticate

    async def __call__(self, headers: Mapping[bytes, bytes], peer: Peer) -> Caller:  # noqa: ARG002 (the port's)
        """Return the caller; an Authorization of another scheme is a proxy's affair, not ours."""
        scheme, _, shown = headers.get(b"authorization", b"").strip().partition(b" ")
        if scheme.lower() == b"bearer":
            return await self._authenticate.by_token(shown.strip().decode("latin-1"))
        if b"cookie" in headers:
            sids = {value.strip(b' \t"') for value in _SID.findall(headers[b"cookie"])}
            # Two of them come from somebody who planted one: neither is taken.
            if len(sids) == 1:
                return await self._authenticate.by_sid(sids.pop().decode("latin-1"))
        return self._authenticate.nobody()


class RememberedCallers:
    """An authenticator that remembers what it was told, for less than a second and in one generation."""

    def __init__(self, asked: Authenticator, memory: Memory | None) -> None:
        """Take the one to ask, and what says how long an answer may be believed."""
        #: asks anew
        self.asked = asked
        self._memory = memory
        #: who shows nothing; the same for as long as the process runs
        self._nobody: Caller | None = None

    def known(self, headers: Mapping[bytes, bytes]) -> Caller | None:
        """Return who asks if it can be told without asking."""
        if self._memory is None or not self._memory.trusted:
            return None
        shown = headers.get(b"authorization"), headers.get(b"cookie")
        if shown == _NOTHING:
            return self._nobody
        known: tuple[Caller, float] | None = self._memory.generation.callers.get(shown)
        return known[0] if known is not None and time.monotonic() < known[1] else None

    async def __call__(self, headers: Mapping[bytes, bytes], peer: Peer) -> Caller:
        """Return who asks."""
        known = self.known(headers)
        if known is not None:
            return known
        if self._memory is None:
            return await self.asked(headers, peer)
        shown = headers.get(b"authorization"), headers.get(b"cookie")
        if shown == _NOTHING:
            self._nobody = caller = await self.asked(headers, peer)
            return caller
        # both before asking: what is remembered is at least as new
        callers, until = self._memory.generation.callers, time.monotonic() + REMEMBERED_S
        caller = await self.asked(headers, peer)
        if len(callers) >= _MOST:
            callers.clear()
        callers[shown] = caller, until
        return caller


def actor_of(request: Request[Any, Any, Any]) -> Actor:
    """Return who asks, for the audit trail."""
    account = caller_of(request).account
    return Actor(
        name="anonymous" if account is None else account.email,
        id=None if account is None else account.id,
        ip=request.client.host if request.client else None,
        request_id=cast("dict[str, Any]", request.scope)[REQUEST_ID],
    )


def is_foreign(request: Request[Any, Any, Any]) -> bool:
    """Whether another site's page sent a write."""
    return bool(cast("dict[str, Any]", request.scope)[FOREIGN])


def caller_of(request: Request[Any, Any, Any]) -> Caller:
    """Return who asks, as the edge found it."""
    return cast("Caller", cast("dict[str, Any]", request.scope)[CALLER])
