"""Builds what seals, opens and hashes: key files, the vault, the pepper."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pgsched import config
from pgsched.domain.errors import SettingFault

if TYPE_CHECKING:
    from pgsched.application.ports.secrets import KeyRings, PasswordHasher, PasswordVault
    from pgsched.config import Settings


#: file under PGSCHED_HOME/keys that `pgsched up` keeps the pepper in, one base64 line
PEPPER_FILE = "argon2_secret.base64"


def pepper_of(settings: Settings) -> bytes:
    """Return the pepper: ARGON2_SECRET_KEY_B64, else the one that ``pgsched up`` made.

    Raises:
        SettingFault: there is none, or it is damaged.
    """
    if settings.pepper is not None:
        return settings.pepper
    path = settings.keys_dir / PEPPER_FILE
    try:
        text = path.read_text("ascii").strip()
    except (FileNotFoundError, NotADirectoryError):
        raise SettingFault(
            "ARGON2_SECRET_KEY_B64",
            "is not set; passwords need it. Make one with: head -c 32 /dev/urandom | base64",
        ) from None
    except (OSError, UnicodeError) as error:
        raise SettingFault(
            "ARGON2_SECRET_KEY_B64", f"{path} cannot be read ({type(error).__name__})"
        ) from None
    return config.decode_pepper(text)


def vault(settings: Settings) -> PasswordVault:
    from pgsched.adapters.crypto.vault import SealedBoxVault

    paths = settings.key_paths()
    # A public key that nobody named and that is not there is told when something is to be sealed.
    there = os.path.exists(paths.public)  # noqa: PTH110 (False in a closed folder)
    named = settings.public_key_b64_path is not None or there
    return SealedBoxVault.load(public=paths.public if named else None, private=paths.private)


def key_rings(settings: Settings) -> KeyRings:
    from pgsched.adapters.crypto.rings import KeyFileRings

    paths = settings.key_paths()
    return KeyFileRings(public=paths.public, private=paths.private)


def hasher(settings: Settings) -> PasswordHasher:
    from pgsched.adapters.crypto.passwords import Argon2Passwords

    return Argon2Passwords(pepper_of(settings))
