"""Problems: the status and code of each error, and that surprises say nothing of themselves."""

from __future__ import annotations

import json
import logging

import pytest
from litestar.exceptions import HTTPException, InternalServerException

from pgsched.domain import errors
from pgsched.entrypoints.http import problems


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (errors.InvalidInput("no"), 400, "invalid_request"),
        (errors.BadSchedule("no"), 400, "bad_schedule"),
        (errors.SqlNotAllowed("no", reason="r", position=1), 400, "sql_not_allowed"),
        (errors.NotFound("query", 1), 404, "not_found"),
        (errors.NameTaken("query", "a"), 409, "name_taken"),
        (errors.LastAdmin("no"), 409, "last_admin"),
        (errors.QueryFailed("no", sqlstate="42703"), 422, "query_failed"),
        (errors.SourceUnreachable("no"), 502, "source_unreachable"),
        (errors.QueryTimeout("no"), 504, "query_timeout"),
        (errors.NoPrivateKey("no"), 503, "no_private_key"),
        (errors.DatabaseUnavailable("no"), 503, "database_unavailable"),
        (errors.SchemaMismatch("no"), 503, "schema_mismatch"),
        (problems.FormatUnavailable("no"), 406, "format_unavailable"),
        (HTTPException(status_code=405, headers={"allow": "GET"}), 405, "method_not_allowed"),
        (HTTPException(status_code=413), 413, "too_large"),
        (HTTPException(status_code=418, detail="tea"), 418, "invalid_request"),
    ],
)
def test_problem_of_an_error_has_its_status_and_code(error: Exception, status: int, code: str) -> None:
    told, headers = problems.of(error)
    body = json.loads(told.encode())
    assert body.keys() - {"errors"} == {"type", "title", "status", "detail", "code"}
    assert (body["status"], body["code"]) == (status, code)
    assert ("Retry-After" in headers) == (status == 503)
    assert headers.get("Allow") == ("GET" if status == 405 else None)


def test_problem_names_the_fields_at_fault() -> None:
    fault = errors.FieldFault(field="limit", message="must be small")
    told, _ = problems.of(errors.InvalidInput.of(fault))
    assert json.loads(told.encode())["errors"] == [{"field": "limit", "message": "must be small"}]


def test_problem_of_a_source_is_what_everyone_may_read() -> None:
    told, _ = problems.of(errors.QueryFailed("detail: secret row", public="division by zero", sqlstate=None))
    assert told.detail == "division by zero"


@pytest.mark.parametrize(
    "error",
    [
        ZeroDivisionError("/srv/secret"),
        errors.LeaseLost("/srv/secret"),
        InternalServerException("/srv/secret"),
    ],
)
def test_problem_of_a_surprise_tells_the_log_alone(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        told, _ = problems.of(error)
    assert (told.status, told.code) == (500, "internal_error")
    assert "secret" not in told.encode().decode()
    (record,) = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[1] is error
