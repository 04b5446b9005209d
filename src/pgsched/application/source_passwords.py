"""What somebody gives as a source's password: the password itself, or one that they sealed."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import Mapping
from typing import Any, Final

from pgsched.application.ports.secrets import PasswordVault
from pgsched.domain.errors import CannotOpen, FieldFault, InvalidInput, NoPrivateKey
from pgsched.domain.sources import SealedPassword, SourceBinding

#: the fields that a password is given by, or described by
PASSWORD_FIELDS: Final = ("password", "enc_password_b64", "enc_algo", "key_version")
#: most bytes of a password
LONGEST: Final = 10_000
#: most bytes of a sealed one
_LONGEST_BOX: Final = 65_536


def is_given(given: Mapping[str, object]) -> bool:
    """Whether a password is given, or none where there was one (null)."""
    return "password" in given or "enc_password_b64" in given


def password_given_faults(given: Mapping[str, object], algo: str) -> list[FieldFault]:
    """Name what is wrong with the fields that describe a password, before anything is opened or sealed.

    ``algo`` is the name of the bound envelope's format.
    """
    password, box = given.get("password"), given.get("enc_password_b64")
    faults = []
    if password is not None and (fault := _text_fault(password)) is not None:
        faults.append(FieldFault(field="password", message=fault))
    if box is not None and _decoded(box) is None:
        message = f"must be base64 of a sealed box, at most {_LONGEST_BOX} bytes"
        faults.append(FieldFault(field="enc_password_b64", message=message))
    if password is not None and box is not None:
        faults.append(FieldFault(field="enc_password_b64", message="cannot come beside password"))
    version = given.get("key_version")
    if version is not None and (isinstance(version, bool) or not isinstance(version, int) or version < 1):
        faults.append(FieldFault(field="key_version", message="must be a whole number from 1"))
    if given.get("enc_algo") not in (None, algo):
        faults.append(FieldFault(field="enc_algo", message=f"can only be {algo}"))
    return faults


async def sealed_password(
    vault: PasswordVault, given: Mapping[str, Any], binding: SourceBinding
) -> SealedPassword | None:
    """Seal the password that is given, bound to its source; None when there is none.

    ``given`` has no faults. What was sealed elsewhere is opened, checked and sealed anew; without the private
    key only the bound envelope is taken, as it is, and checked when it is first opened.

    Raises:
        InvalidInput: what was sealed does not open, or was sealed for another source; ``key_version`` is not
            the one that seals, or none that opens.
        NoPrivateKey: a bare sealed password cannot be checked and bound here.
        KeyFault: there is no usable public key.
    """
    version: int | None = given.get("key_version")
    box = given.get("enc_password_b64")
    if box is None:
        if version is not None and version != (current := vault.current_version):
            message = f"is {version}, but the key that seals is {current}"
            raise InvalidInput.of(FieldFault(field="key_version", message=message))
        password: str | None = given.get("password")
        return None if password is None else vault.seal(password, binding)
    ciphertext = _decoded(box)
    assert ciphertext is not None
    is_bound = given.get("enc_algo") is not None
    if not vault.can_open:
        if is_bound:
            sealed_with = version or vault.current_version
            return SealedPassword(ciphertext=ciphertext, algo=vault.algo, key_version=sealed_with)
        raise NoPrivateKey(
            "no private key is configured here, so a bare sealed password cannot be checked; "
            f"send password, or the bound envelope with enc_algo {vault.algo}"
        )
    try:
        opened = await asyncio.to_thread(
            vault.open_given,
            ciphertext,
            binding,
            key_version=version or vault.current_version,
            bound=is_bound,
        )
    except NoPrivateKey as error:
        raise InvalidInput.of(FieldFault(field="key_version", message=error.detail)) from None
    except CannotOpen as error:
        raise InvalidInput.of(FieldFault(field="enc_password_b64", message=error.detail)) from None
    if (fault := _text_fault(opened)) is not None:
        message = f"what was sealed {fault}"
        raise InvalidInput.of(FieldFault(field="enc_password_b64", message=message))
    return vault.seal(opened, binding)


def _text_fault(password: object) -> str | None:
    if not isinstance(password, str):
        return "must be text"
    try:
        size = len(password.encode())
    except UnicodeEncodeError:
        return "must be valid Unicode text"
    if "\x00" in password:
        return "must not hold the character NUL"
    return f"must have at most {LONGEST} bytes" if size > LONGEST else None


def _decoded(text: object) -> bytes | None:
    if not isinstance(text, str):
        return None
    try:
        box = b64decode("".join(text.split()), validate=True)
    except ValueError:
        return None
    return box if 0 < len(box) <= _LONGEST_BOX else None
