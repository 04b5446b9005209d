"""Ports to what keeps secrets: sealed source passwords and hashed account passwords."""

from __future__ import annotations

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
