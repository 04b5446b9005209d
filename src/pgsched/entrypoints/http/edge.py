"""One thin layer ahead of the router: what every answer carries, and what is refused before it is routed.

Request id, CORS, security headers, Host names, forwarded headers, HEAD, tokens and the access log live here
and not in middleware of the framework: they must hold for unknown paths and unforeseen errors too, and cost
microseconds.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from litestar.enums import ScopeType
from litestar.exceptions import NotFoundException

from pgsched.adapters.logs.access import Answered, BatchedAccessLog
from pgsched.domain.errors import NotAuthenticated
from pgsched.entrypoints.http import problems
from pgsched.entrypoints.http.answering import Keeping
from pgsched.entrypoints.http.callers import CALLER, FOREIGN, REQUEST_ID, RememberedCallers
from pgsched.entrypoints.http.carried import POLICY, Carried, lines_of, new_request_id
from pgsched.entrypoints.http.deadline import Deadline
from pgsched.entrypoints.http.memory import Age, Memory
from pgsched.entrypoints.http.metrics import Meter
from pgsched.entrypoints.http.origins import OriginPolicy
from pgsched.entrypoints.http.outgoing import Outgoing
from pgsched.entrypoints.http.peers import FORWARDED, Peer, PeerPolicy
from pgsched.entrypoints.http.problems import BadHost, BadOrigin, problem
from pgsched.entrypoints.http.questions import Questions
from pgsched.entrypoints.http.representations import Encoded

if TYPE_CHECKING:
    from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send

    from pgsched.domain.callers import Caller

_log = logging.getLogger("pgsched.access")

#: what an incoming X-Request-Id must be to be kept; anything else is replaced
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")

#: paths that a proxy and the router would read differently: empty segments, slashes that are encoded
_CROOKED = re.compile(rb"//|%2f", re.IGNORECASE)
_READING = frozenset({"GET", "HEAD"})
#: methods that change nothing
_SAFE = _READING | {"OPTIONS"}
_METHODS = _SAFE | {"POST", "PUT", "PATCH", "DELETE"}
#: clients whose peers are remembered
_MOST_PEERS = 4096


class Instant(NamedTuple):
    """An answer that was in memory: all of it known before a task was made for the request."""

    status: int
    #: the body's encoding, with the header lines that go with it
    encoded: Encoded
    #: what tells how old it is
    age: Age
    #: of an X-Request-Id header
    request_id: bytes
    #: the rest of what every answer carries
    carried: Carried
    #: who asked, for the log
    client: str | None
    #: template of the path, for metrics
    route: str
    #: the account that asked, for the log; None for nobody known
    user_id: int | None


#: where a request's scope says that it is a HEAD: handlers are asked as for GET
IS_HEAD = "pgsched.is_head"


class Edge:
    """Wraps the framework's application."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        origins: OriginPolicy,
        peers: PeerPolicy,
        callers: RememberedCallers,
        memory: Memory | None,
        deadline: Deadline,
        meter: Meter,
        access_log: BatchedAccessLog | None = None,
    ) -> None:
        self._app = app
        self._meter = meter
        self._access_log = access_log
        self._callers = callers
        self._origins = origins
        self._peers = peers
        self._memory = memory
        self._deadline = deadline
        self._questions = Questions()
        self._carried = {origin: Carried.of(origins, origin) for origin in (None, *origins.named)}
        self._known_peers: dict[tuple[str | None, str, bytes | None], Peer | None] = {}

    def instant(
        self,
        path: bytes,
        query_string: bytes,
        headers: Mapping[bytes, bytes],
        address: str | None,
        scheme: str,
    ) -> Instant | None:
        """Return the answer to a GET or HEAD from memory, None when it is not there or not to be believed.

        Whoever asks, by whatever name, is looked at as on the long way; what is not plain goes that way.
        """
        memory = self._memory
        if memory is None or not memory.trusted:
            return None
        question = self._questions.of(path, query_string, headers.get(b"accept"))
        if question is None:
            return None
        peer = self._plain_peer(headers, address, scheme)
        if peer is None:
            return None
        caller = self._callers.known(headers)
        if caller is None:
            return None
        key = memory.key(question, caller.audience)
        found = memory.find(key) if key is not None else None
        if found is None:
            return None
        status, encoded = found.chosen(headers.get(b"accept-encoding"), headers.get(b"if-none-match"))
        if status == 200 and encoded.body is None:
            return None
        assert key is not None
        return Instant(
            status,
            encoded,
            memory.age(question, key),
            self._request_id(headers),
            self._carried_to(headers.get(b"origin")),
            peer.address,
            question.route,
            None if caller.account is None else caller.account.id,
        )

    def _plain_peer(self, headers: Mapping[bytes, bytes], address: str | None, scheme: str) -> Peer | None:
        """Return who asks without a proxy, if its Host name is answered."""
        asked = (address, scheme, headers.get(b"host"))
        try:
            known = self._known_peers[asked]
        except KeyError:
            if len(self._known_peers) >= _MOST_PEERS:
                self._known_peers.clear()
            peer = self._peers.peer(address, scheme, {b"host": asked[2] or b""})
            known = self._known_peers[asked] = peer if self._peers.answers(peer) else None
        if known is None or headers.keys().isdisjoint(FORWARDED):
            return known
        peer = self._peers.peer(address, scheme, headers)
        return peer if self._peers.answers(peer) else None

    def _request_id(self, headers: Mapping[bytes, bytes]) -> bytes:
        asked = headers.get(b"x-request-id")
        if asked is not None and _REQUEST_ID.fullmatch(asked):
            return asked
        return new_request_id()

    def _carried_to(self, origin: bytes | None) -> Carried:
        return self._carried.get(origin) or self._carried[None]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or hand on to the router."""
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        started = time.monotonic()
        # of repeated headers the last counts, and all of X-Forwarded-For
        headers = self.headers_of(list(scope["headers"]))
        method = scope["method"]
        client = scope["client"]
        address = client[0] if client else None
        if method in _READING:
            found = self.instant(
                scope.get("raw_path", b""), scope["query_string"], headers, address, scope["scheme"]
            )
            if found is not None:
                await _send_instant(send, found, method)
                self.answered(method, scope["raw_path"], found, time.monotonic() - started)
                return
        await self._long_way(scope, receive, send, headers, started)

    async def _long_way(
        self, scope: HTTPScope, receive: Receive, send: Send, headers: Mapping[bytes, bytes], started: float
    ) -> None:
        method, client = scope["method"], scope["client"]
        origin = headers.get(b"origin")
        outgoing = Outgoing(
            send,
            method=method,
            request_id=self._request_id(headers),
            carried=self._carried_to(origin),
            memory=self._memory,
        )
        peer = self._peers.peer(client[0] if client else None, scope["scheme"], headers)
        # a copy: the server looks at its own scope to know a HEAD from a GET
        inner: Any = {**scope, "method": "GET" if method == "HEAD" else method, "scheme": peer.scheme}
        inner[IS_HEAD] = method == "HEAD"
        if peer.address is not None:
            inner["client"] = (peer.address, client[1] if client and peer.address == client[0] else 0)
        try:
            if not self._peers.answers(peer):
                raise BadHost("this server does not answer to that Host")
            if _CROOKED.search(scope.get("raw_path", b"").partition(b"?")[0]):
                raise NotFoundException
            if method == "OPTIONS" and origin is not None and b"access-control-request-method" in headers:
                await outgoing.whole(204, self._origins.preflight(origin), b"")
            else:
                inner[REQUEST_ID] = outgoing.request_id.decode()
                await self._deadline.keep(self._routed(inner, receive, outgoing, headers, peer))
        except Exception as error:
            outgoing.give_up()
            if outgoing.status:
                # an answer that does not end is cut off by the server: all that the client can be told
                if outgoing.log_cut_off(error):
                    return
                raise
            told, more = problems.of(error)
            if isinstance(error, NotAuthenticated):
                more = {**more, "WWW-Authenticate": 'Bearer error="invalid_token"'}
            await outgoing.refuse(told, more)
        finally:
            # templates and known methods alone: what a client makes up must not become a series of its own
            verb = method if method in _METHODS else "other"
            seconds = time.monotonic() - started
            self._meter.answered(verb, inner.get("path_template") or "other", outgoing.status, seconds)
            self._log(
                method,
                scope.get("raw_path", b""),
                outgoing.status,
                seconds,
                peer.address,
                outgoing.request_id,
                _user_id(inner),
            )

    async def _routed(
        self, inner: Any, receive: Receive, outgoing: Outgoing, headers: Mapping[bytes, bytes], peer: Peer
    ) -> None:
        """Let the router answer; one that may be kept is kept."""
        if inner["method"] != "GET":
            # writes are never allowed by memory
            inner[CALLER] = caller = await self._callers.asked(headers, peer)
            inner[FOREIGN] = inner["method"] not in _SAFE and self._origins.is_foreign(headers, peer)
            _refuse_foreign(caller, foreign=inner[FOREIGN])
            await self._app(inner, receive, outgoing.send)
            return
        inner[CALLER] = await self._callers(headers, peer)
        inner[FOREIGN] = False
        question = None
        if self._memory is not None and not inner[IS_HEAD]:
            question = self._questions.of(
                inner.get("raw_path", b""), inner["query_string"], headers.get(b"accept")
            )
            if question is not None:
                self._meter.looked_up("answers", hit=False)
        keeping = Keeping(
            outgoing.send,
            accept_encoding=headers.get(b"accept-encoding"),
            if_none_match=headers.get(b"if-none-match"),
            memory=self._memory,
            question=question,
        )
        keeping.follow(inner)
        await self._app(inner, receive, keeping.send)

    def headers_of(self, pairs: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
        """Return headers by name: of repeated ones the last, and all of X-Forwarded-For and Host."""
        headers = dict(pairs)
        if len(headers) != len(pairs):
            # RFC 9112, section 3.2: two of them are answered by nobody
            headers[b"host"] = b",".join(value for name, value in pairs if name == b"host")
        if b"x-forwarded-for" in headers:
            lines = [value for name, value in pairs if name == b"x-forwarded-for"]
            headers[b"x-forwarded-for"] = b",".join(lines)
        return headers

    def refusal(self, status: int, code: str, detail: str, address: str | None) -> bytes:
        """Return an answer without its first line to what is no request, closing the connection; logs it."""
        body = problem(status, code, detail).encode()
        request_id = new_request_id()
        headers = [
            (b"content-type", problems.MEDIA_TYPE.encode()),
            (b"cache-control", b"no-store"),
            (b"connection", b"close"),
            (b"content-length", b"%d" % len(body)),
            (b"x-request-id", request_id),
        ]
        if status == 503:
            headers.append((b"retry-after", b"%d" % problems.RETRY_AFTER_S))
        self._meter.answered("other", "other", status, 0.0)
        self._log("-", b"", status, 0.0, address, request_id, None)
        return lines_of(headers) + self._carried[None].lines + body

    def answered(self, method: str, raw_path: bytes, found: Instant, seconds: float) -> None:
        """Count and log an answer from memory that took so long."""
        self._meter.answered(method, found.route, found.status, seconds)
        self._meter.looked_up("answers", hit=True)
        if self._access_log is None:
            self._log(method, raw_path, found.status, seconds, found.client, found.request_id, found.user_id)
            return
        self._access_log.note(
            Answered(
                method,
                raw_path.decode("latin-1"),
                found.status,
                round(seconds * 1000, 1),
                found.client,
                found.request_id.decode(),
                found.user_id,
            )
        )

    def _log(
        self,
        method: str,
        raw_path: bytes,
        status: int,
        seconds: float,
        client: str | None,
        request_id: bytes,
        user_id: int | None,
    ) -> None:
        if _log.isEnabledFor(logging.INFO):
            path = raw_path.partition(b"?")[0].decode("latin-1")
            _log.info(
                "%s %s %d",
                method,
                path,
                status,
                extra={
                    "action": "http.request",
                    "method": method,
                    "path": path,
                    "status": status,
                    "duration_ms": round(seconds * 1000, 1),
                    "client": client,
                    "request_id": request_id.decode(),
                    "user_id": user_id,
                },
            )


def _user_id(scope: Mapping[str, Any]) -> int | None:
    """Return the account that asked, None when it is not known, or was not asked for."""
    caller: Caller | None = scope.get(CALLER)
    return None if caller is None or caller.account is None else caller.account.id


def _refuse_foreign(caller: Caller, *, foreign: bool) -> None:
    """Refuse what another site's page does with the cookie of whoever looks at it."""
    if foreign and caller.session_id is not None:
        raise BadOrigin


async def _send_instant(send: Send, found: Instant, method: str) -> None:
    unchanged = found.status == 304
    headers = found.encoded.unchanged if unchanged else found.encoded.headers
    body = b"" if unchanged or method == "HEAD" else found.encoded.body or b""
    await send(
        {
            "type": "http.response.start",
            "status": found.status,
            "headers": [
                *headers,
                *found.age.headers,
                (b"x-request-id", found.request_id),
                POLICY,
                *found.carried.headers,
            ],
        }
    )
    await send({"type": "http.response.body", "body": body, "more_body": False})
