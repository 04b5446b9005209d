"""Data sources over HTTP: admins alone, except for their names, which an editor needs to write a query."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from litestar import Request, Response, delete, get, patch, post
from litestar.response.base import ASGIResponse

from pgsched.domain.accounts import Right
from pgsched.domain.sources import DataSource, SslMode
from pgsched.entrypoints.http import bodies, wire
from pgsched.entrypoints.http.auth import NO_STORE
from pgsched.entrypoints.http.callers import actor_of, caller_of
from pgsched.entrypoints.http.conditional import is_current, unless_known, version_tag
from pgsched.entrypoints.http.described_parameters import SourceKey
from pgsched.entrypoints.http.description import answers, operation
from pgsched.entrypoints.http.parameters import Faults, named_key
from pgsched.entrypoints.http.written import DataSourceChange, NewDataSource
from pgsched.entrypoints.shapes import report_shape, source_shape

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from pgsched.entrypoints.http.administration import Administration

_Request = Request[Any, Any, Any]
_NOUN = "data source"


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSourceShown:
    """A source as admins see it: never its password, nor the ciphertext."""

    id: int
    name: str
    host: str
    port: int
    dbname: str
    username: str
    #: whether it has a password
    has_password: bool
    #: the envelope's format, null without a password
    enc_algo: str | None
    #: the version of the key that sealed it, null without a password
    key_version: int | None
    sslmode: SslMode
    #: PEM of the authority that signs the server's certificate, null for the system's
    sslrootcert: str | None
    #: runs at once over all workers
    max_concurrency: int
    #: what a statement may cost in units of its planner, null for any
    max_cost: int | None
    allow_user_functions: bool
    allow_metadata: bool
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSourceList:
    """Some of the sources, by name."""

    items: list[DataSourceShown]
    #: how many there are in all
    total: int
    #: most items in this answer
    limit: int
    #: items left out before the first
    offset: int


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceName:
    """What an editor needs of a source."""

    id: int
    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceError:
    """What failed in a look at a source."""

    code: str
    detail: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceFound:
    """What a look at a source found."""

    #: whether a query could run there now
    ok: bool
    #: milliseconds for a round trip, null when not connected
    latency_ms: float | None
    #: null when not connected
    server_version: str | None
    #: what an admin should change
    warnings: list[str]
    #: there when something failed
    error: SourceError | None = None


def routes(administration: Administration) -> list[HTTPRouteHandler]:
    """Return the handlers."""

    @get(
        "/api/datasources",
        operation_id="listDataSources",
        summary="List the sources, by name",
        tags=["Data sources"],
        operation_class=operation("limit", "offset"),
        responses=answers(DataSourceList, "Some of the sources.", 403, 503),
    )
    async def list_sources(request: _Request) -> ASGIResponse:
        caller_of(request).require(Right.ADMIN)
        with Faults() as faults:
            limit = faults.limit(request.query_params.get("limit"))
            offset = faults.offset(request.query_params.get("offset"))
        found = await administration.sources.all()
        items = [source_shape(source) for source in found[offset : offset + limit]]
        page = wire.offset_list(items, total=len(found), limit=limit, offset=offset)
        return ASGIResponse(body=page, media_type=wire.JSON, headers=NO_STORE)

    @post(
        "/api/datasources",
        status_code=201,
        operation_id="addDataSource",
        summary="Add a source; it is not asked, POST …/test does that",
        tags=["Data sources"],
        operation_class=operation(body=NewDataSource),
        responses=answers(DataSourceShown, "The source.", 403, 409, 413, 415, 503, good=201),
    )
    async def add_source(request: _Request) -> ASGIResponse:
        caller_of(request).require(Right.ADMIN)
        added = await administration.add_source(await bodies.read_fields(request), actor_of(request))
        return _answer(added.source, status=201, location=f"/api/datasources/{added.source.id}")

    @get(
        "/api/datasources/{source_id:str}",
        operation_id="getDataSource",
        summary="Show a source",
        tags=["Data sources"],
        operation_class=operation(tagged=True),
        responses=answers(DataSourceShown, "The source.", 403, 404, 503, tagged=True),
    )
    async def get_source(request: _Request, source_id: SourceKey) -> ASGIResponse:
        caller_of(request).require(Right.ADMIN)
        source = await administration.sources.get(named_key(_NOUN, source_id))
        tag = version_tag(source.id, source.updated_at)
        return unless_known(request, tag, _answer(source), NO_STORE["Cache-Control"])

    @patch(
        "/api/datasources/{source_id:str}",
        operation_id="changeDataSource",
        summary="Change a source; where it points, and how its server is verified, only with its password",
        tags=["Data sources"],
        operation_class=operation(matched=True, body=DataSourceChange),
        responses=answers(DataSourceShown, "The source.", 403, 404, 409, 412, 413, 415, 503),
    )
    async def change_source(request: _Request, source_id: SourceKey) -> ASGIResponse:
        caller_of(request).require(Right.ADMIN)
        source = await administration.sources.get(named_key(_NOUN, source_id))
        changed = await administration.change_source(
            source.id,
            await bodies.read_fields(request),
            actor_of(request),
            only_if=is_current(request.headers.get("if-match"), source.id),
        )
        return _answer(changed)

    @delete(
        "/api/datasources/{source_id:str}",
        status_code=204,
        operation_id="deleteDataSource",
        summary="Delete a source; one that queries run at only with force",
        tags=["Data sources"],
        operation_class=operation("force", matched=True),
        responses=answers(None, "Deleted.", 403, 404, 409, 412, 503, good=204),
    )
    async def delete_source(request: _Request, source_id: SourceKey) -> Response[None]:
        caller_of(request).require(Right.ADMIN)
        with Faults() as faults:
            force = faults.flag("force", request.query_params.get("force"))
        source = await administration.sources.get(named_key(_NOUN, source_id))
        await administration.remove_source(
            source.id,
            actor_of(request),
            force=bool(force),
            only_if=is_current(request.headers.get("if-match"), source.id),
        )
        return Response(None, status_code=204, headers=NO_STORE)

    @post(
        "/api/datasources/{source_id:str}/test",
        status_code=200,
        operation_id="testDataSource",
        summary="Connect to a source and look it over",
        tags=["Data sources"],
        responses=answers(SourceFound, "What was found.", 403, 404, 413, 415, 503),
    )
    async def test_source(request: _Request, source_id: SourceKey) -> ASGIResponse:
        caller_of(request).require(Right.ADMIN)
        await bodies.read_nothing(request)
        report = await administration.inspect_source(named_key(_NOUN, source_id))
        body = wire.encode(report_shape(report))
        return ASGIResponse(body=body, media_type=wire.JSON, headers=NO_STORE)

    @get(
        "/api/admin/sources",
        operation_id="listSourceNames",
        summary="List the sources that a query can run at: id and name",
        tags=["Data sources"],
        responses=answers(list[SourceName], "All sources, by name.", 403, 503),
    )
    async def list_names(request: _Request) -> ASGIResponse:
        caller_of(request).require(Right.EDITOR)
        found = [{"id": each.id, "name": each.name} for each in await administration.sources.all()]
        return ASGIResponse(body=wire.encode(found), media_type=wire.JSON, headers=NO_STORE)

    return [
        list_sources,
        add_source,
        get_source,
        change_source,
        delete_source,
        test_source,
        list_names,
    ]


def _answer(source: DataSource, *, status: int = 200, location: str | None = None) -> ASGIResponse:
    headers = {**NO_STORE, "ETag": version_tag(source.id, source.updated_at)}
    if location is not None:
        headers["Location"] = location
    return ASGIResponse(
        body=wire.encode(source_shape(source)), status_code=status, media_type=wire.JSON, headers=headers
    )
