"""Finding parameters in SQL, held against Postgres's own scanner."""

from __future__ import annotations

from itertools import pairwise

import postgast  # imported here: the first import outlasts an example's deadline
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgsched.domain.errors import InvalidInput
from pgsched.domain.sql_parameters import rewrite, tokens_of

NAMES = {"a", "since", "scheduled_at"}
PIECES = st.sampled_from(
    ["select ", " ", "\n", ":a", ":since", "::", ":=", ":", "'", "''", "E'", "\\'", '"', "$$", "$t$", "u&'",
     "/*", "*/", "--", "x", "1", "(", ")", ",", "b'0'", "-", "$", "é", ".5", "a$b", "e", ":e", "n'"]
)  # fmt: skip


@pytest.mark.parametrize(
    ("sql", "rewritten"),
    [
        ("select :since::date", "select $1    ::date"),
        ("select :since, :SINCE, :a", "select $2    , $2    , $1"),
        ("select :other", "select :other"),
        ("select ':a', \":a\", 'it''s :a', b':a', n':a', u&':a'", None),
        (r"select E'\':a', e'\\' || :a", r"select E'\':a', e'\\' || $1"),
        ("select E'x' -- c\n 'y\\':a', :a", "select E'x' -- c\n 'y\\':a', $1"),
        ("select $$ :a $$, $x$ $$ :a $x$, a$b$ from t", None),
        ("select /* :a /* :a */ :a */ 1 -- :a", None),
        ("select f(x := :a, y => :a)", "select f(x := $1, y => $1)"),
        ("select v[1:a], v[(1):a], v[:a], v[1: :a]", "select v[1:a], v[(1):a], v[$1], v[1: $1]"),
        ("select array[:a, (select :a)], v[case when :a then :a end]",
         "select array[$1, (select $1)], v[case when $1 then $1 end]"),
        ("select array[now() at time zone :a], array['x' like :a escape :a], array['x' similar to :a]",
         "select array[now() at time zone $1], array['x' like $1 escape $1], array['x' similar to $1]"),
        ("select array[1 between symmetric :a and 2, 1 between asymmetric :a and 2]",
         "select array[1 between symmetric $1 and 2, 1 between asymmetric $1 and 2]"),
        (r"select json_object('k':e'it\'s :a', 'n':n'\', 'u':u&':a')", None),
        ("select 'x':a, (1):a", "select 'x'$1, (1)$1"),
        ("select ':a", None),
    ],
)  # fmt: skip
def test_only_declared_names_outside_of_literals_are_parameters(sql, rewritten):
    found = rewrite(sql, NAMES)
    assert found.sql == (sql if rewritten is None else rewritten)
    assert len(found.sql) == len(sql)


def test_comments_behind_a_literal_are_read_once():
    """Cut into comments in every way there is, these dashes took hours."""
    for gap in ("-- " * 30_000, "\n" + "-- " * 30_000, "-- \n" * 20_000):
        assert rewrite(f"select :a, E'x'{gap}", NAMES).names == ("a",)


@given(st.lists(PIECES, max_size=14).map("".join))
def test_tokens_leave_nothing_of_the_text_out(sql):
    assert "".join(text for _, _, _, text in tokens_of(sql)) == sql


def test_a_place_of_its_own_is_refused_beside_parameters():
    assert rewrite("select $1", NAMES).names == ()
    with pytest.raises(InvalidInput, match="character 8"):
        rewrite("select $1, :a", NAMES)


@pytest.mark.parametrize("before", ["where", "limit", "5", "a$", "é", "$t$x$t$"])
def test_a_parameter_against_a_word_is_refused_where_it_would_be_part_of_it(before):
    sql = f"select 1 {before}:since"
    with pytest.raises(InvalidInput, match=f"blank before the parameter :since at character {len(sql) - 5}"):
        rewrite(sql, NAMES)
    assert rewrite(sql.replace(":", " :"), NAMES).names == ("since",)


def test_more_one_letter_names_than_digits_are_refused():
    letters = "abcdefghij"
    with pytest.raises(InvalidInput, match="one letter"):
        rewrite("select " + ", ".join(f":{letter}" for letter in letters), set(letters))


@given(st.lists(PIECES, max_size=14).map("".join))
def test_parameters_are_where_the_scanner_of_postgres_sees_a_colon_and_a_name(sql):
    try:
        tokens = postgast.scan(sql).tokens
    except postgast.PgQueryError:
        return  # no SQL at all; that it is refused is the guard's matter
    encoded = sql.encode()
    expected = [
        encoded[word.start : word.end].decode().lower()
        for colon, word in pairwise(tokens)
        if _name_of(colon) == "ASCII_58"
        and word.start == colon.end
        and encoded[word.start : word.end].decode().lower() in NAMES
    ]
    try:
        found = rewrite(sql, NAMES)
    except InvalidInput:
        return  # a $n of its own, or a name against a word
    assert sorted(set(found.names)) == sorted(set(expected))
    assert len(found.sql) == len(sql)
    places = [token for token in postgast.scan(found.sql).tokens if _name_of(token) == "PARAM"]
    assert len(places) == (
        len(expected) if found.names else sum(_name_of(token) == "PARAM" for token in tokens)
    )


def _name_of(token):
    return token.DESCRIPTOR.fields_by_name["token"].enum_type.values_by_number[token.token].name
