"""The log file: appended to line by line, rotated at midnight, and never a reason to stop."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime
from itertools import groupby
from pathlib import Path
from time import monotonic, sleep

from pgsched.adapters.logs.rfc5424 import Rfc5424Formatter
from pgsched.adapters.logs.streams import to_stderr

#: seconds between attempts to open a log file that could not be opened
_TRY_AGAIN_S = 30.0
#: seconds after which a rotation is tried again that somebody was in the way of
_ROTATE_AGAIN_S = 5.0
#: tries to lock the file, and seconds between two of them: a second, since a machine may be very busy
_LOCK_TRIES, _LOCK_PAUSE_S = 400, 0.0025
#: seconds for which nobody waits for the lock again when it was waited for in vain
_LOCK_AGAIN_S = 5.0
#: seconds that a line waits for others at most, and how many wait
_WAIT_S, _MOST_WAITING = 0.05, 256
#: in every zone a day begins with a quarter of an hour, seconds
_QUARTER_S = 900
#: where the time stands in a line: PRI, version, time
_TIME = re.compile(rb"<[0-9]{1,3}>1 ([0-9T:.+-]{10,32}Z?) ")


class LogFile(logging.Handler):
    """Appends records to ``<folder>/<app_name>.log``, whole lines with each write: processes may share it.

    While the file cannot be written, records go to stderr after one warning; it is tried again every 30 s.
    At the first record of a new day the file becomes ``<app_name>.log.YYYY-MM-DD``, named for the day of its
    first line, and ``after_rotation`` is called in a thread. Writers hold a shared lock on the file, whoever
    rotates it an exclusive one: nobody writes to a file that was moved away.
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
        self._name = str(self.path)
        self._descriptor: int | None = None
        #: lines to be written, each with its time
        self._waiting: list[tuple[float, bytes]] = []
        #: the loop that writes them in a moment, None when none does
        self._flushed_by: asyncio.AbstractEventLoop | None = None
        #: device and inode of the open file
        self._identity = (0, 0)
        self._day: date | None = None
        self._closed = False
        #: monotonic seconds before which no rotation is tried
        self._rotate_at = 0.0
        #: monotonic seconds before which the lock is not waited for
        self._wait_at = 0.0
        #: records that went to stderr instead, or could not be formatted
        self.lost = 0
        self._warned = False
        self._retry_at = monotonic()
        self._open()

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; called under the handler's lock.

        What is below a warning and comes from an event loop waits a little for others: locking the file for
        each would take longer than making the line.
        """
        try:
            line = self._line(record)
        except Exception:  # logging must not become the caller's fault
            self.handleError(record)
            return
        self._waiting.append((record.created, line))
        if record.levelno >= logging.WARNING or not self._is_flushed_later():
            self._flush()

    def write_lines(self, lines: Sequence[tuple[float, bytes]]) -> None:
        """Write finished lines, each with its time in seconds since 1970, behind those that wait."""
        self.acquire()
        try:
            self._waiting += lines
            self._flush()
        finally:
            self.release()

    def flush(self) -> None:
        """Write what waits."""
        self.acquire()
        try:
            self._flush()
        finally:
            self.release()

    def _is_flushed_later(self) -> bool:
        if len(self._waiting) >= _MOST_WAITING:
            return False
        if self._flushed_by is None or self._flushed_by.is_closed():
            try:
                loop = asyncio.get_running_loop()
            except RuntimeError:
                return False
            self._flushed_by = loop
            loop.call_later(_WAIT_S, self.flush)
        return True

    def _flush(self) -> None:
        self._flushed_by = None
        waiting, self._waiting = self._waiting, []
        # the lines of two days are not written together
        for _, together in groupby(waiting, key=_quarter):
            lines = list(together)
            self._put(b"".join(line + b"\n" for _, line in lines), lines[-1][0], len(lines))

    def _put(self, lines: bytes, created: float, count: int) -> None:
        if self._descriptor is None and monotonic() >= self._retry_at:
            self._open()
        try:
            if self._append(lines, self._day_of(created)):
                return
        except OSError as error:
            self._give_up(error)
        self.lost += count
        to_stderr(lines)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
        """Tell of a record that cannot be formatted in one line; logging itself would print a traceback."""
        self.lost += 1
        to_stderr(f"Warning: a log record of {record.name!a} cannot be formatted\n".encode())

    def close(self) -> None:
        """Close the file."""
        self.acquire()
        try:
            self._flush()
            self._closed = True
            self._drop()
        finally:
            self.release()
        super().close()

    def _append(self, line: bytes, today: date) -> bool:
        """Write the line to the file of its day; False when there is no file to be had."""
        # another process may rotate between opening and locking, which is seen under the lock
        while self._descriptor is not None:
            if self._day is not None and self._day < today and monotonic() >= self._rotate_at:
                self._rotate(today)
                continue
            with self._locked(fcntl.LOCK_SH):
                if self._still_ours():
                    self._write(line)
                    self._day = self._day or today
                    return True
            self._drop()
            self._open()
        return False

    def _write(self, line: bytes) -> None:
        assert self._descriptor is not None
        # O_APPEND: one write is one line, also beside other processes
        written = os.write(self._descriptor, line)
        if written == len(line):
            return
        end = os.lseek(self._descriptor, 0, os.SEEK_CUR)
        try:
            if os.write(self._descriptor, line[written:]) == len(line) - written:
                return
            raise OSError(28, "the line was cut short")
        except OSError:
            self._take_back(end - written, end)
            raise

    def _take_back(self, start: int, end: int) -> None:
        """Remove the first half of a line when the disk had no room for the second."""
        assert self._descriptor is not None
        with suppress(OSError), self._locked(fcntl.LOCK_EX) as locked:
            if locked and os.fstat(self._descriptor).st_size == end:
                os.ftruncate(self._descriptor, start)
            else:
                # others have written behind it: it stays, as a line of its own as far as it can be
                os.write(self._descriptor, b"\n")

    def _open(self) -> None:
        if self._closed:
            return
        try:
            self.path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
            self._descriptor = os.open(self.path, flags, 0o640)
            found = os.fstat(self._descriptor)
            self._identity = found.st_dev, found.st_ino
            self._day = self._day_of_file()
        except OSError as error:
            self._give_up(error)
        else:
            self._warned = False

    def _rotate(self, today: date) -> None:
        """Move the file of an earlier day away, unless another process has; go on with the one of today."""
        mine = False
        with self._locked(fcntl.LOCK_EX) as locked:
            if not locked:
                self._rotate_at = monotonic() + _ROTATE_AGAIN_S
                return
            day = self._day_of_file()
            if self._still_ours() and day is not None and day < today:
                rotated = self.path.with_name(f"{self.path.name}.{day}")
                # a name that is taken (a clock set back) is left alone: the lines stay in the open file
                if not rotated.exists() and not rotated.with_name(f"{rotated.name}.gz").exists():
                    self.path.rename(rotated)
                    mine = True
                else:
                    self._day = today
                    return
        self._drop()
        self._open()
        if mine:
            threading.Thread(target=self._after_rotation, args=(today,), name="log-tidy", daemon=True).start()

    @contextmanager
    def _locked(self, how: int) -> Iterator[bool]:
        """Lock the file, unless somebody holds it for long: a frozen process must not freeze others.

        The lock is on the file itself: the folder holds log files only.
        """
        assert self._descriptor is not None
        descriptor = self._descriptor
        locked = False
        for _ in range(_LOCK_TRIES if monotonic() >= self._wait_at else 1):
            try:
                fcntl.flock(descriptor, how | fcntl.LOCK_NB)
                locked = True
                break
            except BlockingIOError:
                sleep(_LOCK_PAUSE_S)
        if not locked:
            self._wait_at = monotonic() + _LOCK_AGAIN_S
        try:
            yield locked
        finally:
            if locked:
                with suppress(OSError):
                    fcntl.flock(descriptor, fcntl.LOCK_UN)

    def _still_ours(self) -> bool:
        assert self._descriptor is not None
        try:
            there = os.stat(self._name)  # noqa: PTH116 (half the cost of Path.stat, for every line)
        except FileNotFoundError:
            return False
        return (there.st_dev, there.st_ino) == self._identity

    def _drop(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _give_up(self, error: OSError) -> None:
        self._drop()
        self._retry_at = monotonic() + _TRY_AGAIN_S
        if not self._warned:
            self._warned = True
            to_stderr(
                f"Warning: cannot write the log file {self.path} ({error.strerror}); "
                "logging to stderr until it can be written\n".encode()
            )

    def _day_of_file(self) -> date | None:
        """Return the day of the file's first line, None for an empty file; of its last write if that is none.

        Not of its last write in the first place: copying and restoring a file change that.
        """
        assert self._descriptor is not None
        found = os.fstat(self._descriptor)
        if not found.st_size:
            return None
        match = _TIME.match(os.pread(self._descriptor, 64, 0))
        with suppress(ValueError):
            if match is not None:
                return self._day_of(datetime.fromisoformat(match[1].decode()).timestamp())
        return self._day_of(found.st_mtime)

    def _day_of(self, seconds: float) -> date:
        at = datetime.fromtimestamp(seconds, UTC)
        return at.date() if self._utc else at.astimezone().date()


def _quarter(line: tuple[float, bytes]) -> int:
    return int(line[0]) // _QUARTER_S
