"""What the guard decides offline, held against the catalogs of every Postgres there is."""

from __future__ import annotations

import psycopg
import pytest
from postgres_fixtures import new_name

from pgsched.adapters.guard.grammar import PostgresGrammarGuard, builtin_catalog
from pgsched.domain.sql_functions import NO_ATTRIBUTES, REVIEWED_ALLOWED
from pgsched.domain.sql_policy import judge_function, judge_relation

GUARD = PostgresGrammarGuard()
BUILT_IN = """p.pronamespace = 'pg_catalog'::regnamespace and not exists (
    select from pg_depend d where d.objid = p.oid and d.deptype = 'e' and d.classid = 'pg_proc'::regclass)"""
TO_DECIDE = f"""
select distinct proname from pg_proc p
where {BUILT_IN} and not 'internal'::regtype = any(proargtypes)
  and prorettype not in ('trigger'::regtype, 'event_trigger'::regtype)
  and (provolatile = 'v' or not has_function_privilege('reader', oid, 'EXECUTE'))"""
#: everything that calls a function without naming it in the statement
UNNAMED_CALLS = """
select 'operator ' || oprname, p.proname from pg_operator
join pg_proc p on p.oid in (oprcode, oprrest, oprjoin)
union all
select format('cast %s to %s', castsource::regtype, casttarget::regtype), p.proname from pg_cast
join pg_proc p on p.oid = castfunc
union all
select 'type ' || typname, p.proname from pg_type
join pg_proc p on p.oid in (typinput, typoutput, typreceive, typsend, typmodin, typmodout, typsubscript)
union all
select 'aggregate ' || aggfnoid::text, p.proname from pg_aggregate
join pg_proc p on p.oid in (aggtransfn, aggfinalfn, aggcombinefn, aggmtransfn, aggminvtransfn, aggmfinalfn)"""
VIEWS = """select viewname, definition from pg_views
where schemaname in ('pg_catalog', 'information_schema')"""


def is_refused(name):
    return judge_function([name], arguments=1, catalog=builtin_catalog(), allow_user_functions=True)


def test_every_function_is_known_and_every_one_with_effects_is_decided(any_pg_server):
    known = {name for (name,) in any_pg_server.execute(f"select proname from pg_proc p where {BUILT_IN}")}
    assert known <= builtin_catalog().functions
    to_decide = {name for (name,) in any_pg_server.execute(TO_DECIDE)}
    assert len(to_decide) > 150
    assert {name for name in to_decide if not is_refused(name)} <= REVIEWED_ALLOWED


def test_no_function_whose_name_is_taken_for_a_column_has_one_argument(any_pg_server):
    callable_with_one = any_pg_server.execute(
        "select distinct proname from pg_proc where provariadic <> 0 or 1 between pronargs - pronargdefaults"
        " and pronargs"
    )
    assert ("nextval",) in callable_with_one
    assert not {name for (name,) in callable_with_one} & NO_ATTRIBUTES


def test_nothing_reaches_a_refused_function_without_naming_it(any_pg_server):
    calls = any_pg_server.execute(UNNAMED_CALLS)
    assert len(calls) > 1000
    assert [call for call in calls if is_refused(call[1])] == []


def test_the_views_of_the_system_pass_or_are_refused_by_name(any_pg_server):
    views = any_pg_server.execute(VIEWS)
    assert len(views) > 100
    for name, definition in views:
        verdict = GUARD.check(definition)
        assert verdict.allowed or judge_relation("", name), (name, verdict)


def test_turkish_folding_is_what_the_guard_takes_it_for(any_pg_server):
    """In a database of a single-byte encoding and a Turkish locale, this name is set_config."""
    sql = "select set_conf\u0130g('work_mem', '2MB', false)"
    assert GUARD.check(sql).code == "function_not_allowed"
    turkish = new_name("turkish")
    try:
        any_pg_server.execute(
            f"create database {turkish} encoding latin5 template template0 locale_provider libc"
            " lc_ctype 'tr_TR.ISO-8859-9' lc_collate 'tr_TR.ISO-8859-9'"
        )
    except psycopg.Error as error:
        pytest.skip(f"this machine has no Turkish locale: {error.diag.message_primary}")
    try:
        conninfo = any_pg_server.conninfo(turkish) + " client_encoding=utf8"
        with psycopg.connect(conninfo) as connection:
            assert connection.execute(sql).fetchall() == [("2MB",)]
    finally:
        any_pg_server.drop(turkish)


#: what an older server may take for a call of a user-defined function, and what it never does
CALLS = {
    "json_scalar('1'::text)": "to_json('1'::text)",
    "json('1'::text)": "('1'::text)::json",
    "json_serialize('1'::text)": "json_serialize('1'::text returning text)",
    "json_exists('1'::text, '$')": "json_exists('1'::text, '$' false on error)",
    "json_query('1'::text, '$')": "json_query('1'::text, '$' returning jsonb)",
    "json_value('1'::text, '$')": "json_value('1'::text, '$' returning text)",
    "json_array('1'::text)": "json_array('1'::text returning json)",
    "json_arrayagg('1'::text)": "json_arrayagg('1'::text returning json)",
    "json_object()": "json_build_object()",
}


def test_no_built_in_of_a_newer_server_runs_a_user_defined_function(any_pg_server):
    name = new_name("newer")
    any_pg_server.execute(f"create database {name}")
    called = 0
    try:
        with psycopg.connect(any_pg_server.conninfo(name), autocommit=True) as connection:
            for call, written in CALLS.items():
                function, arguments = call.split("(")
                types = ", ".join(["text"] * (arguments.count("'") // 2))
                connection.execute(
                    f'create function "{function}"({types}) returns text language sql'
                    " as $$ select 'mine' $$"
                )
                called += answer(connection, call) == "mine"
                assert answer(connection, written) != "mine"
                assert not GUARD.check(f"select {call}", allow_user_functions=False).allowed
                assert GUARD.check(f"select {written}", allow_user_functions=False).allowed
    finally:
        any_pg_server.execute(f"drop database {name}")
    assert (called == len(CALLS)) == (any_pg_server.major < 16)


def answer(connection, expression):
    try:
        [(value,)] = connection.execute(f"select {expression}").fetchall()
    except psycopg.Error as error:
        return error
    return value
