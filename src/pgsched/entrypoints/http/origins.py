"""CORS (the Fetch standard, §3.2): which other sites' pages may read, decided ahead of everything else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Headers = list[tuple[bytes, bytes]]

_EXPOSED = b"ETag, X-Request-Id, Retry-After"
_ALLOWED_HEADERS = b"Accept, Authorization, Content-Type, If-Match, If-None-Match, X-Request-Id"
#: any origin may read; only one that is named may write, for it alone travels with credentials
_READING = b"GET, HEAD"
_WRITING = b"GET, HEAD, POST, PUT, PATCH, DELETE"
#: seconds a browser may keep what a preflight said
_MAX_AGE_S = b"600"


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
