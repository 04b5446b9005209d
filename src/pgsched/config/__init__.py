"""The settings: environment and ``.env`` in, one frozen value out. Only the container imports this."""

from __future__ import annotations

from pgsched.config.settings import (
    PRIVATE_KEY_FILE,
    PUBLIC_KEY_FILE,
    KeyPaths,
    Settings,
    decode_pepper,
    load,
)
from pgsched.config.table import SETTINGS, Setting

__all__ = [
    "PRIVATE_KEY_FILE",
    "PUBLIC_KEY_FILE",
    "SETTINGS",
    "KeyPaths",
    "Setting",
    "Settings",
    "decode_pepper",
    "load",
]
