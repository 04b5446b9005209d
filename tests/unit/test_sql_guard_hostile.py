"""Texts made to break the guard end in a verdict, in bounded time, in a process that lives on."""

from __future__ import annotations

import os
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pgsched.adapters.guard.grammar import PostgresGrammarGuard
from pgsched.domain.sql_guard import MAX_OPERATOR_RUN, MAX_SQL_BYTES, Rule, excerpt

GUARD = PostgresGrammarGuard()

UNREADABLE = [
    ("select 1\0; drop table t", 9),
    ("\0", 1),
    ("select 'é\0'", 10),
    ("select '\ud800'", 9),
    ("select '\udfff", 9),
    ("select 'é😀\udc80'", 11),
]


@pytest.mark.parametrize(("sql", "position"), UNREADABLE)
def test_guard_refuses_nul_and_lone_surrogates_at_their_place(sql: str, position: int) -> None:
    verdict = GUARD.check(sql)
    assert (verdict.code, verdict.position) == ("bad_characters", position)
    verdict.detail.encode()


def test_guard_takes_a_text_of_the_greatest_length_and_none_longer() -> None:
    fits = "select '" + "x" * (MAX_SQL_BYTES - 9) + "'"
    assert GUARD.check(fits).allowed
    assert GUARD.check(fits + " ").code == "too_long"
    assert GUARD.check("select '" + "é" * (MAX_SQL_BYTES // 2) + "'").code == "too_long"
    assert GUARD.check("x" * 50_000_000).code == "too_long"


@pytest.mark.parametrize("terms", [49, 1_000, 30_000])
def test_guard_follows_long_expressions(terms: int) -> None:
    assert GUARD.check("select " + "+".join(["1"] * terms)).allowed
    assert GUARD.check("select " + "||".join(["a"] * terms) + " from t").allowed
    refused = GUARD.check("select " + "+".join(["1"] * terms) + "+nextval('s')")
    assert (refused.code, refused.position) == ("function_not_allowed", 8 + 2 * terms)


DEEP = {
    "terms": "select " + "1+" * 50_000 + "1",
    "brackets": "select " + "(" * 50_000 + "1" + ")" * 50_000,
    "arrays": "select " + "array[" * 8_000 + "1" + "]" * 8_000,
    "subselects": "select " + "(select " * 9_000 + "1" + ")" * 9_000,
    "functions": "select " + "f(" * 30_000 + "1" + ")" * 30_000,
    "rows": "select " + "row(" * 19_000 + "1" + ")" * 19_000,
    "minus": "select " + "- " * 45_000 + "1",
    "cases": "select " + "case when 1 then " * 3_000 + "1" + " end" * 3_000,
    "withs": "with a as (" * 9_000 + "select 1" + ") select 1" * 100,
    "joins": "select 1 from " + "(" * 20_000 + "a" + ")" * 20_000,
}


@pytest.mark.parametrize("sql", DEEP.values(), ids=DEEP.keys())
def test_guard_refuses_what_is_nested_too_deeply(sql: str) -> None:
    began = time.monotonic()
    assert GUARD.check(sql).code == "too_deep"
    assert time.monotonic() - began < 15
    assert GUARD.check("select 1").allowed


SLOW = {
    "comment openers": "/*" * 50_000,
    "comment openers apart": "/* " * 34_000,
    "operators": "select 1 " + "+-" * 49_000 + "1",
    "operator runs": "select 1 " + ("+-" * (MAX_OPERATOR_RUN // 2) + " ") * 100,
    "semicolons": ";" * 100_000,
    "statements": "select 1;" * 11_000,
    "open quotes": "select '" + "''" * 49_000,
    "dollars": "select " + "$a" * 49_000,
    "casts": "select 1" + "::a" * 33_000,
    "columns": "select " + "a," * 49_000 + "a",
    "locks": "select 1 from " + "(select from t for update) a," * 3_400 + "b",
    "comments": "select 1 where 1 not /* c */ in (2) " + "/**/ " * 20_000,
    "openers in a comment": "select 1 where 1 not /* c */ in (2) /* "
    + "/* " * 16_000
    + "*/ " * 16_000
    + "*/",
    "comments behind a literal": "select 1 where 1 not /* c */ in (E'x' " + "-- " * 30_000,
    "dollars behind a comment": "select 1 where 1 not /* c */ in (" + "$a" * 45_000,
    "writes": "with a as (delete from t)" + ", a as (delete from t)" * 4_000 + " select 1",
    "functions": "select " + "nextval(1)," * 9_000 + "1",
}


@pytest.mark.parametrize("sql", SLOW.values(), ids=SLOW.keys())
def test_guard_answers_slow_texts_in_bounded_time(sql: str) -> None:
    began = time.monotonic()
    GUARD.check(sql)
    assert time.monotonic() - began < 15


def test_guard_tells_no_position_outside_the_text() -> None:
    for sql in [*DEEP.values(), *SLOW.values()]:
        verdict = GUARD.check(sql)
        assert verdict.position is None or 1 <= verdict.position <= len(sql) + 1


_FRAGMENTS = r"""
    select from where with x as ( ) [ ] , ; . : :: ' " $ $$ $a$ -- /* */ + - * < > = || ! 1 a é 😀 \ E' U&
    insert into values update set delete returning for share union case when then end array row
    nextval('s') pg_sleep(1) t.* $1 over order by limit null and or not between in is exists
"""
FRAGMENTS = st.sampled_from([*_FRAGMENTS.split(), "\n"])


@given(st.lists(FRAGMENTS, max_size=40).map(" ".join) | st.text(max_size=200))
@settings(max_examples=400, deadline=None)
def test_guard_never_raises_and_its_verdict_is_whole(sql: str) -> None:
    verdict = GUARD.check(sql)
    assert verdict.allowed == (verdict.code is None)
    assert verdict.allowed or verdict.code in set(Rule)
    assert verdict.detail.isprintable()
    assert verdict.position is None or 1 <= verdict.position <= len(sql) + 1
    assert GUARD.check(sql) == verdict


@given(st.lists(FRAGMENTS, max_size=6).map(" ".join), st.lists(FRAGMENTS, max_size=6).map(" ".join))
@settings(max_examples=300, deadline=None)
def test_guard_allows_no_text_around_a_write(before: str, after: str) -> None:
    sql = f"{before} insert into t values (nextval('s')) {after}"
    quoted = any(mark in before for mark in ("'", '"', "$", "--", "/*"))
    assert quoted or not GUARD.check(sql).allowed


def test_guard_serves_many_threads_at_once() -> None:
    wrong: list[str] = []

    def work(number: int) -> None:
        for _ in range(50):
            refused = GUARD.check("select " + "1, " * number + "nextval('s')")
            if refused.position != 8 + 3 * number or not GUARD.check(f"select {number}").allowed:
                wrong.append(str(refused))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_guard_serves_a_forked_process() -> None:
    assert GUARD.check("select 1").allowed
    child = os.fork()
    if child == 0:
        os._exit(0 if GUARD.check("select 1").allowed and not GUARD.check("commit").allowed else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_excerpt_is_cut_and_printable() -> None:
    assert excerpt("select\n\tx", 4) == "ect  x"
    assert excerpt("a" * 100, 1) == "a" * 40 + "…"
    assert excerpt("select", 7) == ""
