"""Writing key files: whole or not at all, for their owner, and there after a power cut."""

from __future__ import annotations

import base64
import contextlib
import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path

from pgsched.domain.errors import KeyFault


def replace_ring(path: Path, keys: Mapping[int, bytes], *, mode: int) -> None:
    """Replace a key file by lines ``version:base64``, the highest last, in one rename.

    The new file has the old one's owner, so that root can rotate the keys of a service user, and a mode that
    gives no more than ``mode``. A symbolic link stays one: the file it leads to is replaced.

    Raises:
        KeyFault: the file or its folder cannot be written; nothing was changed.
    """
    lines = (f"{version}:{base64.b64encode(key).decode()}\n" for version, key in sorted(keys.items()))
    target = path.resolve()
    fresh = beside(target, "".join(lines).encode(), mode)
    try:
        found = target.stat()
        fresh.chmod(stat.S_IMODE(found.st_mode) & mode | 0o400)
        if (found.st_uid, found.st_gid) != (os.geteuid(), os.getegid()):
            os.chown(fresh, found.st_uid, found.st_gid)
        fresh.replace(target)
    except OSError as error:
        raise KeyFault(f"{path} cannot be replaced: {error.strerror}") from None
    finally:
        with contextlib.suppress(OSError):
            fresh.unlink()
    sync(target.parent)


def beside(path: Path, content: bytes, mode: int) -> Path:
    """Write a complete file next to where it belongs, on the same file system.

    Raises:
        KeyFault: it cannot be written; nothing is left.
    """
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}.new")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise KeyFault(f"{path} cannot be written: {error.strerror}") from None
    return fresh


def sync(folder: Path) -> None:
    """Make the new names last through a power cut, where the file system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
