"""Key files: who may read them, what stands in them, and which key seals.

A key file holds one line of base64 (32 bytes, libsodium's X25519), which is version 1. After a rotation it
holds lines ``version:base64``; the highest version seals, the others still open what was sealed before.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import shlex
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pgsched.domain.errors import KeyFault

#: bytes of an X25519 key, public or private
KEY_BYTES = 32
#: most bytes a key file may have: room for a thousand rotations
_LARGEST = 1 << 16
_VERSIONED = re.compile(r"([1-9][0-9]{0,8}):(.*)", re.ASCII)


@dataclass(frozen=True, kw_only=True, slots=True)
class PublicKeyring:
    """The keys that seal."""

    #: 32 bytes each, by version from 1; never empty
    keys: Mapping[int, bytes]

    @classmethod
    def load(cls, path: Path) -> PublicKeyring:
        """Read a public key file.

        Raises:
            KeyFault: the file is missing, unreadable or malformed; says which and what to do.
        """
        return cls(keys=_parse(_read(path, "public"), path))

    @property
    def current_version(self) -> int:
        """Version of the key that seals now."""
        return max(self.keys)


@dataclass(frozen=True, kw_only=True, slots=True)
class PrivateKeyring:
    """The keys that open; never shown."""

    #: 32 bytes each, by version from 1; never empty
    keys: Mapping[int, bytes] = field(repr=False)

    @classmethod
    def load(cls, path: Path) -> PrivateKeyring:
        """Read a private key file that only its owner can read.

        Raises:
            KeyFault: the file is missing, malformed or open to others; says which and what to do.
        """
        return cls(keys=_parse(_read(path, "private"), path))

    def public(self) -> PublicKeyring:
        """Derive the public half of each key."""
        # imported here: 17 ms that only a process which opens or checks keys should pay
        from nacl.public import PrivateKey

        return PublicKeyring(
            keys={version: bytes(PrivateKey(key).public_key) for version, key in self.keys.items()}
        )


def fingerprint(public_key: bytes) -> str:
    """Name a public key: the first 16 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(public_key).hexdigest()[:16]


def _read(path: Path, kind: str) -> str:
    shown = shlex.quote(str(path))
    try:
        # not blocking: a FIFO of that name must not hold up the start
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise KeyFault(
            f"the {kind} key file {path} does not exist; make a pair with"
            " pgsched keys gen --public FILE --private FILE, or correct the setting"
        ) from None
    except OSError as error:
        raise KeyFault(f"the {kind} key file {path} cannot be read: {error.strerror}") from None
    try:
        # asked of the open file, so that it cannot be another one than the one read
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            what = "a folder" if stat.S_ISDIR(found.st_mode) else "not a regular file"
            raise KeyFault(f"the {kind} key file {path} is {what}; name the file itself")
        mode = stat.S_IMODE(found.st_mode)
        if kind == "private" and mode & 0o077:
            raise KeyFault(
                f"the private key file {path} is open to others (mode {mode:04o}); run: chmod 0600 {shown}"
            )
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            raw = file.read(_LARGEST + 1)
    finally:
        os.close(descriptor)
    if len(raw) > _LARGEST:
        raise KeyFault(f"the {kind} key file {path} is larger than 64 KiB; is it the right file?")
    # what is not ASCII is not base64 either: told as such, line by line
    return raw.decode("ascii", errors="replace")


def _parse(text: str, path: Path) -> dict[int, bytes]:
    lines = [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not lines:
        raise KeyFault(f"the key file {path} is empty; it should hold one line of base64")
    keys: dict[int, bytes] = {}
    for number, line in lines:
        match = _VERSIONED.fullmatch(line)
        if match is None and len(lines) > 1:
            raise KeyFault(f"line {number} of the key file {path} is not version:base64")
        version, encoded = (int(match[1]), match[2]) if match else (1, line)
        if version in keys:
            raise KeyFault(f"line {number} of the key file {path} repeats version {version}; keep one")
        keys[version] = _decoded(encoded.strip(), number, path)
    return keys


def _decoded(encoded: str, number: int, path: Path) -> bytes:
    try:
        key = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise KeyFault(f"line {number} of the key file {path} is not base64") from None
    if len(key) != KEY_BYTES:
        raise KeyFault(f"line {number} of the key file {path} holds {len(key)} bytes; a key has {KEY_BYTES}")
    return key
