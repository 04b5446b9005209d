"""One thin layer ahead of the router: what every answer carries, and what is refused before it is routed.

Request id, CORS, security headers, Host names, forwarded headers, HEAD, tokens and the access log live here
and not in middleware of the framework: they must hold for unknown paths and unforeseen errors too, and cost
microseconds.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from litestar.enums import ScopeType

from pgsched.domain.errors import NotAuthenticated
from pgsched.entrypoints.http import problems
from pgsched.entrypoints.http.callers import CALLER, FOREIGN, REQUEST_ID, Authenticator
from pgsched.entrypoints.http.metrics import Meter
from pgsched.entrypoints.http.origins import Headers, OriginPolicy
from pgsched.entrypoints.http.peers import PeerPolicy
from pgsched.entrypoints.http.problems import BadOrigin, Problem, problem

if TYPE_CHECKING:
    from litestar.types import ASGIApp, Message, Receive, Scope, Send

    from pgsched.domain.callers import Caller

_log = logging.getLogger("pgsched.access")

#: what an incoming X-Request-Id must be to be kept; anything else is replaced
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")

#: methods that change nothing
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})

#: on every answer
_SECURITY: Headers = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
]
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_POLICY = (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'")
#: a page may use its style sheet and the icon inside it; no script at all
_PAGE_POLICY = (
    b"content-security-policy",
    b"default-src 'none'; style-src 'self'; img-src data:; "
    b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
)


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
        authenticate: Authenticator,
        meter: Meter,
    ) -> None:
        self._app = app
        self._meter = meter
        self._authenticate = authenticate
        self._origins = origins
        self._peers = peers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or hand on to the router."""
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        started = time.monotonic()
        # of repeated headers the last counts, and all of X-Forwarded-For
        headers = dict(scope["headers"])
        origin = headers.get(b"origin")
        asked_id = headers.get(b"x-request-id", b"")
        request_id = asked_id if _REQUEST_ID.fullmatch(asked_id) else os.urandom(12).hex().encode()
        extra = [(b"x-request-id", request_id), *_SECURITY, *self._origins.headers(origin)]
        method = scope["method"]
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = _completed(status, list(message["headers"]), extra)
            elif method == "HEAD" and message["type"] == "http.response.body":
                message["body"] = b""
            await send(message)

        client = scope["client"]
        peer = self._peers.peer(client[0] if client else None, scope["scheme"], _joined(headers, scope))
        # a copy: the server looks at its own scope to know a HEAD from a GET
        inner: Any = {**scope, "method": "GET" if method == "HEAD" else method, "scheme": peer.scheme}
        inner[IS_HEAD] = method == "HEAD"
        if peer.address is not None:
            inner["client"] = (peer.address, client[1] if client and peer.address == client[0] else 0)
        try:
            if not self._peers.answers(peer):
                await _refuse(answer, problem(400, "bad_host", "this server does not answer to that Host"))
            elif method == "OPTIONS" and origin is not None and b"access-control-request-method" in headers:
                await _send(answer, 204, self._origins.preflight(origin), b"")
            else:
                inner[REQUEST_ID] = request_id.decode()
                inner[CALLER] = caller = await self._authenticate(headers, peer)
                inner[FOREIGN] = method not in _SAFE and self._origins.is_foreign(headers, peer)
                _refuse_foreign(caller, foreign=inner[FOREIGN])
                await self._app(inner, receive, answer)
        except NotAuthenticated as error:
            if status:
                raise
            challenge = [(b"www-authenticate", b'Bearer error="invalid_token"')]
            await _refuse(answer, problems.of(error)[0], challenge)
        except Exception as error:
            if status:
                raise
            told, wanted = problems.of(error)
            kept = [(name.lower().encode(), value.encode()) for name, value in wanted.items()]
            await _refuse(answer, told, kept)
        finally:
            seconds = time.monotonic() - started
            # templates and known methods alone: what a client makes up must not become a series of its own
            verb = method if method in _METHODS else "other"
            self._meter.answered(verb, inner.get("path_template") or "other", status, seconds)
            if _log.isEnabledFor(logging.INFO):
                path = scope.get("raw_path", b"").partition(b"?")[0].decode("latin-1")
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
                        "client": peer.address,
                        "request_id": request_id.decode(),
                    },
                )


def _refuse_foreign(caller: Caller, *, foreign: bool) -> None:
    """Refuse what another site's page does with the cookie of whoever looks at it."""
    if foreign and caller.session_id is not None:
        raise BadOrigin


def _joined(headers: dict[bytes, bytes], scope: Scope) -> Mapping[bytes, bytes]:
    """Return the headers with every X-Forwarded-For line, in order, as one."""
    if b"x-forwarded-for" in headers:
        lines = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
        headers[b"x-forwarded-for"] = b",".join(lines)
    return headers


def _completed(status: int, headers: Headers, extra: Headers) -> Headers:
    """Add what every answer carries; a path that takes GET takes HEAD as well."""
    if status in (204, 405):
        headers = [
            (name, value + b", HEAD" if _lacks_head(name, value) else value) for name, value in headers
        ]
    page = any(name == b"content-type" and value.startswith(b"text/html") for name, value in headers)
    return [*headers, _PAGE_POLICY if page else _POLICY, *extra]


def _lacks_head(name: bytes, value: bytes) -> bool:
    return name == b"allow" and b"GET" in value and b"HEAD" not in value


async def _refuse(send: Send, told: Problem, headers: Headers | None = None) -> None:
    kept = [
        (b"content-type", problems.MEDIA_TYPE.encode()),
        (b"cache-control", b"no-store"),
        *(headers or []),
    ]
    await _send(send, told.status, kept, told.encode())


async def _send(send: Send, status: int, headers: Headers, body: bytes) -> None:
    length = [] if status == 204 else [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *length]})
    await send({"type": "http.response.body", "body": body, "more_body": False})
