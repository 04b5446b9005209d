"""Finding parameters in SQL, held against Postgres's own scanner."""

from __future__ import annotations

from itertools import pairwise

import postgast  # imported here: the first import outlasts an example's deadline
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pgsched.domain.errors import InvalidInput
from pgsched.domain.sql_parameters import rewrite

NAMES = {"a", "since", "scheduled_at"}


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
        ("select ':a", None),
    ],
)  # fmt: skip
def test_only_declared_names_outside_of_literals_are_parameters(sql, rewritten):
    found = rewrite(sql, NAMES)
    assert found.sql == (sql if rewritten is None else rewritten)
    assert len(found.sql) == len(sql)


def test_a_place_of_its_own_is_refused_beside_parameters():
    assert rewrite("select $1", NAMES).names == ()
    with pytest.raises(InvalidInput, match="character 8"):
        rewrite("select $1, :a", NAMES)


def test_more_one_letter_names_than_digits_are_refused():
    letters = "abcdefghij"
    with pytest.raises(InvalidInput, match="one letter"):
        rewrite("select " + ", ".join(f":{letter}" for letter in letters), set(letters))


PIECES = st.sampled_from(
    ["select ", " ", "\n", ":a", ":since", "::", ":=", ":", "'", "''", "E'", "\\'", '"', "$$", "$t$", "u&'",
     "/*", "*/", "--", "x", "1", "(", ")", ",", "b'0'", "-", "$", "é", ".5", "a$b"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=14).map("".join))
def test_parameters_are_where_the_scanner_of_postgres_sees_a_colon_and_a_name(sql):
    try:
        tokens = postgast.scan(sql).tokens
    except postgast.PgQueryError:
        return  # no SQL at all; that it is refused is the guard's matter
    encoded = sql.encode()
    names = tokens[0].DESCRIPTOR.fields_by_name["token"].enum_type.values_by_number if tokens else {}
    expected = [
        encoded[word.start : word.end].decode().lower()
        for colon, word in pairwise(tokens)
        if names[colon.token].name == "ASCII_58"
        and word.start == colon.end
        and encoded[word.start : word.end].decode().lower() in NAMES
    ]
    try:
        found = rewrite(sql, NAMES)
    except InvalidInput:
        return  # a $n of its own
    assert sorted(set(found.names)) == sorted(set(expected))
    assert len(found.sql) == len(sql)
