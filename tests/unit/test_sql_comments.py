"""Comments where the parser takes them for errors: left out, judged without, and sent without."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import postgast
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgsched.adapters.guard.grammar import PostgresGrammarGuard
from pgsched.application.statements import judge, statement_of
from pgsched.domain.errors import SqlNotAllowed
from pgsched.domain.jobs import JobSpec
from pgsched.domain.schedules import ScheduleType
from pgsched.domain.sources import DataSource
from pgsched.domain.sql_comments import without_comments

GUARD = PostgresGrammarGuard()
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
SOURCE = DataSource(
    id=1, created_at=AT, updated_at=AT, name="s", host="h", port=1, dbname="d", username="u", password=None
)

# ¶ stands for a comment
FORMS = [
    "select 1 where 1 not ¶ in (2)",
    "select 1 where 1 not ¶ between 2 and 3",
    "select 1 where 'x' not ¶ like 'y'",
    "select 1 where 'x' not ¶ ilike 'y'",
    "select 1 where 'x' not ¶ similar to 'y'",
    "select 1 order by 1 nulls ¶ first",
    "select 1 order by 1 nulls ¶ last",
    "select * from unnest(array[1]) with ¶ ordinality",
    "select now()::timestamp with ¶ time zone",
    "select now()::timestamp without ¶ time zone",
    "select U&'d!0061' ¶ uescape '!'",
]
COMMENTS = [
    "-- c\n",
    "-- it's $$ /* \r",
    "/* c */",
    "/* é😀 /* \n */ ' */",
    "/*/*/**/*/ */",
    "-- c\n /* d */ -- e\n",
]
LITERALS = [
    "select 'x' -- c\n 'y'",
    # the call is inside of the literal, where the backslash counts
    r"select E'x' -- c" "\n" r" 'y\', nextval(' -- s' )",
    r"select E'x\'' -- c 'n' -- d" "\n-- e\n" r" 'y\'' -- /*" "\n 'z'",
    "select U&'x' -- c\n '!0061' /* d */ uescape '!'",
    "select b'0' -- c\n '1', x'0' -- c\n 'f'",
]


@pytest.mark.parametrize("comment", COMMENTS)
@pytest.mark.parametrize("form", FORMS)
def test_a_comment_at_a_word_that_is_looked_ahead_for_is_allowed(form: str, comment: str) -> None:
    verdict = GUARD.check(form.replace("¶", comment))
    assert (verdict.allowed, verdict.without_comments) == (True, True), verdict


@pytest.mark.parametrize("sql", LITERALS)
def test_a_comment_inside_a_literal_that_goes_on_is_allowed(sql: str) -> None:
    verdict = GUARD.check(sql)
    assert (verdict.allowed, verdict.without_comments) == (True, True), verdict


@pytest.mark.parametrize("sql", ["select 1 -- c", "select /* c */ 1", "select 1 where 1 not in (2) -- not"])
def test_a_text_that_parses_is_judged_as_it_stands(sql: str) -> None:
    verdict = GUARD.check(sql)
    assert (verdict.allowed, verdict.without_comments) == (True, False)


@pytest.mark.parametrize(
    ("sql", "code"),
    [
        ("select '😀' where 1 not /* ☃ */ in (»nextval('s'))", "function_not_allowed"),
        ("select '😀' where 1 not /* ☃ */ in (2); »drop table t", "not_one_statement"),
        ("select '😀' where 1 not /* ☃ */ in (2) »for update", "locking_clause"),
        ("/* ☃ */ »delete from t where 1 not /* ☃ */ in (2)", "not_a_select"),
        ("with x as (»delete from t returning *) table x order by 1 nulls -- é\n last", "data_modifying"),
        ("select 1 where 1 not /* ☃ */ in (2) and »$1 = 1", "parameter_not_allowed"),
        ("select 1 where 1 not /* ☃ */ in (2) »)", "syntax_error"),
        ("select 1 where 1 »not /* ☃ */ in (2) /* no end", "syntax_error"),
        ("select 1 where 1 »not /* ☃ */ in (2) /*/*/", "syntax_error"),
        # no server takes these for one literal
        ("select 'x' /* \n */ »'y'", "syntax_error"),
        ("select 'x' \n /* c */ »'y'", "syntax_error"),
        ("select E'x' /* c */ \n »'y'", "syntax_error"),
        (r"select E'x' -- c" "\n" r" 'y\'', »nextval('s') --'", "function_not_allowed"),
        ("select 'x' -- c\n 'y\\', »nextval('s') --'", "function_not_allowed"),
    ],
)  # fmt: skip
def test_what_is_refused_is_refused_at_its_place(sql: str, code: str) -> None:
    place = sql.index("»")
    verdict = GUARD.check(sql.replace("»", ""))
    assert (verdict.allowed, verdict.code) == (False, code), verdict
    assert verdict.position == place + 1, verdict
    assert sql[place + 1 :][:10].strip() in verdict.detail


@pytest.mark.parametrize(
    ("sql", "bare"),
    [
        ("select 1", None),
        ("select '--', \"/*\", $$--$$, $a$ /* $a$", None),
        ("select a$$ -- c", "select a$$     "),
        ("select 1 +-- c\n2 */* c */ 3 <--", "select 1 +    \n2 *        3 <  "),
        ("select 1--2\r-- c\n", "select 1   \r    \n"),
        ("select /* a\n/* é */ */ 1", "select     \n           1"),
        ("select E'\\'--' -- c", "select E'\\'--'     "),
        ("select '\\' -- c", "select '\\'     "),
        ("select 1 /* c", None),
        ("select 1 -- c\n /*/*/", None),
        ("select 'a' /* c */ 'b'", None),
        ("select 'a' /* c */ || 'b'", "select 'a'         || 'b'"),
    ],
)
def test_comments_are_left_out_and_nothing_else(sql: str, bare: str | None) -> None:
    assert without_comments(sql) == bare


PIECES = st.sampled_from(
    ["select ", " ", "\n", "\r", "\f", "'", "''", "E'", "\\'", '"', "$$", "$t$", "u&'", "/*", "*/", "--",
     "not ", "x", "1", "(", ")", ",", "b'0'", "-", "$", "é", "in (2)", "a$b", "*", "/", "nulls ", "\v"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=16).map("".join))
def test_the_scanner_of_postgres_sees_no_comment_in_what_is_sent(text: str) -> None:
    bare = without_comments(text)
    if bare is None:
        return
    assert len(bare) == len(text)
    assert all(a == b or b == " " for a, b in zip(text, bare, strict=True))
    # blanks stay blanks: nothing that ends a line is lost, and no comment is left to be left out
    assert [c for c in text if c in "\n\r"] == [c for c in bare if c in "\n\r"]
    assert without_comments(bare) is None
    try:
        seen = postgast.scan(bare).tokens
    except postgast.PgQueryError:
        return
    names = seen[0].DESCRIPTOR.fields_by_name["token"].enum_type.values_by_number if seen else {}
    assert not {names[token.token].name for token in seen} & {"SQL_COMMENT", "C_COMMENT"}


@given(st.sampled_from(FORMS), st.lists(PIECES, max_size=10).map("".join))
def test_what_is_allowed_without_comments_is_allowed_as_it_is_sent(form: str, text: str) -> None:
    sql = form.replace("¶", "/* c */") + text
    verdict = GUARD.check(sql)
    assert verdict.allowed <= verdict.without_comments
    if verdict.allowed:
        bare = without_comments(sql)
        assert bare is not None
        assert GUARD.check(bare).allowed


def sent(**changes: object):
    given = {"name": "q", "title": "Q", "data_source_id": 1, "schedule_expr": "PT1M"}
    spec = JobSpec(schedule_type=ScheduleType.INTERVAL, **(given | changes))

    async def check(sql: str, *, places: int):
        return GUARD.check(sql, places=places)

    instead = asyncio.run(judge(check, spec))
    return statement_of(
        spec, SOURCE, params="", scheduled_at=AT, application_name="pgsched:1/1", instead=instead
    )


def test_what_was_judged_is_what_is_sent() -> None:
    parameters = [{"name": "n", "type": "int", "default": {"sql": "(select 1 where 1 not /* c */ in (2))"}}]
    statement = sent(sql_text="select 1 where :n not /* é */ in (2) -- d", parameters=parameters)
    assert statement.sql == "select 1 where $1 not         in (2)     "
    assert statement.arguments[0].sql == "(select 1 where 1 not         in (2))"


def test_a_text_that_parses_is_sent_as_it_stands() -> None:
    parameters = [{"name": "n", "type": "int", "default": {"sql": "1 /* c */"}}]
    statement = sent(sql_text="select :n /*+ a hint */ -- d", parameters=parameters)
    assert statement.sql == "select $1 /*+ a hint */ -- d"
    assert statement.arguments[0].sql == "1 /* c */"


def test_an_expression_cannot_hide_its_end_in_a_comment() -> None:
    for text in ("1 where 1 not /* c */ in (2) /*", "1 not /* c */ in (2)) /* "):
        parameters = [{"name": "n", "type": "int", "default": {"sql": text}}]
        with pytest.raises(SqlNotAllowed):
            sent(sql_text="select :n", parameters=parameters)
