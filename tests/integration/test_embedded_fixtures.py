"""The fixtures themselves: what other tests rely on."""

from __future__ import annotations

import psycopg
import pytest


def test_empty_database_belongs_to_a_role_without_powers(empty_database):
    assert empty_database.execute("SELECT current_database(), current_user") == [
        (empty_database.dbname, "pgsched")
    ]
    assert empty_database.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user") == [(False,)]
    empty_database.execute("CREATE TABLE t (a int)")


def test_source_db_lets_the_reader_read_what_the_setup_created(source_db):
    source_db.execute(
        "CREATE TABLE t (a int); INSERT INTO t VALUES (7); CREATE SCHEMA s; CREATE TABLE s.u ()"
    )
    with psycopg.connect(source_db.conninfo, autocommit=True) as connection:
        assert connection.execute("SELECT a FROM t").fetchall() == [(7,)]
        assert connection.execute("SELECT * FROM s.u").fetchall() == []
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("INSERT INTO t VALUES (8)")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("CREATE TABLE v ()")


def test_reader_cannot_enter_the_applications_database(source_db):
    conninfo = psycopg.conninfo.make_conninfo(source_db.conninfo, dbname="pgsched")
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(conninfo)


def test_any_pg_server_answers_as_its_own_version(any_pg_server):
    assert any_pg_server.execute("SHOW server_version_num")[0][0].startswith(str(any_pg_server.major))


async def test_servers_serve_async_tests_too(pg_server, pg18_server):
    for server, least in ((pg_server, 15), (pg18_server, 18)):
        async with await psycopg.AsyncConnection.connect(server.url()) as connection:
            assert connection.info.server_version // 10000 >= least
