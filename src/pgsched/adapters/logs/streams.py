"""Log records on standard output, for containers; and the last resort, standard error."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence

from pgsched.adapters.logs.rfc5424 import Rfc5424Formatter


class StandardOutput(logging.Handler):
    """Writes each record to standard output with one write, so that processes may share it."""

    def __init__(self, formatter: Rfc5424Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self._line = formatter.line
        #: records that could not be written
        self.lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; a reader that is gone is no reason to stop."""
        try:
            line = self._line(record) + b"\n"
            while line:
                line = line[os.write(1, line) :]
        except Exception:  # logging must not become the caller's fault
            self.handleError(record)

    def write_lines(self, lines: Sequence[tuple[float, bytes]]) -> None:
        """Write finished lines, each with one write."""
        self.acquire()
        try:
            for _, each in lines:
                line = each + b"\n"
                while line:
                    line = line[os.write(1, line) :]
        except OSError:
            self.lost += len(lines)
        finally:
            self.release()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 (logging's)
        """Count; there is nobody to tell."""
        self.lost += 1


def to_stderr(line: bytes) -> None:
    """Write a line where it is still seen, if anywhere."""
    try:
        sys.stderr.buffer.write(line)
        sys.stderr.buffer.flush()
    except (OSError, ValueError, AttributeError):
        # nobody is left to tell
        return
