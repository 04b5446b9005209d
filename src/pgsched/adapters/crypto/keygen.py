"""Making a key pair and writing it: both files or none, and never over an older one by accident."""

from __future__ import annotations

import base64
import contextlib
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from pgsched.adapters.crypto.key_files import beside, sync
from pgsched.domain.errors import KeyFault


@dataclass(frozen=True, kw_only=True, slots=True)
class KeyPair:
    """An X25519 pair as libsodium uses it."""

    #: 32 bytes, may be shown
    public: bytes
    #: 32 bytes, never shown
    private: bytes = field(repr=False)


def generate_pair() -> KeyPair:
    """Draw a new pair from the system's random source."""
    # imported here: 17 ms that only keys gen and up should pay
    from nacl.public import PrivateKey

    key = PrivateKey.generate()
    return KeyPair(public=bytes(key.public_key), private=bytes(key))


def write_pair(pair: KeyPair, *, public: Path, private: Path, force: bool = False) -> None:
    """Write a pair as version 1, one base64 line each; the private file has mode 0600 from its first byte.

    Each file appears whole or not at all. Without ``force`` a file that exists is never touched, not even
    when another process makes it at the same moment. When the second file fails, the first is put back
    as it was.

    Raises:
        KeyFault: a file exists, or cannot be written.
    """
    if public.absolute() == private.absolute():
        raise KeyFault(f"both keys would go to {public}; name two files")
    for path in (private, public):
        _refuse_early(path, force)
    fresh: list[Path] = []
    try:
        for path, key, mode in ((private, pair.private, 0o600), (public, pair.public, 0o644)):
            fresh.append(beside(path, base64.b64encode(key) + b"\n", mode))
        _place_both(fresh, (private, public), force)
    finally:
        for path in fresh:
            with contextlib.suppress(OSError):
                path.unlink()


def _refuse_early(path: Path, force: bool) -> None:
    if path.is_dir():
        raise KeyFault(f"{path} is a folder; name a file in it")
    if os.path.lexists(path) and not force:
        raise _exists(path)


def _exists(path: Path) -> KeyFault:
    return KeyFault(
        f"{path} exists and was not touched; name another file, or add --force"
        " (what was sealed with the old key will not open any more)"
    )


def _place_both(fresh: list[Path], targets: tuple[Path, Path], force: bool) -> None:
    """Move both into place; put the first back as it was when the second fails."""
    first, second = targets
    kept = first.with_name(f".{first.name}.{secrets.token_hex(8)}.old")
    existed = os.path.lexists(first)
    if existed:
        with contextlib.suppress(OSError):
            os.link(first, kept, follow_symlinks=False)
    try:
        _place(fresh[0], first, force)
        try:
            _place(fresh[1], second, force)
        except KeyFault:
            if os.path.lexists(kept):
                kept.replace(first)
            elif not existed:
                first.unlink()
            raise
    finally:
        with contextlib.suppress(OSError):
            kept.unlink()
    for folder in {first.parent, second.parent}:
        sync(folder)


def _place(fresh: Path, target: Path, force: bool) -> None:
    try:
        if force:
            fresh.replace(target)
        else:
            _link(fresh, target)
    except FileExistsError:
        raise _exists(target) from None
    except OSError as error:
        raise KeyFault(f"{target} cannot be written: {error.strerror}") from None


def _link(fresh: Path, target: Path) -> None:
    """Give a file its name unless the name is taken; a rename would silently replace."""
    try:
        os.link(fresh, target)
    except FileExistsError:
        raise
    except OSError:
        # a file system without hard links: take the name first, then replace what is ours
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        fresh.replace(target)
