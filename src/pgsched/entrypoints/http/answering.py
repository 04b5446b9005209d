"""How a handler's answer is kept: one that is marked is encoded, and compared with what the client has."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

from pgsched.application.ports.watch import Ended
from pgsched.entrypoints.http.memory import Memory, Shown
from pgsched.entrypoints.http.origins import Headers
from pgsched.entrypoints.http.representations import (
    LARGEST_KEPT,
    Represented,
    known_by_tag,
    plain_tags,
    represented,
    streamed,
)

if TYPE_CHECKING:
    from litestar.types import Send

    from pgsched.application.ports.views import StoredRun
    from pgsched.domain.audience import Audience
    from pgsched.entrypoints.http.questions import Question

#: where handlers leave their mark in the scope of a request
_SHOWN = "pgsched.shown"
#: what the names of header lines begin with that tell an age
_AGE = b"pgsched-"


def mark(scope: Any, stored: StoredRun, audience: Audience) -> None:
    """Tell that the answer shows a finished run under a strong tag, so that it can be kept."""
    ended = Ended.of(stored.run)
    if ended is not None and _SHOWN in scope:
        scope[_SHOWN].append(
            Shown(
                query_id=stored.run.query_id,
                ended=ended,
                rows=stored.rows,
                whole_errors=audience.whole_errors,
                now=None if stored.freshness is None else stored.freshness.now,
            )
        )


class Keeping:
    """Between a handler and the client: encodes and keeps marked answers, and lets all others pass."""

    def __init__(
        self,
        send: Send,
        *,
        accept_encoding: bytes | None,
        if_none_match: bytes | None,
        memory: Memory | None,
        question: Question | None,
    ) -> None:
        """Take the way out, what the client accepts and has, and where the answer to its question is kept."""
        self._send = send
        self._accept_encoding = accept_encoding
        self._if_none_match = if_none_match
        self._memory = memory
        self._question = question
        self._shown: list[Shown] = []
        #: the beginning of an answer whose body did not come yet
        self._held: Any = None
        #: of a body that comes in pieces, those so far; None when they are not collected
        self._pieces: list[bytes] | None = None
        self._headers: Headers = []
        #: header lines that tell the answer's age: sent, and not kept
        self._age: Headers = []

    def follow(self, scope: MutableMapping[str, Any]) -> None:
        """Let the handler of a request leave its mark."""
        scope[_SHOWN] = self._shown
        if self._if_none_match is not None:
            # a handler knows of no encodings
            plain = plain_tags(self._if_none_match, self._accept_encoding)
            scope["headers"] = [
                (name, plain if name == b"if-none-match" else value) for name, value in scope["headers"]
            ]

    async def send(self, message: Any) -> None:
        """Send a message of the handler's on, or in its stead what the client wants."""
        if message["type"] == "http.response.start" and self._shown:
            await self._begin(message)
        elif message["type"] == "http.response.body" and self._held is not None:
            held, self._held = self._held, None
            await self._first(held, message)
        else:
            await self._send(message)
            if self._pieces is not None and message["type"] == "http.response.body":
                await self._collect(message)

    async def _begin(self, message: Any) -> None:
        headers: Headers = list(message["headers"])
        self._age = [line for line in headers if line[0].lower().startswith(_AGE)]
        message |= {"headers": [line for line in headers if line not in self._age]}
        if message["status"] == 200:
            self._held = message
            return
        if message["status"] == 304:
            answer = known_by_tag(list(message["headers"]))
            self._keep(answer)
            message |= {
                "headers": answer.chosen(self._accept_encoding, self._if_none_match)[1].unchanged + self._age
            }
        await self._send(message)

    async def _first(self, held: Any, message: Any) -> None:
        headers: Headers = list(held["headers"])
        if message.get("more_body"):
            held |= {"headers": streamed(headers) + self._age}
            await self._send(held)
            await self._send(message)
            self._pieces, self._headers = [], headers
            await self._collect(message)
            return
        answer = await represented(headers, message.get("body", b""))
        self._keep(answer)
        status, encoded = answer.chosen(self._accept_encoding, self._if_none_match)
        headers, body = (encoded.unchanged, b"") if status == 304 else (encoded.headers, encoded.body or b"")
        held |= {"status": status, "headers": headers + self._age}
        message |= {"body": body}
        await self._send(held)
        await self._send(message)

    async def _collect(self, message: Any) -> None:
        """Keep a copy of a body that is passed on, unless it grows too large."""
        assert self._pieces is not None
        self._pieces.append(message.get("body", b""))
        if self._memory is None or self._question is None or sum(map(len, self._pieces)) > LARGEST_KEPT:
            self._pieces = None
        elif not message.get("more_body"):
            body, self._pieces = b"".join(self._pieces), None
            self._keep(await represented(self._headers, body))

    def _keep(self, answer: Represented) -> None:
        if self._memory is not None and self._question is not None:
            self._memory.keep(self._question, self._shown[-1], answer)
