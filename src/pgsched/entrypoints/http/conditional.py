"""Conditional requests (RFC 9110 §8.8 and §13): a finished run never changes, so its tag says it all."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from litestar.response.base import ASGIResponse

from pgsched.application.ports.views import StoredRun
from pgsched.domain.audience import Audience
from pgsched.domain.row_filters import fingerprint

if TYPE_CHECKING:
    from litestar import Request

#: changes when the bytes of an answer would for another reason than its run
_WRITTEN = "2"

_TAG = re.compile(r'(?:W/)?("[^"]*")')
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def entity_tag(stored: StoredRun, shape: str, audience: Audience) -> str | None:
    """Return the strong tag of a finished run in one shape for one audience, None while it can change.

    The time of its end is in it, so that a run of a database made anew never has the tag of an old one.
    """
    run = stored.run
    if run.run_finished_at is None or not run.status.is_terminal:
        return None
    end = int(run.run_finished_at.timestamp() * 1_000_000)
    whole = "w" if audience.whole_errors else "p"
    shown = f"-{fingerprint(stored.rows)}" if stored.rows is not None else ""
    return f'"{run.id:x}-{end:x}-{shape}-{whole}{_WRITTEN}{shown}"'


def is_known(tag: str, if_none_match: str) -> bool:
    """Whether an If-None-Match header names the tag; compares weakly (RFC 9110 §13.1.2)."""
    return if_none_match.strip() == "*" or tag in _TAG.findall(if_none_match)


def version_tag(thing_id: int, updated_at: datetime) -> str:
    """Return the strong tag of something that people change: another with every change."""
    return f'"{thing_id:x}-{(updated_at - _EPOCH) // timedelta(microseconds=1):x}"'


def is_current(if_match: str | None, thing_id: int) -> Callable[[datetime], bool]:
    """Return what tells by ``updated_at`` whether an If-Match header lets a change through.

    Compares strongly (RFC 9110 §13.1.1): a weak tag never matches. Without the header the last write wins.
    """
    if if_match is None or if_match.strip() == "*":
        return lambda _: True
    known = {tag.strip() for tag in if_match.split(",")}
    return lambda updated_at: version_tag(thing_id, updated_at) in known


def unless_known(request: Request[Any, Any, Any], tag: str, answer: ASGIResponse, cache: str) -> ASGIResponse:
    """Return the answer to a GET of something that people change, 304 when the reader has this version."""
    known = request.headers.get("if-none-match")
    if known is None or not is_known(tag, known):
        return answer
    return ASGIResponse(status_code=304, headers={"ETag": tag, "Cache-Control": cache})
