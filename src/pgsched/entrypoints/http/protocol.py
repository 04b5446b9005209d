"""The server's end of a connection: bounds on what is sent and for how long, and answers from memory at once.

Below ASGI, where a task for each request would cost more than the answer. What is not in memory goes on.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from pgsched.entrypoints.http.carried import lines_of

if TYPE_CHECKING:
    from pgsched.entrypoints.http.edge import Edge

#: bytes of a request's target
LONGEST_TARGET: Final = 8 * 1024
#: bytes of a request's head: target and headers
LARGEST_HEAD: Final = 32 * 1024
#: seconds for a request's head to arrive, and for its body
HEAD_S: Final = 10.0
BODY_S: Final = 30.0
#: connections of one process
MOST_CONNECTIONS: Final = 8192
_SWEEP_S: Final = 1.0
_READING: Final = {b"GET": "GET", b"HEAD": "HEAD"}


def protocol_for(edge: Edge, loop: asyncio.AbstractEventLoop) -> type[HttpToolsProtocol]:
    """Return the protocol of connections to an application behind this edge."""

    class Connection(_Connection):
        _edge = edge
        _date = _Date()

    def sweep() -> None:
        now = loop.time()
        for connection in list(Connection.open):
            connection.end_if_slow(now)
        loop.call_later(_SWEEP_S, sweep)

    Connection.open = set()
    loop.call_later(_SWEEP_S, sweep)
    return Connection


class _Date:
    """The server's default headers as lines, written anew when they change (the date, once a second)."""

    def __init__(self) -> None:
        self._of: Any = None
        self._lines = b""

    def lines(self, headers: list[tuple[bytes, bytes]]) -> bytes:
        if headers is not self._of:
            self._of, self._lines = headers, lines_of(headers)
        return self._lines


class _Connection(HttpToolsProtocol):
    _edge: Edge
    _date: _Date
    #: every connection there is
    open: set[_Connection]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: when the head or body that is awaited began, seconds of the loop's clock; None when none is
        self._since: float | None = None
        self._is_in_head = True
        self._is_instant = False
        self._is_refused = False
        #: bytes of the head so far, without those of the chunk at hand, and the latter
        self._received = self._chunk = 0
        #: whether a request ended in the chunk at hand
        self._ended = False
        #: when the last answer from memory ended and nothing came since
        self._idle_since: float | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.open.add(self)
        self._since = self.loop.time()
        if len(self.open) > MOST_CONNECTIONS:
            self._refuse(503, "overloaded", "too many connections; try again in a moment")

    def connection_lost(self, exc: Exception | None) -> None:
        self.open.discard(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        if self._is_in_head and self._since is None:
            self._since = self.loop.time()
        self._idle_since = None
        self._chunk = len(data)
        self._ended = False
        super().data_received(data)
        # what ended a request in this chunk was its body, and no part of the next head
        if self._is_in_head and not self._ended:
            self._received += len(data)
            if self._received > LARGEST_HEAD and not self._is_refused:
                self._refuse(431, "too_large", f"the request's head is larger than {LARGEST_HEAD} bytes")

    def on_message_begin(self) -> None:
        # what ASGI needs is made when it is needed, see _go_on
        self.url, self.headers, self.expect_100_continue = b"", [], False
        self._is_in_head, self._is_instant, self._received = True, False, 0

    def on_headers_complete(self) -> None:
        self._is_in_head = False
        url = self.url
        if self._is_refused:
            return
        if len(url) > LONGEST_TARGET:
            self._refuse(414, "too_large", f"the request's target is longer than {LONGEST_TARGET} bytes")
            return
        # what came is an upper bound, and mostly small
        if self._received + self._chunk > LARGEST_HEAD and self._head_size() > LARGEST_HEAD:
            self._refuse(431, "too_large", f"the request's head is larger than {LARGEST_HEAD} bytes")
            return
        method = _READING.get(self.parser.get_method())
        is_free = self.cycle is None or self.cycle.response_complete
        if method is not None and is_free and not self.flow.write_paused:
            self._is_instant = self._answers_at_once(method, url)
        if not self._is_instant:
            self._go_on()

    def _head_size(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _go_on(self) -> None:
        """Hand the request on to ASGI."""
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers.extend(headers)
        super().on_headers_complete()

    def _answers_at_once(self, method: str, url: bytes) -> bool:
        parser = self.parser
        if parser.get_http_version() != "1.1" or not parser.should_keep_alive() or parser.should_upgrade():
            return False
        if self.expect_100_continue:
            return False
        started = time.monotonic()
        path, _, query = url.partition(b"?")
        headers = self._edge.headers_of(self.headers)
        address = self.client[0] if self.client else None
        found = self._edge.instant(path, query, headers, address, self.scheme or "http")
        if found is None:
            return False
        encoded = found.encoded
        lines, body = encoded.lines, encoded.body or b""
        if found.status == 304:
            lines, body = encoded.unchanged_lines, b""
        elif method == "HEAD":
            body = b""
        self.transport.write(
            b"".join(
                (
                    STATUS_LINE[found.status],
                    self._date.lines(self.server_state.default_headers),
                    lines,
                    found.age.lines,
                    b"x-request-id: ",
                    found.request_id,
                    b"\r\n",
                    found.carried.lines,
                    body,
                )
            )
        )
        self.server_state.total_requests += 1
        self._edge.answered(method, path, found, time.monotonic() - started)
        return True

    def on_body(self, body: bytes) -> None:
        if not self._is_instant and not self._is_refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        self._since = None
        self._is_in_head = self._ended = True
        self._received = 0
        if self._is_refused:
            return
        if self._is_instant:
            self._idle_since = self.loop.time()
        else:
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 (the server's words are not for clients)
        self._refuse(400, "invalid_request", "the request is not HTTP/1.1")

    def end_if_slow(self, now: float) -> None:
        """End the connection when what it began to send did not arrive in time."""
        if self._idle_since is not None and now - self._idle_since > self.timeout_keep_alive:
            self.transport.close()
        if self._since is None or self._is_refused:
            return
        if now - self._since > (HEAD_S if self._is_in_head else BODY_S):
            self._refuse(408, "request_timeout", "the request did not arrive in time")

    def _refuse(self, status: int, code: str, detail: str) -> None:
        self._is_refused = True
        if not self.transport.is_closing():
            # in the middle of another answer nothing can be said
            if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
                address = self.client[0] if self.client else None
                date = self._date.lines(self.server_state.default_headers)
                self.transport.write(
                    STATUS_LINE[status] + date + self._edge.refusal(status, code, detail, address)
                )
            self.transport.close()
