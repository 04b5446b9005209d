"""Who asks: the seam between authentication, which the edge does once a request, and the handlers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, cast

from pgsched.domain.audience import anonymous
from pgsched.domain.callers import Caller
from pgsched.domain.errors import NotAuthenticated

if TYPE_CHECKING:
    from litestar import Request

    from pgsched.entrypoints.http.peers import Peer

#: where the edge puts the caller in the scope of a request
CALLER = "pgsched.caller"


class Authenticator(Protocol):
    """Tells from a request's headers who asks."""

    async def __call__(self, headers: Mapping[bytes, bytes], peer: Peer) -> Caller:
        """Return the caller; somebody without a session or token is a caller too.

        Raises:
            NotAuthenticated: what is shown is not valid: never passed over as if nothing had been shown.
        """
        ...


class NobodyKnown:
    """Knows nobody: every caller is anonymous, every token invalid."""

    def __init__(self, *, public_read: bool) -> None:
        self._caller = Caller(audience=anonymous(public_read=public_read))

    async def __call__(self, headers: Mapping[bytes, bytes], peer: Peer) -> Caller:  # noqa: ARG002 (the port's)
        """Return the one caller there is."""
        if headers.get(b"authorization", b"")[:7].lower() == b"bearer ":
            raise NotAuthenticated("the token is not valid")
        return self._caller


def caller_of(request: Request[Any, Any, Any]) -> Caller:
    """Return who asks, as the edge found it."""
    return cast("Caller", cast("dict[str, Any]", request.scope)[CALLER])
