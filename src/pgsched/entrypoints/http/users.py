"""Accounts over HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from litestar import Request, Response, delete, get, patch, post
from litestar.response.base import ASGIResponse
from msgspec import UNSET, Meta, UnsetType

from pgsched.domain.accounts import (
    EMAIL_LONGEST,
    NAME_LONGEST,
    PASSWORD_LONGEST,
    PASSWORD_SHORTEST,
    Account,
    AccountChange,
    NewAccount,
    Right,
    checked_roles,
)
from pgsched.domain.errors import Forbidden
from pgsched.entrypoints.http import bodies, wire
from pgsched.entrypoints.http.auth import NO_STORE
from pgsched.entrypoints.http.callers import actor_of, caller_of
from pgsched.entrypoints.http.conditional import is_current, unless_known, version_tag
from pgsched.entrypoints.http.described_parameters import Uid
from pgsched.entrypoints.http.description import answers, operation
from pgsched.entrypoints.http.parameters import Faults, id_key

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from pgsched.entrypoints.http.identity import Identity


# for the document alone: what is measured is bytes, which a schema cannot say
_Email = Annotated[str, Meta(extra_json_schema={"format": "email", "maxLength": EMAIL_LONGEST})]
_Name = Annotated[str, Meta(extra_json_schema={"minLength": 1, "maxLength": NAME_LONGEST})]
_Password = Annotated[
    str,
    Meta(
        description="8 to 1024 bytes of UTF-8.",
        extra_json_schema={
            "format": "password",
            "minLength": PASSWORD_SHORTEST,
            "maxLength": PASSWORD_LONGEST,
        },
    ),
]
_Roles = Annotated[list[str], Meta(extra_json_schema={"minItems": 1})]

_CACHE = "private, no-cache"


class AddUser(bodies.Secretive, kw_only=True):
    """An account to be made."""

    email: _Email
    name: _Name
    password: _Password
    roles: _Roles


class ChangeUser(msgspec.Struct, kw_only=True):
    """What is to become of an account; roles and is_active are for admins to change."""

    email: _Email | UnsetType = UNSET
    name: _Name | UnsetType = UNSET
    roles: _Roles | UnsetType = UNSET
    is_active: bool | UnsetType | None = UNSET


class NewPassword(bodies.Secretive, kw_only=True):
    """A password to be set; the current one is asked of whoever sets their own."""

    new_password: _Password
    current_password: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class UserList:
    """Some of the accounts, by id."""

    items: list[Account]
    #: how many there are in all
    total: int
    #: most items in this answer
    limit: int
    #: items left out before the first
    offset: int


def routes(identity: Identity) -> list[HTTPRouteHandler]:
    """Return the handlers."""

    @get(
        "/api/users",
        operation_id="listUsers",
        summary="List the accounts, by id",
        tags=["Users"],
        operation_class=operation("limit", "offset"),
        responses=answers(UserList, "Some of the accounts.", 403, 503),
    )
    async def list_users(request: Request[Any, Any, Any]) -> ASGIResponse:
        caller_of(request).require(Right.ADMIN)
        with Faults() as faults:
            limit = faults.limit(request.query_params.get("limit"))
            offset = faults.offset(request.query_params.get("offset"))
        found, total = await identity.accounts.page(limit=limit, offset=offset)
        page = UserList(items=list(found), total=total, limit=limit, offset=offset)
        return ASGIResponse(body=wire.encode(page), media_type=wire.JSON, headers=NO_STORE)

    @post(
        "/api/users",
        status_code=201,
        operation_id="addUser",
        summary="Make an account",
        tags=["Users"],
        operation_class=operation(body=AddUser),
        responses=answers(Account, "The account.", 403, 409, 413, 415, 429, 503, good=201),
    )
    async def add_user(request: Request[Any, Any, Any]) -> ASGIResponse:
        caller_of(request).require(Right.ADMIN)
        wanted = await bodies.read(request, AddUser)
        roles = checked_roles(wanted.roles, identity.allowed_roles)
        new = NewAccount(email=wanted.email, name=wanted.name, roles=roles)
        account = await identity.add_account(new, wanted.password, actor_of(request))
        return _answer(account, status=201, headers={"Location": f"/api/users/{account.id}"})

    @get(
        "/api/users/{uid:str}",
        operation_id="getUser",
        summary="Show an account",
        tags=["Users"],
        operation_class=operation(tagged=True),
        responses=answers(Account, "The account.", 403, 404, 503, tagged=True),
    )
    async def get_user(request: Request[Any, Any, Any], uid: Uid) -> ASGIResponse:
        account = await identity.accounts.get(_self_or_admin(request, uid))
        tag = version_tag(account.id, account.updated_at)
        return unless_known(request, tag, _answer(account), _CACHE)

    @patch(
        "/api/users/{uid:str}",
        operation_id="changeUser",
        summary="Change an account; what is absent stays as it is",
        tags=["Users"],
        operation_class=operation(matched=True, body=ChangeUser),
        responses=answers(Account, "The account.", 403, 404, 409, 412, 413, 415, 503),
    )
    async def change_user(request: Request[Any, Any, Any], uid: Uid) -> ASGIResponse:
        user_id = _self_or_admin(request, uid)
        wanted = await bodies.read(request, ChangeUser)
        reserved = wanted.roles is not UNSET or wanted.is_active is not UNSET
        if reserved and caller_of(request).require(Right.VIEWER).right is not Right.ADMIN:
            raise Forbidden("roles and is_active are for admins to change")
        roles = None if wanted.roles is UNSET else checked_roles(wanted.roles, identity.allowed_roles)
        change = AccountChange(
            email=None if wanted.email is UNSET else wanted.email,
            name=None if wanted.name is UNSET else wanted.name,
            roles=roles,
            # null is the default: active
            is_active=None if wanted.is_active is UNSET else wanted.is_active is not False,
        )
        account = await identity.change_account(
            user_id,
            change,
            actor_of(request),
            is_current=is_current(request.headers.get("if-match"), user_id),
        )
        return _answer(account)

    @delete(
        "/api/users/{uid:str}",
        status_code=204,
        operation_id="deleteUser",
        summary="Delete an account with its sessions, tokens and grants",
        tags=["Users"],
        responses=answers(None, "Deleted.", 403, 404, 409, 503, good=204),
    )
    async def delete_user(request: Request[Any, Any, Any], uid: Uid) -> Response[None]:
        caller_of(request).require(Right.ADMIN)
        await identity.delete_account(id_key("user", uid), actor_of(request))
        return Response(None, status_code=204, headers=NO_STORE)

    @post(
        "/api/users/{uid:str}/password",
        status_code=204,
        operation_id="setPassword",
        summary="Set a password; every other session of that account ends",
        tags=["Users"],
        operation_class=operation(body=NewPassword),
        responses=answers(None, "Set.", 403, 404, 413, 415, 429, 503, good=204),
    )
    async def set_password(request: Request[Any, Any, Any], uid: Uid) -> Response[None]:
        user_id = _self_or_admin(request, uid)
        wanted = await bodies.read(request, NewPassword)
        caller = caller_of(request)
        if caller.account is not None and caller.account.id == user_id:
            await identity.set_password.own(
                caller.account,
                wanted.current_password,
                wanted.new_password,
                actor_of(request),
                session_id=caller.session_id,
            )
        else:
            await identity.set_password(user_id, wanted.new_password, actor_of(request))
        return Response(None, status_code=204, headers=NO_STORE)

    return [list_users, add_user, get_user, change_user, delete_user, set_password]


def _self_or_admin(request: Request[Any, Any, Any], uid: str) -> int:
    caller = caller_of(request)
    caller.require(Right.VIEWER)
    user_id = id_key("user", uid)
    caller.require_self_or_admin(user_id)
    return user_id


def _answer(account: Account, *, status: int = 200, headers: dict[str, str] | None = None) -> ASGIResponse:
    tag = version_tag(account.id, account.updated_at)
    return ASGIResponse(
        body=wire.encode(account),
        status_code=status,
        media_type=wire.JSON,
        headers={"Cache-Control": _CACHE, "ETag": tag, **(headers or {})},
    )
