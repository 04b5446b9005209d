"""The clauses of the port ``SqlGuard`` that a guard without a grammar can keep too."""

from __future__ import annotations

import pytest

from pgsched.adapters.guard.grammar import PostgresGrammarGuard
from pgsched.adapters.memory.guard import FirstWordGuard
from pgsched.application.ports.execution import SqlGuard


@pytest.fixture(params=[FirstWordGuard, PostgresGrammarGuard])
def guard(request: pytest.FixtureRequest) -> SqlGuard:
    return request.param()


@pytest.mark.parametrize(
    "sql",
    [
        "select 1",
        "SELECT n FROM t",
        "  \n select 1  ;\n",
        "with a as (select 1) select * from a",
        "values (1), (2)",
        "table t",
    ],
)
def test_statement_that_reads_is_allowed(guard: SqlGuard, sql: str) -> None:
    verdict = guard.check(sql)
    assert (verdict.allowed, verdict.code, verdict.position) == (True, None, None)
    assert verdict.detail


@pytest.mark.parametrize(
    ("sql", "code", "position"),
    [
        ("", "empty_statement", None),
        (" \n\t ", "empty_statement", None),
        (";", "empty_statement", None),
        ("insert into t values (1)", "not_a_select", 1),
        ("  delete from t", "not_a_select", 3),
        ("\nset x to 1", "not_a_select", 2),
        ("commit", "not_a_select", 1),
        ("select 1; select 2", "not_one_statement", 11),
        ("select 1;delete from t;", "not_one_statement", 10),
        ("select 'a\x00b'", "bad_characters", 10),
    ],
)
def test_statement_that_does_more_is_refused_with_its_place(
    guard: SqlGuard, sql: str, code: str, position: int | None
) -> None:
    verdict = guard.check(sql)
    assert (verdict.allowed, verdict.code, verdict.position) == (False, code, position)
    assert verdict.detail
    assert "\n" not in verdict.detail


def test_positions_count_characters(guard: SqlGuard) -> None:
    verdict = guard.check("values ('ä€😀'); drop table t")
    assert verdict.position == 17


@pytest.mark.parametrize(
    ("sql", "places", "position"),
    [
        ("select $1", 1, None),
        ("select $2, $1 || $2", 2, None),
        ("select $1", 0, 8),
        ("select $1, $2", 1, 12),
        ("select $0", 3, 8),
        ("select $1 limit $3", 2, 17),
    ],
)
def test_places_that_are_bound_are_allowed(
    guard: SqlGuard, sql: str, places: int, position: int | None
) -> None:
    verdict = guard.check(sql, places=places)
    assert (verdict.allowed, verdict.position) == (position is None, position)
    assert verdict.code in (None, "parameter_not_allowed")
