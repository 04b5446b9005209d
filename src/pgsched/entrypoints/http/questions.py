"""The two questions that dashboards ask all day, read from a request without the router."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from litestar.connection import ASGIConnection

from pgsched.domain.errors import NotFound
from pgsched.domain.runs import RunStatus
from pgsched.entrypoints.http.described_parameters import KNOWN_PARAMETERS
from pgsched.entrypoints.http.parameters import query_key, run_key

#: questions remembered, and the longest that are, in bytes
_MOST, _LONGEST = 4096, 512

_QUERIES, _LATEST, _RUNS = b"/api/queries/", b"/runs/latest", b"/api/runs/"


@dataclass(frozen=True, slots=True)
class Question:
    """The latest success of a query, or a run by its id."""

    #: name or id of the query, None when a run is asked for
    query: str | int | None
    #: id of the run, None when the latest is asked for
    run_id: int | None
    #: all of the request that its answer's form depends on, known parameters and Accept
    form: tuple[object, ...]
    #: whether the latest of one parameter set is asked for, which need not be the query's latest
    of_set: bool = False

    @property
    def route(self) -> str:
        """The path's template, as the router has it."""
        return "/api/runs/{run_id}" if self.query is None else "/api/queries/{qid}/runs/latest"


class Questions:
    """Reads requests, and remembers what it read."""

    def __init__(self) -> None:
        self._read: dict[tuple[bytes, bytes, bytes | None], Question | None] = {}

    def of(self, path: bytes, query_string: bytes, accept: bytes | None) -> Question | None:
        """Return what a GET asks, None when it is something else or not asked plainly."""
        asked = (path, query_string, accept)
        try:
            return self._read[asked]
        except KeyError:
            pass
        if len(path) + len(query_string) + len(accept or b"") > _LONGEST:
            return None
        if not path.startswith((_QUERIES, _RUNS)):
            return None
        if len(self._read) >= _MOST:
            self._read.clear()
        question = self._read[asked] = _question(path, query_string, accept)
        return question


def _question(path: bytes, query_string: bytes, accept: bytes | None) -> Question | None:
    form, statuses = _form(query_string, accept)
    try:
        text = path.decode("ascii")
        if path.startswith(_RUNS):
            return Question(None, run_key(text[len(_RUNS) :]), form)
        if path.endswith(_LATEST) and all(status == RunStatus.SUCCESS for status in statuses):
            of_set = any(isinstance(pair, tuple) and pair[0] == "params" for pair in form)
            return Question(query_key(text[len(_QUERIES) : -len(_LATEST)]), None, form, of_set)
    except (UnicodeDecodeError, NotFound):
        pass  # the router says what is wrong with it
    return None


def _form(query_string: bytes, accept: bytes | None) -> tuple[tuple[object, ...], list[str]]:
    # read as handlers read it
    scope: Any = {"type": "http", "query_string": query_string, "headers": []}
    connection: ASGIConnection[Any, Any, Any, Any] = ASGIConnection(scope)
    pairs = [
        (name, value) for name, value in connection.query_params.multi_items() if name in KNOWN_PARAMETERS
    ]
    return (accept, *pairs), [value for name, value in pairs if name == "status"]
