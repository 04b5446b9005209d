"""What happens to rotated logs: gzipped after some days, deleted after more."""

from __future__ import annotations

import contextlib
import os
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path


def tidy(folder: Path, app_name: str, *, today: date, gzip_after_days: int, keep_days: int) -> None:
    """Gzip and delete rotated logs of one program by the day in their name; never raises OSError.

    Files of other names are not touched. A compressed file appears whole or not at all; what a process left
    half compressed when it was killed is taken up by the next.
    """
    _drop_abandoned(folder, app_name, today)
    shape = re.compile(re.escape(app_name) + r"\.log\.([0-9]{4}-[0-9]{2}-[0-9]{2})(\.gz)?", re.ASCII)
    with contextlib.suppress(OSError):
        for path in sorted(folder.iterdir()):
            match = shape.fullmatch(path.name)
            day = _day(match[1]) if match else None
            if match is None or day is None:
                continue
            with contextlib.suppress(OSError):
                if today - day > timedelta(days=keep_days):
                    path.unlink()
                elif match[2] is None and today - day > timedelta(days=gzip_after_days):
                    _gzip(path)


def _drop_abandoned(folder: Path, app_name: str, today: date) -> None:
    with contextlib.suppress(OSError):
        for path in folder.glob(f"{app_name}.log.????-??-??.gz.new"):
            with contextlib.suppress(OSError), path.open("rb") as left:
                old = datetime.fromtimestamp(path.stat().st_mtime, UTC).date() < today - timedelta(days=1)
                if old and _is_mine(left.fileno(), path):
                    path.unlink()


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _gzip(path: Path) -> None:
    # imported here: only a rotation needs them
    import gzip
    import shutil

    target = path.with_name(f"{path.name}.gz")
    fresh = path.with_name(f"{path.name}.gz.new")
    with os.fdopen(os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640), "wb") as raw:
        if not _is_mine(raw.fileno(), fresh):
            return
        try:
            # what a process that was killed had written of it
            raw.truncate(0)
            with path.open("rb") as plain, gzip.GzipFile(filename="", mode="wb", fileobj=raw) as packed:
                shutil.copyfileobj(plain, packed)
            raw.flush()
            os.fsync(raw.fileno())
            fresh.replace(target)
        except BaseException:
            fresh.unlink(missing_ok=True)
            raise
        path.unlink()


def _is_mine(descriptor: int, path: Path) -> bool:
    """Take the file for this process alone; False when another works on it, or has finished with it.

    The lock ends with its process, however that ends; no clock has to judge what was abandoned.
    """
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return path.stat().st_ino == os.fstat(descriptor).st_ino
    except OSError:
        return False
