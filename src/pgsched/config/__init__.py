"""The settings: environment and ``.env`` in, one frozen value out. Only the container imports this."""

from __future__ import annotations

from pgsched.config.settings import KeyPaths, Settings, load
from pgsched.config.table import SETTINGS, Setting

__all__ = ["SETTINGS", "KeyPaths", "Setting", "Settings", "load"]
