"""Errors as RFC 9457 ``application/problem+json``: the one place that turns the error tree into statuses."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

import msgspec
from litestar import Request
from litestar.exceptions import HTTPException
from litestar.response.base import ASGIResponse, Response

from pgsched.domain import errors
from pgsched.domain.errors import FieldFault, PgschedError

MEDIA_TYPE = "application/problem+json"
#: seconds after which asking again may help
RETRY_AFTER_S = 5

_log = logging.getLogger(__name__)

#: the most special class wins
_STATUS: dict[type[PgschedError], HTTPStatus] = {
    errors.InvalidInput: HTTPStatus.BAD_REQUEST,
    errors.NotFound: HTTPStatus.NOT_FOUND,
    errors.NotAuthenticated: HTTPStatus.UNAUTHORIZED,
    errors.Forbidden: HTTPStatus.FORBIDDEN,
    errors.TooManyRequests: HTTPStatus.TOO_MANY_REQUESTS,
    errors.Conflict: HTTPStatus.CONFLICT,
    errors.Stale: HTTPStatus.PRECONDITION_FAILED,
    # what is sealed cannot be sealed or opened here: for whoever runs the service to mend
    errors.KeyFault: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.CannotOpen: HTTPStatus.CONFLICT,
    errors.SourceFault: HTTPStatus.BAD_GATEWAY,
    errors.QueryFailed: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.LimitExceeded: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.CostExceeded: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.IsMetadata: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.SourceUnreachable: HTTPStatus.BAD_GATEWAY,
    errors.SourceRefused: HTTPStatus.BAD_GATEWAY,
    errors.SourceUntrusted: HTTPStatus.BAD_GATEWAY,
    errors.ProtocolBroken: HTTPStatus.BAD_GATEWAY,
    errors.QueryTimeout: HTTPStatus.GATEWAY_TIMEOUT,
    errors.DatabaseFault: HTTPStatus.SERVICE_UNAVAILABLE,
}

#: codes and details for what the framework refuses before a handler is asked
_FRAMEWORK = {
    400: ("invalid_request", "the request is malformed"),
    404: ("not_found", "there is nothing at this path"),
    405: ("method_not_allowed", "this path does not take this method; the Allow header says which it takes"),
    413: ("too_large", "the body is too large"),
    415: ("unsupported_media_type", "the body must be JSON, with Content-Type: application/json"),
}


class FormatUnavailable(PgschedError):
    """The asked format is known and cannot be written here, or none of those accepted can."""

    code = "format_unavailable"


class BadOrigin(errors.Forbidden):
    """A page of another site sent this write with the user's cookie, or a login."""

    code = "bad_origin"

    def __init__(self) -> None:
        super().__init__(
            "writes are taken from pages of this origin alone; name others in CORS_ALLOWED_ORIGINS, and have "
            "a reverse proxy send X-Forwarded-Proto and X-Forwarded-Host (see TRUSTED_PROXIES)"
        )


class UnsupportedMediaType(PgschedError):
    """The body is not JSON, or is said to be something else."""

    code = "unsupported_media_type"


class Overloaded(PgschedError):
    """More requests are under way than one process takes on; asking again in a moment may help."""

    code = "overloaded"


class BadHost(PgschedError):
    """The request was sent to a name that is not answered."""

    code = "bad_host"


_STATUS[BadHost] = HTTPStatus.BAD_REQUEST
_STATUS[Overloaded] = HTTPStatus.SERVICE_UNAVAILABLE
_STATUS[FormatUnavailable] = HTTPStatus.NOT_ACCEPTABLE
_STATUS[UnsupportedMediaType] = HTTPStatus.UNSUPPORTED_MEDIA_TYPE


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """An error as answered (RFC 9457 §3.1)."""

    #: always ``about:blank``: ``code`` says what it is
    type: str = "about:blank"
    #: the status in words
    title: str
    #: the HTTP status
    status: int
    #: one sentence or two for a person
    detail: str
    #: stable, for programs
    code: str
    #: the fields at fault, where there are any
    errors: list[FieldFault] | None = None
    #: of a source's SQL error: its SQLSTATE
    sqlstate: str | None = None
    #: of a source's SQL error: its primary message
    message: str | None = None
    #: of a source's SQL error: where in the SQL, in characters from 1
    position: int | None = None

    def described(self) -> dict[str, Any]:
        """Return what the body holds; what there is nothing to say of is left out."""
        fields: dict[str, Any] = {
            "type": self.type,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "code": self.code,
        }
        optional = {name: getattr(self, name) for name in ("errors", "sqlstate", "message", "position")}
        return fields | {name: value for name, value in optional.items() if value}

    def encode(self) -> bytes:
        """Return the body."""
        return msgspec.json.encode(self.described())


def problem(status: int, code: str, detail: str, faults: Sequence[FieldFault] = ()) -> Problem:
    """Make a problem with the title its status has."""
    return Problem(
        title=HTTPStatus(status).phrase, status=status, code=code, detail=detail, errors=list(faults) or None
    )


def of(error: Exception) -> tuple[Problem, Mapping[str, str]]:
    """Return the problem that an exception is answered with, and the headers it calls for.

    What nobody foresaw becomes ``internal_error`` without a word about it; the log has the rest.
    """
    if isinstance(error, PgschedError):
        status = next((_STATUS[kind] for kind in type(error).__mro__ if kind in _STATUS), None)
        if status is not None:
            faults = error.faults if isinstance(error, errors.InvalidInput) else ()
            detail = error.public if isinstance(error, errors.SourceFault) else error.detail
            if isinstance(error, errors.DatabaseFault) and not isinstance(error, errors.SchemaMismatch):
                # The reason can name roles and hosts: for the log, not for whoever asks.
                _log.error("%s", error.detail, extra={"action": "http.database", "error_code": error.code})
                detail = "the metadata database cannot serve; try again in a moment"
            return problem(status, error.code, detail, faults), _headers(status, error)
    elif isinstance(error, HTTPException) and error.status_code < 500:
        code, detail = _FRAMEWORK.get(error.status_code, ("invalid_request", error.detail))
        allow = (error.headers or {}).get("allow")
        return problem(error.status_code, code, detail), {"Allow": allow} if allow else {}
    _log.error("a request failed unexpectedly", exc_info=error, extra={"action": "http.error"})
    return problem(500, "internal_error", "an internal error; the log of the server says more"), {}


def of_dry_run(error: errors.SourceFault) -> tuple[Problem, Mapping[str, str]]:
    """Return the problem for what a source did to an editor's dry run: all that it said."""
    told, headers = of(error)
    whole = replace(
        told,
        detail=error.detail,
        sqlstate=error.sqlstate,
        message=error.public if error.sqlstate else None,
        position=error.position if isinstance(error, errors.QueryFailed) else None,
    )
    return whole, headers


def _headers(status: HTTPStatus, error: PgschedError) -> dict[str, str]:
    if isinstance(error, errors.TooManyRequests):
        return {"Retry-After": str(error.retry_after_s)}
    if status == 503:
        return {"Retry-After": str(RETRY_AFTER_S)}
    if status == 401:
        return {"WWW-Authenticate": "Bearer"}  # RFC 9110, section 15.5.2: there must be a challenge
    return {}


class _Answer(Response[bytes]):
    """A finished answer in the form the framework's error hook asks for."""

    def __init__(self, error: Exception) -> None:
        self._problem, self._extra = of(error)
        super().__init__(b"", status_code=self._problem.status)

    def to_asgi_response(self, *_: Any, **__: Any) -> ASGIResponse:
        return answer(self._problem, self._extra)


def answer(told: Problem, headers: Mapping[str, str]) -> ASGIResponse:
    """Return a problem as an answer that no cache keeps."""
    return ASGIResponse(
        body=told.encode(),
        status_code=told.status,
        media_type=MEDIA_TYPE,
        headers={"Cache-Control": "no-store", **headers},
    )


def handler(_: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Answer any exception that a route or the router raises."""
    return _Answer(error)
