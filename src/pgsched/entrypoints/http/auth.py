"""Logging in and out, and the sessions of whoever is logged in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from litestar import Request, Response, delete, get, post
from litestar.response.base import ASGIResponse

from pgsched.domain.accounts import Account, Right
from pgsched.domain.errors import NotFound
from pgsched.domain.sessions import Session
from pgsched.entrypoints.http import bodies, wire
from pgsched.entrypoints.http.callers import COOKIE, actor_of, caller_of, is_foreign
from pgsched.entrypoints.http.described_parameters import SessionId
from pgsched.entrypoints.http.description import answers, operation
from pgsched.entrypoints.http.parameters import Faults, shown
from pgsched.entrypoints.http.problems import BadOrigin

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from pgsched.entrypoints.http.identity import Identity

#: for answers that hold what concerns one person
NO_STORE = {"Cache-Control": "no-store"}


class Login(bodies.Secretive, kw_only=True):
    """What one logs in with."""

    email: str
    password: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionShown:
    """A session as its owner sees it."""

    #: a hash of what the cookie holds: it names the session and opens nothing
    id: str
    #: when the login was, UTC
    created_at: datetime
    #: when it was last used, UTC, to the minute
    last_seen_at: datetime
    #: when it ends unless it is used, UTC
    expires_at: datetime
    #: address it was opened from
    ip: str | None
    #: what the browser called itself
    user_agent: str | None
    #: whether it is the one that asks
    is_current: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionList:
    """Some of one's sessions, the newest first."""

    items: list[SessionShown]
    #: how many there are in all
    total: int
    #: most items in this answer
    limit: int
    #: items left out before the first
    offset: int


def routes(identity: Identity) -> list[HTTPRouteHandler]:
    """Return the handlers."""

    @post(
        "/api/auth/login",
        status_code=200,
        operation_id="logIn",
        summary="Log in: opens a session and sets its cookie",
        tags=["Login"],
        operation_class=operation(body=Login),
        responses=answers(Account, "The user.", 403, 413, 415, 429, 503),
    )
    async def log_in(request: Request[Any, Any, Any]) -> ASGIResponse:
        if is_foreign(request):
            raise BadOrigin
        wanted = await bodies.read(request, Login)
        done = await identity.log_in(
            wanted.email,
            wanted.password,
            actor_of(request),
            user_agent=request.headers.get("user-agent"),
            instead_of=caller_of(request),
        )
        cookie = _cookie(request, done.sid, identity.session_max_s)
        body = wire.encode(done.account)
        return ASGIResponse(body=body, media_type=wire.JSON, headers={**NO_STORE, "Set-Cookie": cookie})

    @post(
        "/api/auth/logout",
        status_code=204,
        operation_id="logOut",
        summary="Log out: the session opens nothing any more",
        tags=["Login"],
        responses=answers(None, "Logged out.", 403, 413, 415, 503, good=204),
    )
    async def log_out(request: Request[Any, Any, Any]) -> Response[None]:
        caller = caller_of(request)
        account = caller.require(Right.VIEWER)
        await bodies.read_nothing(request)
        if caller.session_id is not None:
            await identity.end_session(account, caller.session_id, actor_of(request))
        cookie = _cookie(request, "", 0)
        return Response(None, status_code=204, headers={**NO_STORE, "Set-Cookie": cookie})

    @get(
        "/api/users/me",
        operation_id="getMe",
        summary="Show who is logged in",
        tags=["Login"],
        responses=answers(Account, "The user.", 403, 503),
    )
    async def get_me(request: Request[Any, Any, Any]) -> ASGIResponse:
        account = caller_of(request).require(Right.VIEWER)
        return ASGIResponse(body=wire.encode(account), media_type=wire.JSON, headers=NO_STORE)

    @get(
        "/api/users/me/sessions",
        operation_id="listMySessions",
        summary="List one's own sessions, the newest first",
        tags=["Login"],
        operation_class=operation("limit", "offset"),
        responses=answers(SessionList, "The sessions that may be used.", 403, 503),
    )
    async def list_sessions(request: Request[Any, Any, Any]) -> ASGIResponse:
        caller = caller_of(request)
        account = caller.require(Right.VIEWER)
        with Faults() as faults:
            limit = faults.limit(request.query_params.get("limit"))
            offset = faults.offset(request.query_params.get("offset"))
        live = await identity.sessions.live(account.id, await identity.clock.now())
        page = SessionList(
            items=[_shown(session, caller.session_id) for session in live[offset : offset + limit]],
            total=len(live),
            limit=limit,
            offset=offset,
        )
        return ASGIResponse(body=wire.encode(page), media_type=wire.JSON, headers=NO_STORE)

    @delete(
        "/api/users/me/sessions/{session_id:str}",
        status_code=204,
        operation_id="endMySession",
        summary="End one of one's own sessions",
        tags=["Login"],
        responses=answers(None, "Ended.", 403, 404, 503, good=204),
    )
    async def end_session(request: Request[Any, Any, Any], session_id: SessionId) -> Response[None]:
        account = caller_of(request).require(Right.VIEWER)
        if not session_id.isalnum() or not session_id.isascii():
            raise NotFound("session", shown(session_id))
        await identity.end_session(account, session_id, actor_of(request))
        return Response(None, status_code=204, headers=NO_STORE)

    return [log_in, log_out, get_me, list_sessions, end_session]


def _shown(session: Session, current: str | None) -> SessionShown:
    return SessionShown(
        id=session.id,
        created_at=session.created_at,
        last_seen_at=session.last_seen_at,
        expires_at=session.expires_at,
        ip=session.ip,
        user_agent=session.user_agent,
        is_current=session.id == current,
    )


def _cookie(request: Request[Any, Any, Any], sid: str, max_age_s: int) -> str:
    """Return the session's cookie; the browser keeps it as long as it could live, the server decides."""
    secure = "; Secure" if request.scope["scheme"] == "https" else ""
    return f"{COOKIE}={sid}; Max-Age={max_age_s}; Path=/; HttpOnly; SameSite=Lax{secure}"
