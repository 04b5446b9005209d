"""CORS (the Fetch standard, §3.2): which other sites' pages may read, decided ahead of everything else."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pgsched.entrypoints.http.peers import Peer

Headers = list[tuple[bytes, bytes]]

_EXPOSED = b"ETag, X-Request-Id, Retry-After, X-Total-Count, Content-Disposition, Pgsched-Age, Pgsched-Stale"
_ALLOWED_HEADERS = b"Accept, Authorization, Content-Type, If-Match, If-None-Match, X-Request-Id"
#: any origin may read; only one that is named may write, for it alone travels with credentials
_READING = b"GET, HEAD"
_WRITING = b"GET, HEAD, POST, PUT, PATCH, DELETE"
#: seconds a browser may keep what a preflight said
_MAX_AGE_S = b"600"

#: scheme, host, port: all there is to an origin (RFC 6454, section 6.2)
_ORIGIN = re.compile(r"(https?)://([^/?#@:\[\]\s]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?")
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, kw_only=True, slots=True)
class OriginPolicy:
    """The origins that may read answers from a browser."""

    #: whether any may, without credentials
    anyone: bool
    #: those that may with credentials, as browsers send them
    named: frozenset[bytes]

    @classmethod
    def of(cls, origins: Sequence[str]) -> OriginPolicy:
        """Read the setting: origins, or ``*``."""
        named = frozenset(origin.encode() for origin in origins if origin != "*")
        return cls(anyone="*" in origins, named=named)

    def is_foreign(self, headers: Mapping[bytes, bytes], peer: Peer) -> bool:
        """Whether a write comes from a page of another site, as its browser says.

        An Origin must be the one the request was sent to, or a named one; ``*`` names none, and ``null`` is
        nobody's. Sec-Fetch-Site, which no page can set, must not speak of another origin, unless that one
        is named. Requests with neither do not come from a page of this century's browsers.
        """
        origin = headers.get(b"origin")
        if origin is not None and origin in self.named:
            return False
        if origin is not None:
            sender = _origin(origin.decode("latin-1"))
            if sender is None or sender != _own(peer):
                return True
        return headers.get(b"sec-fetch-site", b"none").lower() not in (b"same-origin", b"none")

    def headers(self, origin: bytes | None) -> Headers:
        """Return what every answer to a request from this origin carries."""
        varies = [(b"vary", b"Origin")] if self.named else []
        if origin is not None and origin in self.named:
            return [
                *varies,
                (b"access-control-allow-origin", origin),
                (b"access-control-allow-credentials", b"true"),
                (b"access-control-expose-headers", _EXPOSED),
            ]
        if self.anyone:
            return [
                *varies,
                (b"access-control-allow-origin", b"*"),
                (b"access-control-expose-headers", _EXPOSED),
            ]
        return varies

    def preflight(self, origin: bytes) -> Headers:
        """Return what the answer to a preflight carries beside ``headers``; nothing when it is refused."""
        if not self.anyone and origin not in self.named:
            return []
        return [
            (b"access-control-allow-methods", _WRITING if origin in self.named else _READING),
            (b"access-control-allow-headers", _ALLOWED_HEADERS),
            (b"access-control-max-age", _MAX_AGE_S),
        ]


def _own(peer: Peer) -> tuple[str, str, int] | None:
    """Return the origin that a request was sent to: by the name it was asked by, in front of all proxies."""
    return _origin(f"{peer.scheme}://{peer.hosts[-1]}")


def _origin(text: str) -> tuple[str, str, int] | None:
    match = _ORIGIN.fullmatch(text.lower())
    if match is None:
        return None
    scheme, host, port = match.groups()
    return scheme, host.removesuffix("."), int(port) if port else _PORTS[scheme]
