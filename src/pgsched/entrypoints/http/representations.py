"""What a run's bytes are answered as: whole, compressed, or not at all to who has them (RFC 9110 §12.5).

Each encoding has a strong tag of its own. A client's If-None-Match may name any that it accepts: what it kept
from an earlier answer is still good, whichever encoding it would be sent now.
"""

from __future__ import annotations

import asyncio
import gzip
import re
from dataclasses import dataclass

from pgsched.entrypoints.http.carried import lines_of
from pgsched.entrypoints.http.origins import Headers

#: bodies smaller than this, in bytes, gain nothing by compression
LEAST_COMPRESSED = 1024
#: bodies larger than this, in bytes, are neither compressed nor kept
LARGEST_KEPT = 8 * 1024 * 1024
#: bodies larger than this, in bytes, are compressed beside the event loop
_QUICK = 32 * 1024
_LEVEL = 5
_COMPRESSIBLE = (b"application/json", b"application/x-ndjson", b"text/")

_GZIP_END = b'-gzip"'
_TAG = re.compile(rb'(?:W/)?("[^"]*")')


@dataclass(frozen=True, kw_only=True, slots=True)
class Encoded:
    """One encoding of a body, ready to be sent."""

    #: its strong tag, with quotation marks
    tag: bytes
    #: of an answer with the body
    headers: Headers
    #: of an answer that says it has not changed
    unchanged: Headers
    #: what is sent; None where only the tag is known
    body: bytes | None
    #: ``headers`` as lines of HTTP/1.1
    lines: bytes
    #: ``unchanged`` as lines of HTTP/1.1
    unchanged_lines: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Represented:
    """A body in every encoding that it has."""

    #: as it is
    plain: Encoded
    #: with gzip, without a body where that would not be smaller
    gzipped: Encoded

    @property
    def size(self) -> int:
        """How many bytes it holds."""
        return len(self.plain.body or b"") + len(self.gzipped.body or b"") + 4096

    def chosen(self, accept_encoding: bytes | None, if_none_match: bytes | None) -> tuple[int, Encoded]:
        """Return 200 or 304, and which encoding it is about, for what a client accepts and has."""
        takes_gzip = accept_encoding is not None and prefers_gzip(accept_encoding)
        best = self.gzipped if takes_gzip and self.gzipped.body is not None else self.plain
        if if_none_match is None:
            return 200, best
        if if_none_match == best.tag:
            return 304, best
        if if_none_match.strip() == b"*":
            return 304, self.plain
        known = _TAG.findall(if_none_match)
        # without Accept-Encoding any encoding is acceptable (§12.5.3)
        other = self.gzipped if takes_gzip or accept_encoding is None else self.plain
        for each in (other, self.plain) if takes_gzip else (self.plain, other):
            if each.tag in known:
                return 304, each
        return 200, best


async def represented(headers: Headers, body: bytes) -> Represented:
    """Encode a body whose headers hold a strong ETag; compresses it once."""
    kept = [(name, value) for name, value in headers if name not in (b"content-length", b"vary", b"etag")]
    tag, vary = _tag_of(headers), _vary_of(headers)
    small = None
    kind = next((value for name, value in headers if name == b"content-type"), b"")
    if LEAST_COMPRESSED <= len(body) <= LARGEST_KEPT and kind.startswith(_COMPRESSIBLE):
        small = await asyncio.to_thread(_gzip, body) if len(body) > _QUICK else _gzip(body)
        if len(small) >= len(body):
            small = None
    gzipped = _encoded([*kept, (b"content-encoding", b"gzip")], vary, _gzip_tag(tag), small)
    return Represented(plain=_encoded(kept, vary, tag, body), gzipped=gzipped)


def known_by_tag(headers: Headers) -> Represented:
    """Return what can be told of a body by its tag alone: that it has not changed."""
    tag, vary = _tag_of(headers), _vary_of(headers)
    return Represented(
        plain=_encoded(headers, vary, tag, None), gzipped=_encoded(headers, vary, _gzip_tag(tag), None)
    )


def plain_tags(if_none_match: bytes, accept_encoding: bytes | None) -> bytes:
    """Return If-None-Match as a handler understands it, that knows of no encodings."""
    if accept_encoding is None or prefers_gzip(accept_encoding):
        return if_none_match.replace(_GZIP_END, b'"')
    return if_none_match


def streamed(headers: Headers) -> Headers:
    """Return the headers of a plain body that is passed on as it comes."""
    return [*((name, value) for name, value in headers if name != b"vary"), _vary_of(headers)]


def _encoded(headers: Headers, vary: tuple[bytes, bytes], tag: bytes, body: bytes | None) -> Encoded:
    etag = (b"etag", tag)
    cached = [(name, value) for name, value in headers if name == b"cache-control"]
    length = [] if body is None else [(b"content-length", b"%d" % len(body))]
    whole, unchanged = [*headers, vary, etag, *length], [*cached, vary, etag]
    return Encoded(
        tag=tag,
        headers=whole,
        unchanged=unchanged,
        body=body,
        lines=lines_of(whole),
        unchanged_lines=lines_of(unchanged),
    )


def _tag_of(headers: Headers) -> bytes:
    return next(value for name, value in headers if name == b"etag")


def _gzip_tag(tag: bytes) -> bytes:
    return tag[:-1] + _GZIP_END


def _vary_of(headers: Headers) -> tuple[bytes, bytes]:
    varies = [value for name, value in headers if name == b"vary"]
    return (b"vary", b", ".join([*varies, b"Accept-Encoding"]))


def _gzip(body: bytes) -> bytes:
    # no time in it: the same body is the same bytes, and one strong tag, in every process
    return gzip.compress(body, _LEVEL, mtime=0)


def prefers_gzip(accept_encoding: bytes) -> bool:
    """Whether an Accept-Encoding header takes gzip, and not less gladly than the plain body."""
    if accept_encoding in _USUAL:
        return True
    weights: dict[bytes, float] = {}
    for part in accept_encoding.lower().split(b","):
        name, *parameters = (piece.strip() for piece in part.split(b";"))
        weights[name] = _weight(parameters)
    anything = weights.get(b"*", 0.0)
    gzipped = weights.get(b"gzip", weights.get(b"x-gzip", anything))
    return gzipped > 0 and gzipped >= weights.get(b"identity", 0.0)


#: what most clients send
_USUAL = frozenset(
    {b"gzip", b"gzip, deflate", b"gzip, deflate, br", b"gzip, deflate, br, zstd", b"gzip, deflate, zstd"}
)


def _weight(parameters: list[bytes]) -> float:
    for parameter in parameters:
        key, _, value = parameter.partition(b"=")
        if key.strip() == b"q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
