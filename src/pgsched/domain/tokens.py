"""API tokens: how one is written, and how long it is good for. Their random bits are made elsewhere.

::

    pgs_<43 digits of base 62: 256 random bits><6 digits of base 62: CRC-32 of what is before>

A prefix that search tools for leaked secrets can be taught, and a checksum that tells a mistyped or invented
one without asking a database, as GitHub's tokens have
(https://github.blog/engineering/platform-security/behind-githubs-new-authentication-token-formats/).
"""

from __future__ import annotations

import hashlib
import re
import string
import zlib
from dataclasses import dataclass
from datetime import datetime

from pgsched.domain.errors import FieldFault
from pgsched.domain.names import line_fault

PREFIX = "pgs_"
SECRET_BYTES = 32
NAME_LONGEST = 100
#: most queries that one token is narrowed to
MOST_QUERIES = 500

_DIGITS = string.digits + string.ascii_uppercase + string.ascii_lowercase
_SECRET_DIGITS, _CHECK_DIGITS = 43, 6
_TOKEN = re.compile(rf"pgs_[0-9A-Za-z]{{{_SECRET_DIGITS + _CHECK_DIGITS}}}", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class ApiToken:
    """A token as it is kept: never its text."""

    #: identity, 64 bit
    id: int
    #: account it reads for
    user_id: int
    #: what it is for
    name: str
    #: ids of the queries it is narrowed to, None for all that its owner may read
    queries: tuple[int, ...] | None
    #: when it was made, UTC
    created_at: datetime
    #: when it ends, UTC, exclusive; None for never
    expires_at: datetime | None
    #: when it was last used, UTC, to the minute; None for never
    last_used_at: datetime | None


def token_text(secret: bytes) -> str:
    """Write a token out of ``SECRET_BYTES`` random bytes."""
    if len(secret) != SECRET_BYTES:
        raise ValueError(f"a token takes {SECRET_BYTES} random bytes")
    begun = PREFIX + _base62(int.from_bytes(secret), _SECRET_DIGITS)
    return begun + _checksum(begun)


def is_token(text: str) -> bool:
    """Whether a text has the shape and the checksum of a token, so that nonsense asks no database."""
    return _TOKEN.fullmatch(text) is not None and text[-_CHECK_DIGITS:] == _checksum(text[:-_CHECK_DIGITS])


def token_hash(text: str) -> str:
    """Return what is stored in place of a token; 256 random bits need no salt and no slow hash."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def is_good(token: ApiToken, now: datetime) -> bool:
    """Whether a token has not ended."""
    return token.expires_at is None or now < token.expires_at


def token_name_fault(name: str, field: str = "name") -> FieldFault | None:
    """Say why a text cannot be a token's name, or None when it can: one line, 1 to 100 characters."""
    return line_fault(field, name, NAME_LONGEST)


def _checksum(text: str) -> str:
    return _base62(zlib.crc32(text.encode()), _CHECK_DIGITS)


def _base62(number: int, digits: int) -> str:
    written = ""
    for _ in range(digits):
        number, digit = divmod(number, 62)
        written = _DIGITS[digit] + written
    return written
