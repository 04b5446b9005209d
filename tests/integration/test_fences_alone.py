"""Each fence behind the guard holds alone: the others are taken away, and hostile statements are let in."""

from __future__ import annotations

import contextlib

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.pq import Conninfo
from source_fixtures import address_of, run, run_at, statement

from pgsched.adapters.guard.grammar import PostgresGrammarGuard
from pgsched.adapters.source import cursor
from pgsched.adapters.source.connections import RootCertificates, parameters
from pgsched.adapters.source.pins import BEGIN, pins_for
from pgsched.adapters.source.session import Command, Defaults
from pgsched.adapters.source.sources import PsycopgSources
from pgsched.domain.errors import QueryFailed


@pytest.fixture
async def sources():
    sources = PsycopgSources()
    yield sources
    await sources.close()


@pytest.fixture
def shop(source_db):
    """A source whose reader may write, if the fence that is tried did not stop it."""
    source_db.execute(
        "create table orders (id int); insert into orders values (1);"
        "create sequence numbers;"
        "grant insert, update, delete, truncate on orders to reader;"
        "grant usage on sequence numbers to reader;"
        "create function sneak() returns int language sql volatile as"
        " 'insert into orders values (9) returning id';"
    )
    return source_db


def untouched(shop):
    return shop.execute("select id from orders") == [(1,)] and shop.execute(
        "select is_called from numbers"
    ) == [(False,)]


#: what the protocol alone must stop: more than one statement, and what no cursor is for
SHAPES = [
    "commit; insert into orders values (2)",
    "select 1; insert into orders values (2)",
    "select 1; commit; truncate orders",
    "insert into orders values (2) returning id",
    "update orders set id = 2 returning id",
    "delete from orders returning id",
    "merge into orders o using (select 1 as i) s on o.id = s.i when matched then delete",
    "with gone as (delete from orders returning id) select * from gone",
    "with a as (with b as (insert into orders values (2) returning id) select * from b) select * from a",
    "select id into stolen from orders",
    "explain analyze delete from orders",
    "copy orders from program 'echo 2'",
    "do $$ begin delete from orders; end $$",
    "create table stolen as select 1 as a",
    "set transaction read write",
    "truncate orders",
    "call sneak()",
    "execute anything",
    "declare other cursor with hold for select 1",
    "begin",
    "rollback; insert into orders values (2)",
]


async def test_the_named_cursor_holds_in_a_transaction_that_may_write(shop, sources, monkeypatch):
    monkeypatch.setattr(cursor, "BEGIN", Command(sql=b"BEGIN READ WRITE"))
    monkeypatch.setattr(cursor, "ROLLBACK", Command(sql=b"COMMIT"))
    for sql in SHAPES:
        with pytest.raises(QueryFailed):
            await run(sources, shop, sql)
        assert untouched(shop), sql


async def test_the_named_cursor_alone_lets_functions_write(shop, sources, monkeypatch):
    """So that the test above can fail: the transaction really may write."""
    monkeypatch.setattr(cursor, "BEGIN", Command(sql=b"BEGIN READ WRITE"))
    monkeypatch.setattr(cursor, "ROLLBACK", Command(sql=b"COMMIT"))
    await run(sources, shop, "select sneak() as a")
    assert not untouched(shop)


#: what READ ONLY alone must stop, statement by statement
WRITES = [
    "insert into orders values (2)",
    "update orders set id = 2",
    "delete from orders",
    "truncate orders",
    "with gone as (delete from orders returning id) select * from gone",
    "select sneak()",
    "select nextval('numbers')",
    "select * from orders for update",
    "create table stolen as select 1 as a",
    "select id into stolen from orders",
    "drop table orders",
    "grant all on orders to public",
    "comment on table orders is 'x'",
    "set transaction read write",
    "select set_config('transaction_read_only', 'off', false)",
    "set session characteristics as transaction read write; insert into orders values (2)",
    "explain analyze delete from orders",
    "do $$ begin delete from orders; end $$",
    "execute orders_thief",
    "vacuum orders",
]


def test_read_only_holds_without_a_cursor(shop):
    pinned = pins_for(statement("select 1"), Defaults())
    with psycopg.connect(make_conninfo(**address_keywords(shop)), autocommit=True) as connection:
        connection.execute("prepare orders_thief as delete from orders")
        for sql in WRITES:
            connection.execute(BEGIN.sql)
            connection.pgconn.exec_params(pinned.sql, list(pinned.params))
            with pytest.raises(psycopg.Error):
                connection.execute(sql)
            connection.rollback()
            assert untouched(shop), sql


def address_keywords(shop):
    return {
        "host": shop.host,
        "port": shop.port,
        "dbname": shop.dbname,
        "user": shop.username,
        "password": shop.password,
    }


def test_the_role_holds_alone(source_db):
    source_db.execute(
        "create table orders (id int); insert into orders values (1); create sequence numbers;"
        "create function sneak() returns int language sql volatile as 'delete from orders returning id'"
    )
    with psycopg.connect(make_conninfo(**address_keywords(source_db)), autocommit=True) as connection:
        for sql in (*SHAPES, *WRITES):
            with contextlib.suppress(psycopg.Error):
                connection.execute(sql)
            # "commit; …" and "begin" end, or begin, a transaction: what is committed counts
            connection.commit()
            assert untouched(source_db), sql
    assert source_db.execute("select to_regclass('stolen')") == [(None,)]


async def test_one_statement_to_the_guard_is_one_to_a_server_that_reads_backslashes(shop, sources):
    """With standard_conforming_strings off this text is two statements; the session pins it."""
    sql = r"select '\' as a, '; insert into orders values (2); --' as b"
    assert PostgresGrammarGuard().check(sql).allowed
    shop.execute("alter role reader set standard_conforming_strings = off")
    try:
        outcome = await run(sources, shop, sql)
    finally:
        shop.execute("alter role reader reset all")
    assert outcome.data == [{"a": "\\", "b": "; insert into orders values (2); --"}]
    assert untouched(shop)


def test_no_parameter_of_libpq_is_left_to_this_machine(source_db):
    """Whatever this libpq knows is given, has no variable, or cannot be set by one that is not PG*."""
    given = parameters(address_of(source_db), "127.0.0.1", RootCertificates())
    for option in Conninfo.get_defaults():
        name, variable = option.keyword.decode(), (option.envvar or b"").decode()
        assert name in given or not variable or variable.startswith("PG"), name
    files = {name for name in given if name.endswith(("file", "cert", "key", "crl", "crldir"))}
    assert {"passfile", "sslcert", "sslkey", "sslrootcert", "sslcrl", "sslcrldir"} <= files


async def test_a_password_goes_where_its_source_says_alone(sources, source_db):
    """The address is keyword by keyword: no part of it reaches another parameter."""
    for field, text in (
        ("dbname", "x host=203.0.113.1 password=stolen"),
        ("dbname", "postgresql://203.0.113.1/x"),
        ("username", "reader' host='203.0.113.1"),
    ):
        address = address_of(source_db, **{field: text})
        report = await sources.inspect(address)
        # the real server answers, and knows no such database or role
        assert report.error_code == "source_auth", report
    with pytest.raises(QueryFailed):
        await run_at(sources, address_of(source_db), statement("select no_such_column"))
