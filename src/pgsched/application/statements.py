"""From a query to the statement a source runs: parameters found, their values taken, all of it judged."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from typing import Protocol

from pgsched.application.ports.execution import Argument, Statement
from pgsched.domain.errors import InvalidInput, SqlNotAllowed
from pgsched.domain.jobs import JobSpec
from pgsched.domain.parameters import SCHEDULED_AT, SCHEDULED_AT_TYPE, Parameter, Value
from pgsched.domain.results import oid_of
from pgsched.domain.sources import DataSource
from pgsched.domain.sql_comments import without_comments
from pgsched.domain.sql_guard import MAX_SQL_BYTES, Rule, Verdict, excerpt
from pgsched.domain.sql_parameters import Rewritten, rewrite


class Check(Protocol):
    """Judges one text, in which the first ``places`` places are bound."""

    def __call__(self, sql: str, *, places: int) -> Awaitable[Verdict]:
        """Return what the guard says."""


#: characters up to which a statement is not read anew for each of its runs, and how many such are remembered
_REMEMBERED_CHARS, _MOST_REMEMBERED = 16_384, 256
_BEFORE = "SELECT (\n"
_A_PARAMETER = re.compile(r":[a-z_][a-z0-9_]*", re.IGNORECASE | re.ASCII)


def by_itself(sql: str) -> Rewritten:
    """Put a place where ``:scheduled_at`` stands, which is always there: a statement outside of a query."""
    if len(sql) <= MAX_SQL_BYTES:
        # what is wrong with it, or that it is too long, is the guard's to tell
        with suppress(InvalidInput):
            return rewrite(sql, {SCHEDULED_AT})
    return Rewritten(sql=sql, names=())


def as_written(verdict: Verdict, rewritten: str, written: str) -> Verdict:
    """Return a verdict on what was rewritten in the words of whoever wrote it."""
    if verdict.allowed:
        return verdict
    detail = verdict.detail
    if verdict.position is not None:
        # the user's own text where the guard showed the one with places
        detail = _in_words_of(written, verdict.position, verdict, rewritten)
    return replace(verdict, detail=detail + _undeclared(verdict, written))


async def judge(check: Check, spec: JobSpec, *, params: str | None = None) -> dict[str, str]:
    """Ask the guard about a query's statement and about the expressions of its parameters.

    ``params`` names the set whose expressions count; without it all of them do. Positions are those of the
    user's own text. Returns what to send in place of a text that was not judged as it stands: for
    ``statement_of``, and nearly always empty.

    Raises:
        SqlNotAllowed: one is refused; says which, what and where.
        InvalidInput: the statement cannot take its parameters.
    """
    rewritten = rewrite_statement(spec)
    verdict = await check(rewritten.sql, places=len(rewritten.names))
    if not verdict.allowed:
        raise SqlNotAllowed(
            as_written(verdict, rewritten.sql, spec.sql_text).detail,
            reason=str(verdict.code),
            position=verdict.position,
        )
    instead = {}
    if verdict.without_comments:
        instead[rewritten.sql] = _judged(rewritten.sql)
    for where, parameter, expression in _expressions(spec, params):
        inner = rewrite(expression, {SCHEDULED_AT}, field=where)
        asked = f"{_BEFORE}{inner.sql}\n)::{parameter.type}"
        verdict = await check(asked, places=len(inner.names))
        if not verdict.allowed:
            place = verdict.position
            if place is not None:
                place = min(place - len(_BEFORE), len(expression) + 1)
                verdict = replace(verdict, detail=_in_words_of(expression, place, verdict, asked))
            raise SqlNotAllowed(
                f"in {where}: {verdict.detail}", reason=str(verdict.code), position=place, field=where
            )
        if verdict.without_comments:
            instead[inner.sql] = _judged(asked)[len(_BEFORE) : len(_BEFORE) + len(inner.sql)]
    return instead


def statement_of(
    spec: JobSpec,
    source: DataSource,
    *,
    params: str,
    scheduled_at: datetime,
    application_name: str,
    instead: Mapping[str, str] | None = None,
) -> Statement:
    """Return what a source is to run for one instant with one parameter set, empty for the defaults.

    ``instead`` is what ``judge`` returned.

    Raises:
        InvalidInput: the query has no such set, or the statement cannot take its parameters.
    """
    rewritten = rewrite_statement(spec)
    values = values_of(spec, params)
    at = scheduled_at.isoformat()
    known = {parameter.name: parameter for parameter in spec.parameters}
    other = instead or {}
    return Statement(
        sql=other.get(rewritten.sql, rewritten.sql),
        arguments=tuple(
            _scheduled_at(at) if name == SCHEDULED_AT else _argument(known[name], values[name], other)
            for name in rewritten.names
        ),
        scheduled_at=at,
        timezone=spec.timezone,
        timeout_ms=spec.timeout_ms,
        max_rows=spec.max_rows,
        max_bytes=spec.max_bytes,
        on_limit=spec.on_limit,
        application_name=application_name,
        allow_metadata=source.allow_metadata,
        max_cost=source.max_cost,
    )


def rewrite_statement(spec: JobSpec) -> Rewritten:
    """Put ``$n`` in place of the query's parameters."""
    declared = tuple([parameter.name for parameter in spec.parameters])
    if len(spec.sql_text) > _REMEMBERED_CHARS:
        return _rewrite(spec.sql_text, declared)
    return _rewritten(spec.sql_text, declared)


def _rewrite(sql: str, declared: tuple[str, ...]) -> Rewritten:
    return rewrite(sql, {SCHEDULED_AT, *declared})


_rewritten = lru_cache(maxsize=_MOST_REMEMBERED)(_rewrite)


def values_of(spec: JobSpec, params: str) -> dict[str, Value]:
    """Return the value of every parameter in a set, empty for the defaults.

    Raises:
        InvalidInput: there is no such set, or a parameter has no value in it.
    """
    given = {one.name: one.values for one in spec.param_sets}
    if params and params not in given:
        raise InvalidInput(f"the query has no parameter set {params} (any more)")
    values = {each.name: each.default for each in spec.parameters}
    values |= given.get(params, {})
    for name, value in values.items():
        if value is None:
            raise InvalidInput(f"the parameter {name} has no default; name a parameter set")
    return {name: value for name, value in values.items() if value is not None}


def _expressions(spec: JobSpec, params: str | None) -> Iterator[tuple[str, Parameter, str]]:
    """Yield where an expression stands, whose it is, and what it is."""
    declared = {parameter.name: parameter for parameter in spec.parameters}
    found: Iterable[tuple[str, str, Value | None]]
    if params is None:
        found = [("default of " + each.name, each.name, each.default) for each in spec.parameters]
        found += [
            (f"{name} of set {one.name}", name, value)
            for one in spec.param_sets
            for name, value in one.values.items()
        ]
    else:
        found = [(name, name, value) for name, value in values_of(spec, params).items()]
    for where, name, value in found:
        if value is not None and value.sql is not None:
            yield f"parameters ({where})", declared[name], value.sql


def _argument(parameter: Parameter, value: Value, instead: Mapping[str, str]) -> Argument:
    sql = None if value.sql is None else rewrite(value.sql, {SCHEDULED_AT}, field=parameter.name).sql
    return Argument(
        name=parameter.name,
        type=parameter.type,
        oid=parameter.oid,
        text=value.text,
        sql=None if sql is None else instead.get(sql, sql),
    )


def _judged(sql: str) -> str:
    """Return the text that a guard which leaves comments out has judged."""
    bare = without_comments(sql)
    if bare is None:
        raise AssertionError("a text was judged without comments and has none")
    return bare


def _undeclared(verdict: Verdict, written: str) -> str:
    """Say that a parameter stands where the grammar stumbled, if one does that was not declared."""
    place = (verdict.position or 0) - 1
    found = _A_PARAMETER.match(written, place) if verdict.code == Rule.SYNTAX_ERROR and place >= 0 else None
    if found is None:
        return ""
    if found[0][1:].lower() == SCHEDULED_AT:
        try:
            rewrite(written, {SCHEDULED_AT})
        except InvalidInput as error:
            return f" ({error.faults[0].message})"
    return f" (if {found[0]} is a parameter, declare it in parameters)"


def _scheduled_at(at: str) -> Argument:
    return Argument(name=SCHEDULED_AT, type=SCHEDULED_AT_TYPE, oid=oid_of(SCHEDULED_AT_TYPE), text=at)


def _in_words_of(written: str, position: int, verdict: Verdict, judged: str) -> str:
    """Return the detail with what stands at ``position`` of what somebody wrote, not of what was judged."""
    shown = excerpt(judged, verdict.position or 0)
    if not shown:
        return verdict.detail
    own = excerpt(written, position)
    return verdict.detail.replace(shown, own) if own else verdict.detail.removesuffix(f"; at: {shown}")
