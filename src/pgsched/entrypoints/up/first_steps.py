"""What a first start makes and a later one finds: keys, pepper, an admin."""

from __future__ import annotations

import base64
import os
import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pgsched.domain.accounts import NewAccount
from pgsched.entrypoints.container import PEPPER_FILE
from pgsched.entrypoints.operator import operator

if TYPE_CHECKING:
    from pgsched.config import Settings
    from pgsched.entrypoints.container import Container

ADMIN_EMAIL = "admin@pgsched.local"
ADMIN_PASSWORD_FILE = "admin-password"  # noqa: S105 (a file's name)


def make_keys(settings: Settings) -> None:
    """Make the key pair and the pepper under PGSCHED_HOME/keys, unless settings or files give them."""
    from pgsched.adapters.crypto.keygen import generate_pair, write_pair
    from pgsched.adapters.embedded.home import ensure_home
    from pgsched.config import PRIVATE_KEY_FILE, PUBLIC_KEY_FILE

    ensure_home(settings.pgsched_home)
    settings.keys_dir.mkdir(mode=0o700, exist_ok=True)
    explicit = settings.public_key_b64_path or settings.app_private_key_b64_path
    public, private = settings.keys_dir / PUBLIC_KEY_FILE, settings.keys_dir / PRIVATE_KEY_FILE
    if explicit is None and not public.exists() and not private.exists():
        write_pair(generate_pair(), public=public, private=private)
    if settings.argon2_secret_key_b64 is None and not (settings.keys_dir / PEPPER_FILE).exists():
        write_private(settings.keys_dir / PEPPER_FILE, base64.b64encode(secrets.token_bytes(32)).decode())


async def first_admin(container: Container) -> list[str]:
    """Add an admin when there is none; returns the lines that tell how to log in."""
    if await container.accounts().count_admins():
        return []
    password = secrets.token_urlsafe(18)
    settings = container.settings()
    path = settings.pgsched_home / ADMIN_PASSWORD_FILE
    shown = sys.stdout.isatty()
    if not shown:
        # Written first: an admin whose password is lost would lock everybody out.
        write_private(path, password)
    new = NewAccount(email=ADMIN_EMAIL, name="Admin", roles=("admin",))
    await container.add_account()(new, password, operator())
    if shown:
        return [f"admin: {ADMIN_EMAIL}", f"password: {password}   (shown this once; keep it)"]
    return [f"admin: {ADMIN_EMAIL}", f"password: in {path}"]


def write_private(path: Path, text: str) -> None:
    """Write one line into a file that only its owner reads; it is whole or not there."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
