"""The log file: appended to line by line, rotated at midnight, and never a reason to stop."""

from __future__ import annotations

import fcntl
import logging
import os
import sys
import threading
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from time import monotonic

from pgsched.adapters.logs.rfc5424 import Rfc5424Formatter

#: seconds between attempts to open a log file that could not be opened
_TRY_AGAIN_S = 30.0


class LogFile(logging.Handler):
    """Appends each record to ``<folder>/<app_name>.log`` with one write, so that processes may share it.

    While the file cannot be written, records go to stderr after one warning; it is tried again every 30 s.
    At the first record of a new day the file becomes ``<app_name>.log.YYYY-MM-DD``, named for the day of its
    last write, and ``after_rotation`` is called in a thread.
    """

    def __init__(
        self,
        *,
        folder: Path,
        app_name: str,
        formatter: Rfc5424Formatter,
        utc: bool = True,
        after_rotation: Callable[[date], None] = lambda _today: None,
    ) -> None:
        """Open the file at once when it can be; never raises for what the file system does."""
        super().__init__()
        self.setFormatter(formatter)
        self._line = formatter.line
        self.path = folder / f"{app_name}.log"
        self._utc = utc
        self._after_rotation = after_rotation
        self._descriptor: int | None = None
        self._day: date | None = None
        self._closed = False
        #: records that went to stderr instead, or could not be formatted
        self.lost = 0
        self._warned = False
        self._retry_at = monotonic()
        self._open()

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; called under the handler's lock."""
        try:
            line = self._line(record) + b"\n"
        except Exception:  # logging must not become the caller's fault
            self.handleError(record)
            return
        if self._descriptor is None and monotonic() >= self._retry_at:
            self._open()
        try:
            if self._descriptor is not None:
                self._follow(self._day_of(record.created))
            # _follow may have lost the file
            if self._descriptor is not None:
                self._write(line)
                return
        except OSError as error:
            self._give_up(error)
        self.lost += 1
        _to_stderr(line)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
        """Tell of a record that cannot be formatted in one line; logging itself would print a traceback."""
        self.lost += 1
        _to_stderr(f"Warning: a log record of {record.name!a} cannot be formatted\n".encode())

    def close(self) -> None:
        """Close the file."""
        self.acquire()
        try:
            self._closed = True
            self._drop()
        finally:
            self.release()
        super().close()

    def _write(self, line: bytes) -> None:
        assert self._descriptor is not None
        # O_APPEND: one write is one line, also beside other processes
        written = os.write(self._descriptor, line)
        if written < len(line):
            os.write(self._descriptor, line[written:])

    def _open(self) -> None:
        if self._closed:
            return
        try:
            self.path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            self._descriptor = os.open(self.path, flags, 0o640)
            found = os.fstat(self._descriptor)
            self._day = self._day_of(found.st_mtime) if found.st_size else None
        except OSError as error:
            self._give_up(error)
        else:
            self._warned = False

    def _follow(self, today: date) -> None:
        """Rotate when the file's last line is of an earlier day; follow another process that has."""
        assert self._descriptor is not None
        if self._day is not None and self._day < today:
            self._rotate(today)
        elif not self._still_ours():
            self._drop()
            self._open()
        self._day = today

    def _rotate(self, today: date) -> None:
        assert self._descriptor is not None
        # the lock is on the file itself: the folder holds log files only
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        mine = self._still_ours() and self._day_of(os.fstat(self._descriptor).st_mtime) < today
        if mine:
            rotated = self.path.with_name(f"{self.path.name}.{self._day}")
            # a name that is taken (a clock set back) is left alone: the lines stay in the open file
            if not rotated.exists() and not rotated.with_name(f"{rotated.name}.gz").exists():
                self.path.rename(rotated)
        self._drop()
        self._open()
        if mine:
            threading.Thread(target=self._after_rotation, args=(today,), name="log-tidy", daemon=True).start()

    def _still_ours(self) -> bool:
        assert self._descriptor is not None
        try:
            there = self.path.stat()
        except FileNotFoundError:
            return False
        return os.path.samestat(there, os.fstat(self._descriptor))

    def _drop(self) -> None:
        if self._descriptor is not None:
            # closing also gives back the lock
            os.close(self._descriptor)
            self._descriptor = None

    def _give_up(self, error: OSError) -> None:
        self._drop()
        self._retry_at = monotonic() + _TRY_AGAIN_S
        if not self._warned:
            self._warned = True
            _to_stderr(
                f"Warning: cannot write the log file {self.path} ({error.strerror}); "
                "logging to stderr until it can be written\n".encode()
            )

    def _day_of(self, seconds: float) -> date:
        at = datetime.fromtimestamp(seconds, UTC)
        return at.date() if self._utc else at.astimezone().date()


def _to_stderr(line: bytes) -> None:
    try:
        sys.stderr.buffer.write(line)
        sys.stderr.buffer.flush()
    except (OSError, ValueError, AttributeError):
        # nobody is left to tell
        return
