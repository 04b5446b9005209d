"""Queries over HTTP as editors write them: with SQL, source and policies."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from litestar import Request, Response, delete, get, patch, post
from litestar.response.base import ASGIResponse

from pgsched.domain.accounts import Right
from pgsched.domain.jobs import Job, JobSpec
from pgsched.entrypoints.http import bodies, wire
from pgsched.entrypoints.http.auth import NO_STORE
from pgsched.entrypoints.http.callers import actor_of, caller_of
from pgsched.entrypoints.http.conditional import is_current, unless_known, version_tag
from pgsched.entrypoints.http.described_parameters import Qid
from pgsched.entrypoints.http.description import answers, operation
from pgsched.entrypoints.http.parameters import Faults, query_key
from pgsched.entrypoints.http.written import NewQuery, QueryChange
from pgsched.entrypoints.shapes import job_shape

if TYPE_CHECKING:
    from litestar.handlers import HTTPRouteHandler

    from pgsched.entrypoints.http.administration import Administration

_Request = Request[Any, Any, Any]
_TAGS = ["Writing queries"]


@dataclass(frozen=True, kw_only=True, slots=True)
class QueryShown(JobSpec):
    """A query as editors see it."""

    id: int
    #: the source's name
    data_source: str | None
    #: the schedule's first instant; given back in a PATCH it changes nothing
    start_at: datetime
    #: the same by its name in the table
    anchor_at: datetime
    #: null when disabled, or when the schedule has ended
    next_run_at: datetime | None
    #: final errors since the last success
    consecutive_failures: int
    #: when it was paused after failures, null when it was not
    paused_at: datetime | None
    pause_reason: str | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class AdminQueryList:
    """Some of the queries, by name."""

    items: list[QueryShown]
    #: how many there are in all
    total: int
    #: most items in this answer
    limit: int
    #: items left out before the first
    offset: int


def routes(administration: Administration) -> list[HTTPRouteHandler]:
    """Return the handlers."""

    @get(
        "/api/admin/queries",
        operation_id="listAdminQueries",
        summary="List the queries with SQL, source and policies, by name",
        tags=_TAGS,
        operation_class=operation("q", "enabled", "limit", "offset"),
        responses=answers(AdminQueryList, "Some of the queries.", 403, 503),
    )
    async def list_queries(request: _Request) -> ASGIResponse:
        caller_of(request).require(Right.EDITOR)
        asked = request.query_params
        with Faults() as faults:
            enabled = faults.flag("enabled", asked.get("enabled"))
            limit, offset = faults.limit(asked.get("limit")), faults.offset(asked.get("offset"))
        found, total = await administration.jobs.page(
            text=asked.get("q", ""), enabled=enabled, limit=limit, offset=offset
        )
        names = {source.id: source.name for source in await administration.sources.all()}
        items = [job_shape(job, names.get(job.spec.data_source_id)) for job in found]
        page = wire.offset_list(items, total=total, limit=limit, offset=offset)
        return ASGIResponse(body=page, media_type=wire.JSON, headers=NO_STORE)

    @post(
        "/api/admin/queries",
        status_code=201,
        operation_id="addQuery",
        summary="Add a query; the guard and the schedule are asked, the source is not",
        tags=_TAGS,
        operation_class=operation(body=NewQuery),
        responses=answers(QueryShown, "The query.", 403, 409, 413, 415, 503, good=201),
    )
    async def add_query(request: _Request) -> ASGIResponse:
        caller_of(request).require(Right.EDITOR)
        job = await administration.add_job(await bodies.read_fields(request), actor_of(request))
        return await _answer(job, status=201, location=f"/api/admin/queries/{job.id}")

    @get(
        "/api/admin/queries/{qid:str}",
        operation_id="getAdminQuery",
        summary="Show a query with SQL, source and policies",
        tags=_TAGS,
        operation_class=operation(tagged=True),
        responses=answers(QueryShown, "The query.", 403, 404, 503, tagged=True),
    )
    async def get_query(request: _Request, qid: Qid) -> ASGIResponse:
        caller_of(request).require(Right.EDITOR)
        job = await administration.jobs.get(query_key(qid))
        tag = version_tag(job.id, job.updated_at)
        return unless_known(request, tag, await _answer(job), NO_STORE["Cache-Control"])

    @patch(
        "/api/admin/queries/{qid:str}",
        operation_id="changeQuery",
        summary="Change a query; another schedule begins anew",
        tags=_TAGS,
        operation_class=operation(matched=True, body=QueryChange),
        responses=answers(QueryShown, "The query.", 403, 404, 409, 412, 413, 415, 503),
    )
    async def change_query(request: _Request, qid: Qid) -> ASGIResponse:
        caller_of(request).require(Right.EDITOR)
        job = await administration.jobs.get(query_key(qid))
        changed = await administration.change_job(
            job.id,
            await bodies.read_fields(request),
            actor_of(request),
            only_if=is_current(request.headers.get("if-match"), job.id),
        )
        return await _answer(changed)

    @delete(
        "/api/admin/queries/{qid:str}",
        status_code=204,
        operation_id="deleteQuery",
        summary="Delete a query; one that has runs only with force",
        tags=_TAGS,
        operation_class=operation("force", matched=True),
        responses=answers(None, "Deleted.", 403, 404, 409, 412, 503, good=204),
    )
    async def delete_query(request: _Request, qid: Qid) -> Response[None]:
        caller_of(request).require(Right.EDITOR)
        with Faults() as faults:
            force = faults.flag("force", request.query_params.get("force"))
        job = await administration.jobs.get(query_key(qid))
        await administration.remove_job(
            job.id,
            actor_of(request),
            force=bool(force),
            only_if=is_current(request.headers.get("if-match"), job.id),
        )
        return Response(None, status_code=204, headers=NO_STORE)

    async def _answer(job: Job, *, status: int = 200, location: str | None = None) -> ASGIResponse:
        headers = {**NO_STORE, "ETag": version_tag(job.id, job.updated_at)}
        if location is not None:
            headers["Location"] = location
        source = await administration.sources.get(job.spec.data_source_id)
        body = wire.encode(job_shape(job, source.name))
        return ASGIResponse(body=body, status_code=status, media_type=wire.JSON, headers=headers)

    return [list_queries, add_query, get_query, change_query, delete_query]
