from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgsched.config.dsn import KEYWORDS, conninfo, shown

# what libpq can hold: no NUL; Python cannot encode lone surrogates
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=1, max_size=20)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "postgresql://u:p@h:5433/db",
            {"user": "u", "password": "p", "host": "h", "port": "5433", "dbname": "db"},
        ),
        ("postgres://h/db", {"host": "h", "dbname": "db"}),
        (
            "postgresql+psycopg://u@h/db?sslmode=require",
            {"user": "u", "host": "h", "dbname": "db", "sslmode": "require"},
        ),
        ("postgresql://", {}),
        ("postgresql:///db?host=/run/postgresql", {"dbname": "db", "host": "/run/postgresql"}),
        ("postgresql://%2Frun%2Fpostgresql/db", {"host": "/run/postgresql", "dbname": "db"}),
        ("postgresql://[2001:db8::1]:5432/db", {"host": "2001:db8::1", "port": "5432", "dbname": "db"}),
        ("postgresql://a:1,b:2/db", {"host": "a,b", "port": "1,2", "dbname": "db"}),
        (
            "postgresql://u:p%40ss%2Fw%25d@h/d%20b",
            {"user": "u", "password": "p@ss/w%d", "host": "h", "dbname": "d b"},
        ),
        ("host=h dbname=db", {"host": "h", "dbname": "db"}),
        ("host = h  password = 'it\\'s \\\\ here' ", {"host": "h", "password": "it's \\ here"}),
        ("host=h password=''", {"host": "h", "password": ""}),
        ("password=a\\ b host=h", {"password": "a b", "host": "h"}),
        ("password=it's host=h", {"password": "it's", "host": "h"}),
    ],
)
def test_dsn_is_read_in_all_its_forms(text: str, expected: dict[str, str]) -> None:
    assert conninfo_to_dict(conninfo(text)) == expected
    if "+" not in text:
        # libpq reads the original alike
        assert conninfo_to_dict(text) == expected


@given(texts, texts, texts)
def test_dsn_uri_keeps_every_character(user: str, password: str, dbname: str) -> None:
    uri = (
        f"postgresql+psycopg://{quote(user, safe='')}:{quote(password, safe='')}@h:1/{quote(dbname, safe='')}"
    )
    found = conninfo_to_dict(conninfo(uri))
    assert found == {"user": user, "password": password, "host": "h", "port": "1", "dbname": dbname}


@given(texts, texts)
def test_dsn_pairs_keep_every_character(password: str, dbname: str) -> None:
    found = conninfo_to_dict(conninfo(make_conninfo(password=password, dbname=dbname, host="h")))
    assert found == {"password": password, "dbname": dbname, "host": "h"}


@given(st.text(alphabet="ab=' \\,:@/?&%4[]-.0", max_size=30))
def test_dsn_that_is_accepted_means_to_libpq_what_it_meant(text: str) -> None:
    for form in (text, f"postgresql://{text}"):
        try:
            found = conninfo(form)
        except ValueError:
            continue
        assert conninfo_to_dict(found) == conninfo_to_dict(form)


@pytest.mark.parametrize(
    "text",
    [
        "hunter22",
        "mysql://u:hunter22@h/db",
        "postgresql+asyncpg://u:hunter22@h/db",
        "postgresql://u:hunter22@x@h/db",
        "postgresql://u:hunter22/x@h/db",
        "postgresql://u:hunter22%zz@h/db",
        "postgresql://u:hunter22 x@h/db",
        "postgresql://u@h/db?password=hunter22=x",
        "postgresql://u@h/db?passwort=hunter22",
        "postgresql://u@h:hunter22/db",
        "host=h password=my hunter22",
        "host=h password='hunter22",
        "host=h password=my hunter22=x",
        "host=h port=hunter22",
        "host=h sslmode=hunter22",
        "host=h port=70000",
    ],
)
def test_dsn_fault_says_a_fix_and_shows_nothing(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        conninfo(text)
    detail = str(caught.value)
    assert "hunter22" not in detail
    assert "write" in detail or "percent-encode" in detail


def test_dsn_fault_names_the_option_that_was_meant() -> None:
    with pytest.raises(ValueError, match="did you mean sslmode"):
        conninfo("host=h sslmod=require")


def test_dsn_knows_every_option_of_the_linked_libpq() -> None:
    from psycopg import pq

    assert {option.keyword.decode() for option in pq.Conninfo.get_defaults()} <= KEYWORDS


def test_dsn_is_shown_without_its_password() -> None:
    assert shown(conninfo("postgresql://u:hunter22@db.example.com/app")) == "db.example.com:5432/app"
    assert shown(conninfo("dbname=app password=hunter22")) == "(default host):5432/app"
