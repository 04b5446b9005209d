"""What every answer carries: request id, security headers, CORS; put together once, not for each request."""

from __future__ import annotations

import os
from dataclasses import dataclass

from pgsched.entrypoints.http.origins import Headers, OriginPolicy

_SECURITY: Headers = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
]
#: of answers that are no pages
POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
#: a page may use its style sheet and the icon inside it; no script at all
_PAGE_POLICY = (
    b"content-security-policy",
    b"default-src 'none'; style-src 'self'; img-src data:; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Carried:
    """What every answer to requests from one origin carries beside its request id."""

    #: on any answer, beside a content-security-policy
    headers: Headers
    #: the same with that of answers that are no pages, as lines of HTTP/1.1 with the empty one at the end
    lines: bytes

    @classmethod
    def of(cls, origins: OriginPolicy, origin: bytes | None) -> Carried:
        """Put it together."""
        headers = [*_SECURITY, *origins.headers(origin)]
        return cls(headers=headers, lines=lines_of([POLICY, *headers]) + b"\r\n")

    def complete(self, status: int, headers: Headers, request_id: bytes) -> Headers:
        """Add it to the headers of an answer; a path that takes GET takes HEAD as well."""
        if status in (204, 405):
            headers = [
                (name, value + b", HEAD" if _lacks_head(name, value) else value) for name, value in headers
            ]
        page = any(name == b"content-type" and value.startswith(b"text/html") for name, value in headers)
        return [*headers, (b"x-request-id", request_id), _PAGE_POLICY if page else POLICY, *self.headers]


def _lacks_head(name: bytes, value: bytes) -> bool:
    return name == b"allow" and b"GET" in value and b"HEAD" not in value


def lines_of(headers: Headers) -> bytes:
    """Write headers as lines of HTTP/1.1."""
    return b"".join(b"%b: %b\r\n" % header for header in headers)


class _RequestIds:
    """New request ids of 96 random bits; asks the system for many at once."""

    def __init__(self) -> None:
        self._ids: list[bytes] = []

    def __call__(self) -> bytes:
        if not self._ids:
            digits = os.urandom(12 * 256).hex().encode()
            self._ids = [digits[at : at + 24] for at in range(0, len(digits), 24)]
        return self._ids.pop()


new_request_id = _RequestIds()
