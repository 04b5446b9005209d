"""Grants over HTTP: who reads a restricted query, and which of its rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
from litestar import Request, get, put
from litestar.response.base import ASGIResponse

from pgsched.domain.accounts import Right
from pgsched.entrypoints.http import bodies, wire
from pgsched.entrypoints.http.auth import NO_STORE
from pgsched.entrypoints.http.callers import actor_of, caller_of
from pgsched.entrypoints.http.described_parameters import Qid
from pgsched.entrypoints.http.description import answers, operation
from pgsched.entrypoints.http.parameters import query_key
from pgsched.entrypoints.shapes import grants_shape

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from pgsched.entrypoints.http.administration import Administration

_Request = Request[Any, Any, Any]
_TAGS = ["Writing queries"]
#: ``{column: values}``: a row is shown when each column holds one of its values
_Rows = dict[str, list[str | float | bool | None]]


class GranteeWritten(msgspec.Struct, kw_only=True):
    """Whom a query is given to: by id or name, and which of its rows."""

    id: int | None = None
    #: a user's address or name, a role's or token's name
    name: str | None = None
    #: a user's address
    email: str | None = None
    #: null for every row
    row_filter: _Rows | None = None


class RoleWritten(msgspec.Struct, kw_only=True):
    """A role that a query is given to."""

    name: str
    #: null for every row
    row_filter: _Rows | None = None


class TokenWritten(msgspec.Struct, kw_only=True):
    """A token that a query is given to: by id or name."""

    id: int | None = None
    name: str | None = None
    #: null for every row
    row_filter: _Rows | None = None


class GrantsWritten(msgspec.Struct, kw_only=True):
    """All grants on a query; what is absent is empty."""

    users: list[GranteeWritten] | None = None
    roles: list[RoleWritten] | None = None
    tokens: list[TokenWritten] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class UserGrant:
    """A user that a query is given to."""

    id: int
    name: str
    email: str
    #: null for every row
    row_filter: _Rows | None


@dataclass(frozen=True, kw_only=True, slots=True)
class RoleGrant:
    """A role that a query is given to."""

    name: str
    #: null for every row
    row_filter: _Rows | None


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenGrant:
    """A token that a query is given to."""

    id: int
    name: str
    #: null for every row
    row_filter: _Rows | None


@dataclass(frozen=True, kw_only=True, slots=True)
class GrantsShown:
    """All grants on a query."""

    #: by address
    users: list[UserGrant]
    #: by name
    roles: list[RoleGrant]
    #: by id
    tokens: list[TokenGrant]


def routes(administration: Administration) -> list[HTTPRouteHandler]:
    """Return the handlers."""

    @get(
        "/api/admin/queries/{qid:str}/grants",
        operation_id="getGrants",
        summary="Show who was given a query, and which of its rows",
        tags=_TAGS,
        responses=answers(GrantsShown, "The grants.", 403, 404, 503),
    )
    async def get_grants(request: _Request, qid: Qid) -> ASGIResponse:
        caller_of(request).require(Right.EDITOR)
        job = await administration.jobs.get(query_key(qid))
        body = wire.encode(grants_shape(await administration.grants.of(job.id)))
        return ASGIResponse(body=body, media_type=wire.JSON, headers=NO_STORE)

    @put(
        "/api/admin/queries/{qid:str}/grants",
        operation_id="setGrants",
        summary="Put other grants in the place of all there are; they hold at once",
        tags=_TAGS,
        operation_class=operation(body=GrantsWritten),
        responses=answers(GrantsShown, "The grants.", 403, 404, 413, 415, 503),
    )
    async def set_grants(request: _Request, qid: Qid) -> ASGIResponse:
        caller_of(request).require(Right.EDITOR)
        key = query_key(qid)
        given = await bodies.read_fields(request)
        held = await administration.change_grants.replace(key, given, actor_of(request))
        return ASGIResponse(body=wire.encode(grants_shape(held)), media_type=wire.JSON, headers=NO_STORE)

    return [get_grants, set_grants]
