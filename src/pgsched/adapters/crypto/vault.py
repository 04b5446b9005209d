"""Source passwords in libsodium sealed boxes, bound to their source.

The envelope ``sealedbox-v1``, so that others can seal from outside with the public key alone: the ciphertext
is libsodium's ``crypto_box_seal`` (X25519, XSalsa20-Poly1305; an ephemeral key in front) over a JSON object
in UTF-8 ::

    {"dbname":"shop","host":"db.example.com","password":"…","port":5432,"username":"reader","v":1}

Keys are sorted and there are no blanks when pgsched writes it; a reader takes any JSON spelling of the same
object. ``host``, ``port``, ``dbname`` and ``username`` are those of the source exactly as stored (letter case
counts). An envelope moved to a source with others does not open. A sealed box says nothing of who sealed it:
whoever may write a source may seal for it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from pgsched.adapters.crypto.keyring import PrivateKeyring, PublicKeyring
from pgsched.adapters.crypto.rings import Watched
from pgsched.domain.errors import CannotOpen, FieldFault, InvalidInput, KeyFault, NoPrivateKey
from pgsched.domain.sources import SealedPassword, SourceBinding

#: name of the envelope's format, stored beside each ciphertext
ALGO = "sealedbox-v1"

_AGAIN = "set the source's password again"


class SealedBoxVault:
    """A ``PasswordVault`` over key rings; holds no other state, safe to share between threads."""

    def __init__(self, *, public: PublicKeyring | None, private: PrivateKeyring | None = None) -> None:
        self._public: Callable[[], PublicKeyring] | None = None if public is None else lambda: public
        self._private: Callable[[], PrivateKeyring] | None = None if private is None else lambda: private

    @classmethod
    def load(cls, *, public: Path | None, private: Path | None) -> SealedBoxVault:
        """Read the key files that are named, again whenever they change; what is named must be there.

        Raises:
            KeyFault: a file is missing, malformed or open to others.
        """
        vault = cls(public=None)
        vault._public = None if public is None else Watched(public, PublicKeyring.load)
        vault._private = None if private is None else Watched(private, PrivateKeyring.load)
        return vault

    @property
    def current_version(self) -> int:
        """Version of the key that seals now, from 1."""
        return self._sealing().current_version

    @property
    def algo(self) -> str:
        """Name of the bound envelope's format."""
        return ALGO

    @property
    def can_open(self) -> bool:
        """Whether a private key is configured here."""
        return self._private is not None

    def seal(self, password: str, binding: SourceBinding) -> SealedPassword:
        """Seal a password for its source with the highest public key.

        Raises:
            KeyFault: there is no usable public key.
            InvalidInput: the password is not encodable text (a lone surrogate).
        """
        # imported here: 17 ms that only a process which seals should pay
        from nacl.exceptions import CryptoError
        from nacl.public import PublicKey, SealedBox

        ring = self._sealing()
        envelope = {
            "v": 1,
            "host": binding.host,
            "port": binding.port,
            "dbname": binding.dbname,
            "username": binding.username,
            "password": password,
        }
        text = json.dumps(envelope, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        try:
            plain = text.encode()
        except UnicodeEncodeError:
            raise InvalidInput.of(
                FieldFault(field="password", message="must be valid Unicode text")
            ) from None
        try:
            box = SealedBox(PublicKey(ring.keys[ring.current_version]))
            ciphertext = box.encrypt(plain)
        except CryptoError:
            # libsodium refuses points of low order, such as 32 zero bytes
            raise KeyFault(
                f"public key version {ring.current_version} is not a usable X25519 key; make a new pair"
            ) from None
        return SealedPassword(ciphertext=bytes(ciphertext), algo=ALGO, key_version=ring.current_version)

    def open(self, sealed: SealedPassword, binding: SourceBinding) -> str:
        """Open a password and check that it was sealed for this very source.

        Raises:
            NoPrivateKey: no private key of that version is configured here.
            CannotOpen: another key, a damaged box, or one moved from another source.
        """
        if self._private is not None and sealed.algo != ALGO:
            raise CannotOpen(f"the sealed password's format is not {ALGO}; {_AGAIN}")
        return _checked(self._unsealed(sealed.ciphertext, sealed.key_version), binding)

    def open_given(
        self, ciphertext: bytes, binding: SourceBinding, *, key_version: int, bound: bool = False
    ) -> str:
        """Open what somebody sealed with the public key: the bound envelope, or a bare password.

        Whatever looks like an envelope is taken for one: that of another source is not its bare text.
        """
        plain = self._unsealed(ciphertext, key_version)
        if bound or _is_envelope(plain):
            return _checked(plain, binding)
        try:
            return plain.decode()
        except UnicodeDecodeError:
            raise CannotOpen(f"what was sealed is neither a {ALGO} envelope nor UTF-8 text") from None

    def _unsealed(self, ciphertext: bytes, key_version: int) -> bytes:
        from nacl.exceptions import CryptoError
        from nacl.public import PrivateKey, SealedBox

        if self._private is None:
            raise NoPrivateKey(
                "no private key is configured here, so the source's password cannot be opened;"
                " set APP_PRIVATE_KEY_B64_PATH"
            )
        key = self._private().keys.get(key_version)
        if key is None:
            raise NoPrivateKey(
                f"the password was sealed with key version {key_version},"
                f" which the private key file does not hold; add that key or {_AGAIN}"
            )
        try:
            return bytes(SealedBox(PrivateKey(key)).decrypt(ciphertext))
        except (CryptoError, ValueError, TypeError):
            raise CannotOpen(
                f"the sealed password does not open: it is damaged or was sealed for another key; {_AGAIN}"
            ) from None

    def _sealing(self) -> PublicKeyring:
        if self._public is None:
            raise KeyFault(
                "no public key is configured here; set PUBLIC_KEY_B64_PATH or run pgsched keys gen"
            )
        return self._public()


def _is_envelope(plain: bytes) -> bool:
    try:
        envelope = json.loads(plain)
    except (ValueError, RecursionError):
        return False
    return isinstance(envelope, dict) and "password" in envelope


def _checked(plain: bytes, binding: SourceBinding) -> str:
    try:
        envelope = json.loads(plain)
    except (ValueError, RecursionError):
        envelope = None
    password = envelope.get("password") if isinstance(envelope, dict) else None
    if not isinstance(password, str) or envelope.get("v") != 1:
        raise CannotOpen(f"what was sealed is not a {ALGO} envelope; {_AGAIN}")
    made_for = tuple(envelope.get(name) for name in ("host", "port", "dbname", "username"))
    if made_for != (binding.host, binding.port, binding.dbname, binding.username):
        raise CannotOpen(
            f"the sealed password belongs to another source (host, port, dbname or username differ); {_AGAIN}"
        )
    return password
