"""A vault and a hasher that are quick and keep no secret: for tests only."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from threading import Lock

from pgsched.application.ports.secrets import KeyVersions
from pgsched.domain.errors import CannotOpen, KeyFault, NoPrivateKey
from pgsched.domain.sources import SealedPassword, SourceBinding

#: name of the envelope's format
ALGO = "open-v1"
_SUM_BYTES = 8


class MemoryKeyRings:
    """The port ``KeyRings``: the versions alone, since nothing is encrypted."""

    def __init__(self, *, sealing: Collection[int] = (1,), opening: Collection[int] = (1,)) -> None:
        self.sealing = frozenset(sealing)
        self.opening = frozenset(opening)
        self._lock = Lock()

    def versions(self) -> KeyVersions:
        """Return what is there."""
        if not self.opening:
            raise NoPrivateKey("no private key is configured here")
        if not self.sealing:
            raise KeyFault("no public key is configured here")
        if max(self.sealing) not in self.opening:
            raise KeyFault(f"there is no private key of version {max(self.sealing)}, which seals now")
        return KeyVersions(sealing=self.sealing, opening=self.opening)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other rotations out."""
        if not self._lock.acquire(blocking=False):
            raise KeyFault("another rotation of these keys is running")
        try:
            yield
        finally:
            self._lock.release()

    def prepare(self) -> int:
        """Add the private half of a new pair."""
        version = max(self.opening) + 1
        self.opening |= {version}
        return version

    def publish(self, version: int) -> None:
        """Add the public half."""
        self.sealing |= {version}

    def retire(self, keep: int) -> None:
        """Drop every other version."""
        self.sealing = self.opening = frozenset({keep})


class OpenVault:
    """The port ``PasswordVault``; the password is masked, not encrypted, and bound like a real one."""

    def __init__(
        self,
        *,
        sealing: int | None = 1,
        opening: Collection[int] = (1,),
        rings: MemoryKeyRings | None = None,
    ) -> None:
        """Seal with key version ``sealing`` (None: no public key), open those of ``opening``.

        With ``rings``, do as these say at each moment.
        """
        given = () if sealing is None else (sealing,)
        self._rings = rings or MemoryKeyRings(sealing=given, opening=opening)

    @property
    def _opening(self) -> frozenset[int]:
        return self._rings.opening

    @property
    def current_version(self) -> int:
        """Version of the key that seals now, from 1."""
        if not self._rings.sealing:
            raise KeyFault("no public key is configured here")
        return max(self._rings.sealing)

    @property
    def algo(self) -> str:
        """Name of the bound envelope's format."""
        return ALGO

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
        if self._opening and sealed.algo != ALGO:
            raise CannotOpen(f"the sealed password's format is not {ALGO}")
        plain = self._unsealed(sealed.ciphertext, sealed.key_version)
        return _checked(plain, sealed.key_version, binding)

    def open_given(
        self, ciphertext: bytes, binding: SourceBinding, *, key_version: int, bound: bool = False
    ) -> str:
        """Open what somebody sealed: the bound envelope, or a bare password."""
        plain = self._unsealed(ciphertext, key_version)
        if bound or plain.startswith(b"{"):
            return _checked(plain, key_version, binding)
        try:
            return plain.decode()
        except UnicodeDecodeError:
            raise CannotOpen("what was sealed is neither an envelope nor text") from None

    def _unsealed(self, ciphertext: bytes, key_version: int) -> bytes:
        if not self._opening:
            raise NoPrivateKey("no private key is configured here")
        if key_version not in self._opening:
            raise NoPrivateKey(f"there is no private key of version {key_version} here")
        plain = _masked(ciphertext[_SUM_BYTES:])
        if _sum(plain) != ciphertext[:_SUM_BYTES]:
            raise CannotOpen("the sealed password is damaged")
        return plain


def sealed_bare(password: str) -> bytes:
    """Seal a password as somebody outside would: without an envelope."""
    return _sum(password.encode()) + _masked(password.encode())


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


def _checked(plain: bytes, key_version: int, binding: SourceBinding) -> str:
    envelope = json.loads(plain) if plain.startswith(b"{") else {"password": ""}
    password = str(envelope.pop("password"))
    if envelope != {"key": key_version, **asdict(binding)}:
        raise CannotOpen("the sealed password belongs to another source or another key")
    return password


def _masked(content: bytes) -> bytes:
    return bytes(byte ^ 0x5A for byte in content)


def _sum(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()[:_SUM_BYTES]
