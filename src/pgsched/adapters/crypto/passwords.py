"""Account passwords: Argon2id (RFC 9106) with a secret pepper, kept as PHC strings.

::

    $argon2id$v=19$m=19456,t=2,p=1,keyid=…$<salt>$<hash>

``keyid`` names the pepper (6 bytes derived from it one way), so that a hash made with another pepper is told
apart from a wrong password; a string without it was made without a pepper. 19 MiB, two passes and one lane
are OWASP's first choice (Password Storage Cheat Sheet), about 50 ms. The C core releases the interpreter's
lock: callers run it in threads and bound how many run at once.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import logging
import os
import re
from dataclasses import dataclass

log = logging.getLogger(__name__)

#: KiB
MEMORY_KIB = 19 * 1024
#: passes over the memory
PASSES = 2
LANES = 1
SALT_BYTES = 16
HASH_BYTES = 32

#: most KiB, passes and lanes a stored hash may ask for: a row must not be able to exhaust the machine
_MOST_MEMORY_KIB, _MOST_PASSES, _MOST_LANES = 1 << 18, 16, 16

_PHC = re.compile(
    r"\$argon2id\$v=19\$m=([0-9]{1,7}),t=([0-9]{1,3}),p=([0-9]{1,3})(?:,keyid=([A-Za-z0-9+/]{1,11}))?"
    r"\$([A-Za-z0-9+/]{11,64})\$([A-Za-z0-9+/]{16,86})",
    re.ASCII,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Cost:
    memory_kib: int
    passes: int
    lanes: int


_COST = _Cost(memory_kib=MEMORY_KIB, passes=PASSES, lanes=LANES)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Stored:
    cost: _Cost
    keyid: str | None
    salt: bytes
    digest: bytes


class Argon2Passwords:
    """A ``PasswordHasher``; the pepper is needed to check a password, and is not in the database."""

    def __init__(self, pepper: bytes) -> None:
        """Take the pepper, 32 to 64 bytes (ARGON2_SECRET_KEY_B64).

        Raises:
            ValueError: the pepper is shorter or longer.
        """
        if not 32 <= len(pepper) <= 64:
            raise ValueError("the pepper must have 32 to 64 bytes")
        self._pepper = pepper
        self._keyid = _b64(hmac.digest(pepper, b"pgsched argon2 keyid", hashlib.sha256)[:6])

    def __repr__(self) -> str:
        """Name the pepper without showing it."""
        return f"Argon2Passwords(keyid={self._keyid!r})"

    def hash(self, password: str) -> str:
        """Return a PHC string with a fresh salt; about 50 ms and 19 MiB.

        Raises:
            UnicodeEncodeError: the password is not valid Unicode text (``domain.accounts`` refuses it).
        """
        salt = os.urandom(SALT_BYTES)
        digest = _argon2id(password.encode(), salt, self._pepper, _COST, HASH_BYTES)
        cost = f"m={MEMORY_KIB},t={PASSES},p={LANES},keyid={self._keyid}"
        return f"$argon2id$v=19${cost}${_b64(salt)}${_b64(digest)}"

    def verify(self, hash: str, password: str) -> bool:  # noqa: A002 (the field's word)
        """Compare in constant time; False for a malformed hash or another pepper too, which are logged."""
        stored = _parsed(hash)
        if stored is None:
            log.warning("a stored password hash is malformed", extra={"action": "password.malformed_hash"})
            return False
        other = stored.keyid is not None and stored.keyid != self._keyid
        if other:
            # worked out all the same, so that the answer takes as long
            log.warning(
                "a password was hashed with another pepper (ARGON2_SECRET_KEY_B64 has changed)",
                extra={"action": "password.other_pepper"},
            )
        try:
            given = password.encode()
        except UnicodeEncodeError:
            return False
        secret = None if stored.keyid is None else self._pepper
        digest = _argon2id(given, stored.salt, secret, stored.cost, len(stored.digest))
        return hmac.compare_digest(digest, stored.digest) and not other

    def needs_rehash(self, hash: str) -> bool:  # noqa: A002 (the field's word)
        """Whether cost, lengths or pepper moved since the hash was made."""
        stored = _parsed(hash)
        return (
            stored is None
            or stored.cost != _COST
            or stored.keyid != self._keyid
            or len(stored.salt) != SALT_BYTES
            or len(stored.digest) != HASH_BYTES
        )


def _parsed(text: str) -> _Stored | None:
    match = _PHC.fullmatch(text)
    if match is None:
        return None
    cost = _Cost(memory_kib=int(match[1]), passes=int(match[2]), lanes=int(match[3]))
    # RFC 9106 §3.1: at least 8 KiB a lane
    if not (
        1 <= cost.lanes <= _MOST_LANES
        and 8 * cost.lanes <= cost.memory_kib <= _MOST_MEMORY_KIB
        and 1 <= cost.passes <= _MOST_PASSES
    ):
        return None
    try:
        salt, digest = _unb64(match[5]), _unb64(match[6])
    except (binascii.Error, ValueError):
        return None
    return _Stored(cost=cost, keyid=match[4], salt=salt, digest=digest)


def _argon2id(
    password: bytes, salt: bytes, secret: bytes | None, cost: _Cost, length: int, data: bytes = b""
) -> bytes:
    """Run the C core, since argon2-cffi's own functions take no secret.

    ``data`` is Argon2's associated data: none here, but the test vector of RFC 9106 §5.3 has some.
    """
    # imported here: 17 ms that only a process which checks passwords should pay
    from argon2.low_level import ARGON2_VERSION, Type, core, error_to_str, ffi

    out = ffi.new("uint8_t[]", length)
    # cffi frees a buffer with its last reference: these names keep them alive through the call
    password_buffer = ffi.new("uint8_t[]", password)
    salt_buffer = ffi.new("uint8_t[]", salt)
    secret_buffer = ffi.NULL if secret is None else ffi.new("uint8_t[]", secret)
    data_buffer = ffi.new("uint8_t[]", data)
    context = ffi.new(
        "argon2_context *",
        {
            "out": out,
            "outlen": length,
            "version": ARGON2_VERSION,
            "pwd": password_buffer,
            "pwdlen": len(password),
            "salt": salt_buffer,
            "saltlen": len(salt),
            "secret": secret_buffer,
            "secretlen": 0 if secret is None else len(secret),
            "ad": data_buffer,
            "adlen": len(data),
            "t_cost": cost.passes,
            "m_cost": cost.memory_kib,
            "lanes": cost.lanes,
            "threads": cost.lanes,
            "allocate_cbk": ffi.NULL,
            "free_cbk": ffi.NULL,
            "flags": 0,
        },
    )
    status = core(context, Type.ID.value)
    if status != 0:
        raise RuntimeError(f"Argon2id failed: {error_to_str(status)}")
    return bytes(ffi.buffer(out, length))


def _b64(raw: bytes) -> str:
    """Encode as PHC strings do: standard alphabet, no padding."""
    return base64.b64encode(raw).decode().rstrip("=")


def _unb64(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
