"""A run told in the shape asked for: in one piece when small, else streamed as it is read."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

from litestar.response.base import ASGIResponse
from litestar.response.streaming import ASGIStreamingResponse

from pgsched.adapters.formats.shape import EXTENSIONS, MEDIA_TYPES, Shape
from pgsched.adapters.formats.writing import refuse_unwritable, written
from pgsched.entrypoints.http import conditional
from pgsched.entrypoints.http.answering import mark
from pgsched.entrypoints.http.callers import caller_of
from pgsched.entrypoints.http.edge import IS_HEAD

if TYPE_CHECKING:
    from litestar import Request

    from pgsched.application.ports.views import RunView, StoredRun

#: what is read may be kept by the reader alone, and asked about before each use: restrictions act at once
NO_CACHE = {"Cache-Control": "private, no-cache"}
#: answers up to this, in bytes, have their length told; larger ones are streamed
_WHOLE = 1024 * 1024


def wants_whole(request: Request[Any, Any, Any], shape: Shape) -> bool:
    """Say whether reading the whole document at once is likely to be worth it."""
    return not (shape.is_page or "if-none-match" in request.headers or is_head(request))


def is_head(request: Request[Any, Any, Any]) -> bool:
    """Whether only the headers are asked for."""
    scope: Any = request.scope
    return bool(scope.get(IS_HEAD))


async def told(
    request: Request[Any, Any, Any], view: RunView, stored: StoredRun, shape: Shape
) -> ASGIResponse:
    """Answer with a run, 304 when the reader has it.

    Raises:
        NotFound: the run has no rows to be told alone.
        InvalidInput: it has no such column.
    """
    headers = {**NO_CACHE, "Vary": "Accept"}
    if stored.freshness is not None:
        # of the answer, never of the run: its body does not change
        headers["Pgsched-Age"] = f"{stored.freshness.age_s:.0f}"
        headers["Pgsched-Stale"] = str(int(stored.freshness.is_stale))
    audience = caller_of(request).audience
    tag = conditional.entity_tag(stored, shape.tag, audience)
    if tag is not None:
        headers["ETag"] = tag
        mark(request.scope, stored, audience)
        known = request.headers.get("if-none-match")
        if known is not None and conditional.is_known(tag, known):
            # "*" is true of what there is alone (RFC 9110, section 13.1.2)
            refuse_unwritable(stored, shape)
            return ASGIResponse(status_code=304, headers=headers)
    if stored.has_result:
        headers["X-Total-Count"] = str(stored.run.rows_returned or 0)
    if shape.format in EXTENSIONS:
        name = f"query-{stored.run.query_id}-run-{stored.run.id}.{EXTENSIONS[shape.format]}"
        headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return await sent(request, written(view, stored, shape), MEDIA_TYPES[shape.format], headers)


async def sent(
    request: Request[Any, Any, Any],
    pieces: AsyncGenerator[bytes],
    media_type: str,
    headers: dict[str, str],
) -> ASGIResponse:
    """Answer with pieces: in one when they are small together, else as they come.

    What is wrong with the first of them is raised before the answer begins; a fault later on cuts it off.
    """
    held: list[bytes] = []
    size = 0
    async for piece in pieces:
        held.append(piece)
        size += len(piece)
        if size > _WHOLE:
            break
    else:
        return ASGIResponse(body=b"".join(held), media_type=media_type, headers=headers)
    if is_head(request):
        # what was written says that it is streamed, without a length; it is not sent, and the rest not needed
        await pieces.aclose()
    return ASGIStreamingResponse(iterator=_joined(held, pieces), media_type=media_type, headers=headers)


async def _joined(held: list[bytes], pieces: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
    try:
        while held:
            yield held.pop(0)
        async for piece in pieces:
            yield piece
    finally:
        await pieces.aclose()
