"""A vault and a hasher that are quick and keep no secret: for tests only."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Collection
from dataclasses import asdict

from pgsched.domain.errors import CannotOpen, KeyFault, NoPrivateKey
from pgsched.domain.sources import SealedPassword, SourceBinding

#: name of the envelope's format
ALGO = "open-v1"
_SUM_BYTES = 8


class OpenVault:
    """The port ``PasswordVault``; the password is masked, not encrypted, and bound like a real one."""

    def __init__(self, *, sealing: int | None = 1, opening: Collection[int] = (1,)) -> None:
        """Seal with key version ``sealing`` (None: no public key), open those of ``opening``."""
        self._sealing = sealing
        self._opening = frozenset(opening)

    @property
    def current_version(self) -> int:
        """Version of the key that seals now, from 1."""
        if self._sealing is None:
            raise KeyFault("no public key is configured here")
        return self._sealing

    @property
    def can_open(self) -> bool:
        """Whether a private key is configured here."""
        return bool(self._opening)

    def seal(self, password: str, binding: SourceBinding) -> SealedPassword:
        """Seal with the highest public key."""
        version = self.current_version
        plain = json.dumps({"key": version, "password": password, **asdict(binding)}).encode()
        return SealedPassword(ciphertext=_sum(plain) + _masked(plain), algo=ALGO, key_version=version)

    def open(self, sealed: SealedPassword, binding: SourceBinding) -> str:
        """Open and check that the envelope was made for this binding."""
        if not self._opening:
            raise NoPrivateKey("no private key is configured here")
        if sealed.algo != ALGO:
            raise CannotOpen(f"the sealed password's format is not {ALGO}")
        if sealed.key_version not in self._opening:
            raise NoPrivateKey(f"there is no private key of version {sealed.key_version} here")
        plain = _masked(sealed.ciphertext[_SUM_BYTES:])
        if _sum(plain) != sealed.ciphertext[:_SUM_BYTES]:
            raise CannotOpen("the sealed password is damaged")
        envelope = json.loads(plain)
        password = str(envelope.pop("password"))
        if envelope != {"key": sealed.key_version, **asdict(binding)}:
            raise CannotOpen("the sealed password belongs to another source or another key")
        return password


class PlainHasher:
    """The port ``PasswordHasher``, without the slowness that makes a real one safe."""

    def __init__(self, pepper: bytes = b"pepper") -> None:
        self._pepper = pepper

    def hash(self, password: str) -> str:
        """Return a text with a fresh salt."""
        return self._written(os.urandom(8).hex(), password)

    def verify(self, hash: str, password: str) -> bool:  # noqa: A002 (the port's word)
        """Compare; False for a malformed hash too."""
        if self.needs_rehash(hash):
            return False
        return hmac.compare_digest(hash.encode(), self._written(hash.split("$")[3], password).encode())

    def needs_rehash(self, hash: str) -> bool:  # noqa: A002 (the port's word)
        """Whether it is malformed or was made with another pepper."""
        return hash.split("$")[:3] != ["", "plain", self._keyid()] or hash.count("$") != 4

    def _keyid(self) -> str:
        return hashlib.sha256(b"keyid" + self._pepper).hexdigest()[:8]

    def _written(self, salt: str, password: str) -> str:
        digest = hmac.digest(self._pepper, f"{salt}/{password}".encode(errors="surrogatepass"), "sha256")
        return f"$plain${self._keyid()}${salt}${digest.hex()}"


def _masked(content: bytes) -> bytes:
    return bytes(byte ^ 0x5A for byte in content)


def _sum(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()[:_SUM_BYTES]
