"""Reading ``.env``, when it is safe to believe it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from pgsched.domain.errors import SettingFault

#: most bytes a ``.env`` may have
_LARGEST = 1 << 20


def read_dotenv(path: Path) -> dict[str, str]:
    """Read the ``NAME=value`` lines of a file; no file (or a folder of that name) has none.

    Values are taken as written: ``$`` stands for itself.

    Raises:
        SettingFault: others could have written the file, or it cannot be read.
    """
    text = _text(path)
    if text is None:
        return {}
    # imported here: most starts have no .env, and it takes 20 ms
    from io import StringIO

    from dotenv.parser import parse_stream

    found: dict[str, str] = {}
    # dotenv_values would log a bad line and go on without it
    for binding in parse_stream(StringIO(text)):
        # a name alone would be taken for an empty value, and an empty value is the default
        if binding.error or (binding.key is not None and binding.value is None):
            raise SettingFault(
                str(path), f"line {binding.original.line} is not NAME=value; correct or remove it"
            )
        if binding.key is not None and binding.value is not None:
            found[binding.key] = binding.value
    return found


def _text(path: Path) -> str | None:
    try:
        # not blocking: a FIFO of that name must not hold up the start
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise SettingFault(
            str(path), f"cannot be read ({error.strerror}); make it readable or remove it"
        ) from None
    try:
        found = os.fstat(descriptor)
        if stat.S_ISDIR(found.st_mode):
            # a common name for a virtual environment
            return None
        _check_safe(path, found)
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            raw = file.read(_LARGEST + 1)
    finally:
        os.close(descriptor)
    if len(raw) > _LARGEST:
        raise SettingFault(str(path), "is larger than 1 MiB; is it the right file?")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SettingFault(str(path), "is not UTF-8 text; save it as UTF-8") from None


def _check_safe(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise SettingFault(str(path), "is not a regular file; remove it")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        mode = stat.S_IMODE(found.st_mode)
        raise SettingFault(str(path), f"is writable by others (mode {mode:04o}); run: chmod go-w {path}")
    if found.st_uid not in (0, os.geteuid()):
        raise SettingFault(
            str(path), f"belongs to another user (uid {found.st_uid}); take it over with chown, or remove it"
        )
