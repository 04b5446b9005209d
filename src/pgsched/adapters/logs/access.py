"""The access log of answers that take microseconds: lines made from templates, written in batches.

A line differs from the last one of the same request by its time, duration and request id alone, so the
formatter is asked once for each kind and its line taken as a template.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from time import monotonic
from typing import Final, NamedTuple, Protocol, runtime_checkable

from pgsched.adapters.logs.rfc5424 import Rfc5424Formatter

#: seconds that a line waits for others
_WAIT_S: Final = 0.05
#: lines written at once
_BATCH: Final = 512
#: lines that wait for a disk at most; beyond, they are counted and dropped
_MOST_WAITING: Final = 100_000
_MOST_TEMPLATES: Final = 1024
#: stand for what differs; of the length that it has, so that limits of length hold
_ID: Final = "Request.Id.To.Be.Put.In-"
_DURATION: Final = 987654.25
_EPOCH: Final = b"1970-01-01T00:00:00.000000Z"

_log = logging.getLogger("pgsched.access")


class Answered(NamedTuple):
    """An answer to be written down."""

    method: str
    path: str
    status: int
    #: milliseconds
    duration_ms: float
    client: str | None
    request_id: str
    #: id of the account that asked, None when nobody was logged in
    user_id: int | None = None


@runtime_checkable
class TakesLines(Protocol):
    """A handler that writes finished lines, several at once."""

    #: makes its lines
    formatter: logging.Formatter | None

    def write_lines(self, lines: Sequence[tuple[float, bytes]]) -> None:
        """Write lines, each with its time in seconds since 1970."""
        ...


class BatchedAccessLog:
    """Collects answers and writes them down a little later, without keeping the loop waiting for the disk."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, Answered]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Future[None] | None = None
        self._lines = Lines()
        #: answers not written down because a disk did not keep up
        self.lost = 0

    def note(self, answered: Answered) -> None:
        """Take an answer that has just been given."""
        loop = asyncio.get_running_loop()
        if len(self._waiting) >= _MOST_WAITING:
            self.lost += 1
            return
        self._waiting.append((monotonic(), answered))
        if self._timer is None:
            self._timer = loop.call_later(_WAIT_S, self._flush)
        elif len(self._waiting) >= _BATCH and self._writing is None:
            self._timer.cancel()
            self._flush()

    async def close(self) -> None:
        """Write down what waits."""
        if self._writing is not None:
            await asyncio.wait({self._writing})
        if self._timer is not None:
            self._timer.cancel()
        self._flush()
        if self._writing is not None:
            await asyncio.wait({self._writing})

    def _flush(self) -> None:
        self._timer = None
        if self._writing is not None or not self._waiting:
            return
        batch, self._waiting = self._waiting, []
        loop = asyncio.get_running_loop()
        # one record tells what the clock on the wall says now
        offset = _record(batch[-1][1]).created - monotonic()
        jobs: list[tuple[TakesLines, list[tuple[float, bytes]]]] = []
        for handler in logging.getLogger().handlers:
            if handler.level > logging.INFO or not _log.isEnabledFor(logging.INFO):
                continue
            if isinstance(handler, TakesLines) and isinstance(handler.formatter, Rfc5424Formatter):
                write = handler.formatter.line
                lines = [
                    (offset + at, self._lines.line(write, offset + at, answered)) for at, answered in batch
                ]
                jobs.append((handler, lines))
            elif not getattr(handler, "leaves_access", False):
                for at, answered in batch:
                    record = _record(answered)
                    record.created = offset + at
                    handler.handle(record)
        if jobs:
            self._writing = loop.run_in_executor(None, _write, jobs)
            self._writing.add_done_callback(self._written)

    def _written(self, _: object) -> None:
        self._writing = None
        if self._waiting and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_WAIT_S, self._flush)


def _write(jobs: list[tuple[TakesLines, list[tuple[float, bytes]]]]) -> None:
    for handler, lines in jobs:
        handler.write_lines(lines)


class Lines:
    """Makes the lines that the formatter would make."""

    def __init__(self) -> None:
        self._templates: dict[tuple[object, ...], tuple[bytes, bytes, bytes, bytes] | None] = {}
        self._second = (-1, b"")

    def line(self, write: object, created: float, answered: Answered) -> bytes:
        """Return a line for an answer given at a time in seconds since 1970; ``write`` is the formatter's."""
        assert callable(write)
        kind = (write, answered.method, answered.path, answered.status, answered.client, answered.user_id)
        if kind not in self._templates:
            if len(self._templates) >= _MOST_TEMPLATES:
                self._templates.clear()
            self._templates[kind] = _template(write, answered)
        parts = self._templates[kind]
        if parts is None or len(answered.request_id) > len(_ID):
            record = _record(answered)
            record.created = created
            return bytes(write(record))
        before, middle, later, after = parts
        return b"".join(
            (
                *(before, self._time(created), middle, str(answered.duration_ms).encode()),
                *(later, answered.request_id.encode(), after),
            )
        )

    def _time(self, created: float) -> bytes:
        # rounded as datetime.fromtimestamp does
        second = int(created)
        fraction = round((created - second) * 1_000_000)
        if fraction == 1_000_000:
            second, fraction = second + 1, 0
        if second != self._second[0]:
            text = datetime.fromtimestamp(second, UTC).isoformat(timespec="seconds")
            self._second = second, text[:19].encode()
        return b"%b.%06dZ" % (self._second[1], fraction)


def _template(write: object, answered: Answered) -> tuple[bytes, bytes, bytes, bytes] | None:
    """Return a line's constant parts, None when it has not the usual form: cut because it is too long."""
    assert callable(write)
    record = _record(answered._replace(duration_ms=_DURATION, request_id=_ID))
    record.created = 0.0
    line = bytes(write(record))
    parts: list[bytes] = []
    if any(mark in f"{answered.path} {answered.client}" for mark in (_EPOCH.decode(), str(_DURATION), _ID)):
        return None
    for mark in (_EPOCH, str(_DURATION).encode(), _ID.encode()):
        before, found, line = line.partition(mark)
        if not found:
            return None
        parts.append(before)
    if b"truncated=" in line or line.endswith("…".encode()):
        return None
    return parts[0], parts[1], parts[2], line


def _record(answered: Answered) -> logging.LogRecord:
    """Return the record that stands for an answer."""
    text = (answered.method, answered.path, answered.status)
    extra = {"action": "http.request", **answered._asdict()}
    return _log.makeRecord(_log.name, logging.INFO, "", 0, "%s %s %d", text, None, None, extra)
