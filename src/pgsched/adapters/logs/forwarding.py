"""Forwarding to a syslog server: UDP (RFC 5426), TCP (RFC 6587, octet counting), a socket of this machine.

Sending happens in a thread of its own, from a queue with a bound: a server that is slow or away costs
records, which are counted, never time.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass

from pgsched.adapters.logs.rfc5424 import Rfc5424Formatter

#: most records that wait to be sent; the oldest are given up for newer ones
MOST_WAITING = 10_000
#: seconds between two tries to reach the server
_TRY_AGAIN_S = 1.0
#: seconds that sending may take
_SEND_S = 5.0
#: seconds for what still waits when the process ends
_LAST_S = 2.0


@dataclass(frozen=True, kw_only=True, slots=True)
class SyslogTarget:
    """Where a syslog server listens."""

    #: ``udp``, ``tcp`` or ``unix``
    transport: str
    #: host name, or the socket's path
    host: str
    #: TCP or UDP port, 0 for a socket's path
    port: int = 0


class SyslogForwarder(logging.Handler):
    """Sends every record to one server, in order, in the form that the log file has."""

    def __init__(self, target: SyslogTarget, formatter: Rfc5424Formatter) -> None:
        """Start the thread; does not fail when the server is away."""
        super().__init__()
        self.setFormatter(formatter)
        self._line = formatter.line
        self._target = target
        self._waiting: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._socket: socket.socket | None = None
        #: records given up
        self.lost = 0
        self._thread = threading.Thread(target=self._send_all, name="log-forward", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Queue one record."""
        try:
            line = self._line(record)
        except Exception:  # logging must not become the caller's fault
            self.handleError(record)
            return
        with self._changed:
            if len(self._waiting) >= MOST_WAITING:
                self._waiting.popleft()
                self.lost += 1
            self._waiting.append(line)
            self._changed.notify()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 (logging's)
        """Count; the log file tells what it was."""
        self.lost += 1

    def close(self) -> None:
        """Send what still waits, for two seconds at most."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(_LAST_S)
        super().close()

    def _send_all(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._closed:
                    self._changed.wait()
                if not self._waiting:
                    break
                line = self._waiting.popleft()
            if self._sent(line):
                continue
            with self._changed:
                # back in front, unless there are newer ones enough
                if len(self._waiting) < MOST_WAITING:
                    self._waiting.appendleft(line)
                else:
                    self.lost += 1
                if self._closed:
                    self.lost += len(self._waiting)
                    break
                self._changed.wait_for(lambda: self._closed, timeout=_TRY_AGAIN_S)
        self._drop()

    def _sent(self, line: bytes) -> bool:
        try:
            if self._socket is None:
                self._socket = self._connected()
            if self._target.transport == "tcp":
                if _is_gone(self._socket):
                    raise ConnectionResetError
                # octet counting: a message may hold anything, line ends too
                self._socket.sendall(b"%d %b" % (len(line), line))
            else:
                self._socket.send(line)
        except OSError:
            self._drop()
            return False
        return True

    def _connected(self) -> socket.socket:
        target = self._target
        if target.transport == "unix":
            made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            made.settimeout(_SEND_S)
            made.connect(target.host)
            return made
        if target.transport == "tcp":
            made = socket.create_connection((target.host, target.port), timeout=_SEND_S)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            return made
        family, kind, protocol, _, address = socket.getaddrinfo(
            target.host, target.port, type=socket.SOCK_DGRAM
        )[0]
        made = socket.socket(family, kind, protocol)
        made.settimeout(_SEND_S)
        made.connect(address)
        return made

    def _drop(self) -> None:
        if self._socket is not None:
            with suppress(OSError):
                self._socket.close()
            self._socket = None


def _is_gone(connected: socket.socket) -> bool:
    """Whether the server has closed the connection: what is sent into it would be lost without an error."""
    connected.setblocking(False)
    try:
        return connected.recv(1) == b""
    except BlockingIOError:
        return False
    finally:
        connected.settimeout(_SEND_S)
