"""The file with the server's messages, kept small.

Postgres's own collector bounds its files in time, not in size; writing to a file opened for appending can
be cut from outside at any moment.
"""

from __future__ import annotations

import os
from pathlib import Path

#: size from which the log is cut, in bytes; two such files at most
MOST_BYTES = 4 * 1024 * 1024
#: how much of a failed start's messages is looked at, in bytes
TAIL_BYTES = 16 * 1024


def begin(log: Path) -> int:
    """See that the log exists with mode 0600 and within its bound; return its size in bytes."""
    os.close(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
    trim(log)
    return log.stat().st_size


def since(log: Path, offset: int) -> str:
    """Return what was written after ``offset``, the last of it when it is much."""
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(offset if offset <= size else 0, size - TAIL_BYTES))
        return file.read().decode("utf-8", "replace")


def trim(log: Path, most_bytes: int = MOST_BYTES) -> None:
    """Move the log's content to ``<log>.1`` once it is too large.

    Copied and cut, not renamed: the server keeps its descriptor. A line written in between may be lost.
    """
    try:
        if log.stat().st_size <= most_bytes:
            return
        older = log.with_name(f"{log.name}.1")
        with log.open("rb") as source:
            source.seek(-most_bytes, os.SEEK_END)
            content = source.read()
        older.unlink(missing_ok=True)
        with os.fdopen(os.open(older, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as target:
            target.write(content)
        os.truncate(log, 0)
    except OSError:
        # A full disk or a removed file must not end the server's supervisor.
        return
