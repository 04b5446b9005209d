"""API tokens over HTTP: each account's own."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from litestar import Request, Response, delete, get, post
from litestar.response.base import ASGIResponse
from msgspec import Meta

from pgsched.domain.accounts import Right
from pgsched.domain.tokens import MOST_QUERIES, NAME_LONGEST, ApiToken
from pgsched.entrypoints.http import bodies, wire
from pgsched.entrypoints.http.auth import NO_STORE
from pgsched.entrypoints.http.callers import actor_of, caller_of
from pgsched.entrypoints.http.described_parameters import TokenId
from pgsched.entrypoints.http.description import answers, operation
from pgsched.entrypoints.http.parameters import Faults, id_key

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from pgsched.entrypoints.http.identity import Identity


class MakeToken(msgspec.Struct, kw_only=True):
    """A token to be made."""

    name: Annotated[str, Meta(extra_json_schema={"minLength": 1, "maxLength": NAME_LONGEST})]
    #: RFC 3339, null or absent for never
    expires_at: Annotated[str, Meta(extra_json_schema={"format": "date-time"})] | None = None
    #: ids or names; null or absent for all that its owner may read
    queries: Annotated[list[int | str], Meta(extra_json_schema={"maxItems": MOST_QUERIES})] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenMade(ApiToken):
    """A token and its text, which is shown this once."""

    #: what goes behind ``Authorization: Bearer``
    token: str = field(repr=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenList:
    """Some of one's tokens, by id."""

    items: list[ApiToken]
    #: how many there are in all
    total: int
    #: most items in this answer
    limit: int
    #: items left out before the first
    offset: int


def routes(identity: Identity) -> list[HTTPRouteHandler]:
    """Return the handlers."""

    @get(
        "/api/tokens",
        operation_id="listTokens",
        summary="List one's own tokens, by id",
        tags=["Tokens"],
        operation_class=operation("limit", "offset"),
        responses=answers(TokenList, "Some of the tokens; never their texts.", 403, 503),
    )
    async def list_tokens(request: Request[Any, Any, Any]) -> ASGIResponse:
        account = caller_of(request).require(Right.VIEWER)
        with Faults() as faults:
            limit = faults.limit(request.query_params.get("limit"))
            offset = faults.offset(request.query_params.get("offset"))
        found, total = await identity.tokens.page(account.id, limit=limit, offset=offset)
        page = TokenList(items=list(found), total=total, limit=limit, offset=offset)
        return ASGIResponse(body=wire.encode(page), media_type=wire.JSON, headers=NO_STORE)

    @post(
        "/api/tokens",
        status_code=201,
        operation_id="addToken",
        summary="Make a token that reads what one may read, or less; its text is shown once",
        tags=["Tokens"],
        operation_class=operation(body=MakeToken),
        responses=answers(TokenMade, "The token and its text.", 403, 413, 415, 503, good=201),
    )
    async def add_token(request: Request[Any, Any, Any]) -> ASGIResponse:
        account = caller_of(request).require(Right.VIEWER)
        wanted = await bodies.read(request, MakeToken)
        with Faults() as faults:
            expires_at = faults.instant("expires_at", wanted.expires_at)
        made = await identity.add_token(
            account, wanted.name, actor_of(request), expires_at=expires_at, queries=wanted.queries
        )
        body = wire.encode(TokenMade(**asdict(made.token), token=made.text))
        return ASGIResponse(body=body, status_code=201, media_type=wire.JSON, headers=NO_STORE)

    @delete(
        "/api/tokens/{token_id:str}",
        status_code=204,
        operation_id="deleteToken",
        summary="Delete one of one's own tokens, an admin any: it opens nothing any more",
        tags=["Tokens"],
        responses=answers(None, "Deleted.", 403, 404, 503, good=204),
    )
    async def delete_token(request: Request[Any, Any, Any], token_id: TokenId) -> Response[None]:
        account = caller_of(request).require(Right.VIEWER)
        owner_id = None if account.right is Right.ADMIN else account.id
        await identity.delete_token(id_key("token", token_id), actor_of(request), owner_id=owner_id)
        return Response(None, status_code=204, headers=NO_STORE)

    return [list_tokens, add_token, delete_token]
