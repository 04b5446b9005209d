"""Ports to what keeps secrets: sealed source passwords and hashed account passwords."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from pgsched.domain.sources import SealedPassword, SourceBinding


@runtime_checkable
class PasswordVault(Protocol):
    """Seals source passwords for the holder of the private key, bound to their source."""

    @property
    def current_version(self) -> int:
        """Version of the key that seals now, from 1.

        Raises:
            KeyFault: there is no usable public key.
        """
        ...

    @property
    def can_open(self) -> bool:
        """Whether a private key is configured here."""
        ...

    @property
    def algo(self) -> str:
        """Name of the bound envelope's format, as ``SealedPassword.algo`` has it."""
        ...

    def seal(self, password: str, binding: SourceBinding) -> SealedPassword:
        """Seal with the highest public key; needs no private key.

        Raises:
            KeyFault: there is no usable public key.
        """
        ...

    def open(self, sealed: SealedPassword, binding: SourceBinding) -> str:
        """Open and check that the envelope was made for this binding.

        Raises:
            NoPrivateKey: no private key of that version is configured here.
            CannotOpen: another key, a damaged box, or one moved from another source.
        """
        ...

    def open_given(
        self, ciphertext: bytes, binding: SourceBinding, *, key_version: int, bound: bool = False
    ) -> str:
        """Open what somebody sealed with the public key: the envelope, or unless ``bound`` a bare password.

        An envelope must be for this binding: one taken from another source does not open here either.

        Raises:
            NoPrivateKey: no private key of that version is configured here.
            CannotOpen: another key, a damaged box, neither envelope nor text, or one for another source.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyVersions:
    """Which versions of the key this machine has."""

    #: versions of public keys; the highest seals
    sealing: frozenset[int]
    #: versions of private keys, which open
    opening: frozenset[int]

    @property
    def newest(self) -> int:
        """The version that seals, or will once it is published."""
        return max(self.sealing | self.opening)

    @property
    def rotating(self) -> bool:
        """Whether a rotation was begun and not finished."""
        return len(self.sealing | self.opening) > 1


@runtime_checkable
class KeyRings(Protocol):
    """The rings of this machine, changed step by step so that what is sealed can always be opened.

    Each step is there whole or not at all, also after a power cut; running services see it at their next use.
    """

    def versions(self) -> KeyVersions:
        """Return what is there.

        Raises:
            NoPrivateKey: no private key is configured here.
            KeyFault: a ring is unusable, or the two do not fit together.
        """
        ...

    def held(self) -> AbstractContextManager[None]:
        """Keep other rotations on this machine out for the time of the block.

        Raises:
            KeyFault: another one is at it.
        """
        ...

    def prepare(self) -> int:
        """Make a new pair and add its private half; returns its version. Nothing is sealed with it yet."""
        ...

    def publish(self, version: int) -> None:
        """Add the public half of a prepared version: from now on it seals."""
        ...

    def retire(self, keep: int) -> None:
        """Drop every version but one, for good."""
        ...


@runtime_checkable
class PasswordHasher(Protocol):
    """Hashes account passwords slowly, with a pepper."""

    def hash(self, password: str) -> str:
        """Return a PHC string with a fresh salt; about 50 ms and 19 MiB."""
        ...

    def verify(self, hash: str, password: str) -> bool:  # noqa: A002 (the field's word)
        """Compare in constant time; False for a malformed hash too."""
        ...

    def needs_rehash(self, hash: str) -> bool:  # noqa: A002 (the field's word)
        """Whether parameters or pepper moved since the hash was made."""
        ...
