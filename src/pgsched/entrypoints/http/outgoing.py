"""What goes out to one client in answer to one request, after everything else had its say."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from litestar.exceptions import LitestarException

from pgsched.domain.errors import PgschedError
from pgsched.entrypoints.http import problems
from pgsched.entrypoints.http.carried import Carried
from pgsched.entrypoints.http.memory import Memory
from pgsched.entrypoints.http.origins import Headers
from pgsched.entrypoints.http.problems import Problem

if TYPE_CHECKING:
    from litestar.types import Send

_log = logging.getLogger(__name__)

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


class Outgoing:
    """Completes headers, leaves out the body of HEAD, lets what a write changed hold before it is told."""

    def __init__(
        self, send: Send, *, method: str, request_id: bytes, carried: Carried, memory: Memory | None
    ) -> None:
        self._send = send
        self._method = method
        self._carried = carried
        self._memory = memory
        self._is_given_up = False
        self.request_id = request_id
        #: of the answer, 0 before it begins
        self.status = 0

    def give_up(self) -> None:
        """Listen no more to the handler: something else is answered in its stead."""
        self._is_given_up = True

    async def send(self, message: Any) -> None:
        """Send a handler's message."""
        begins_write = self._method not in _SAFE and message["type"] == "http.response.start"
        # 4xx: nothing was changed
        if self._memory is not None and begins_write and not 400 <= message["status"] < 500:
            await self._memory.catch_up()
        if not self._is_given_up:
            await self._complete(message)

    async def whole(self, status: int, headers: Headers, body: bytes) -> None:
        """Answer without a handler."""
        length = [] if status == 204 else [(b"content-length", b"%d" % len(body))]
        await self._complete(
            {"type": "http.response.start", "status": status, "headers": [*headers, *length]}
        )
        await self._complete({"type": "http.response.body", "body": body, "more_body": False})

    async def refuse(self, told: Problem, more: Mapping[str, str]) -> None:
        """Answer with a problem."""
        headers = [(b"content-type", problems.MEDIA_TYPE.encode()), (b"cache-control", b"no-store")]
        headers += [(name.lower().encode(), value.encode()) for name, value in more.items()]
        await self.whole(told.status, headers, told.encode())

    def log_cut_off(self, error: Exception) -> bool:
        """Log why an answer under way does not end, if that is foreseen: the run is gone, or the database."""
        reason = _foreseen(error)
        if reason:
            extra = {"action": "http.cut_off", "request_id": self.request_id.decode()}
            _log.warning("an answer was cut off: %s", reason, extra=extra)
        return bool(reason)

    async def _complete(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = self._carried.complete(self.status, list(message["headers"]), self.request_id)
            message = {**message, "headers": headers}
        elif self._method == "HEAD" and message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await self._send(message)


def _foreseen(error: BaseException | None) -> str:
    """Return what an exception says that is no fault of pgsched's, empty for any other.

    The framework wraps what is raised once an answer has begun, and groups what is raised by a body's pieces.
    """
    if isinstance(error, BaseExceptionGroup):
        told = [_foreseen(each) for each in error.exceptions]
        return "; ".join(told) if all(told) else ""
    if isinstance(error, PgschedError):
        return error.detail
    return _foreseen(error.__cause__) if isinstance(error, LitestarException) else ""
