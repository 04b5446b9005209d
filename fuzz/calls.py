"""A call of every built-in function, its arguments typed so that the server finds it."""

from __future__ import annotations

import psycopg

_FUNCTIONS = """
select p.proname, p.prokind, p.proretset,
       array(select format_type(t, null) from unnest(p.proargtypes) with ordinality as a (t, n) order by n)
from pg_proc p
where p.pronamespace = 'pg_catalog'::regnamespace and prokind in ('f', 'a', 'w')
  and p.prorettype not in ('trigger'::regtype, 'event_trigger'::regtype)
  and not 'internal'::regtype = any(p.proargtypes)
order by p.oid"""
#: a value of a type as text; what is not here is tried with NULL
_VALUES = {
    "text": "'canary'",
    "name": "'canary'",
    "cstring": "'canary'",
    '"char"': "'c'",
    "character varying": "'c'",
    "character": "'c'",
    "integer": "1",
    "smallint": "1",
    "bigint": "1",
    "numeric": "1.5",
    "real": "1.5",
    "double precision": "1.5",
    "boolean": "true",
    "bytea": "'canary'",
    "oid": "4242",
    "regclass": "'orders'",
    "json": "'{\"a\": 1}'",
    "jsonb": "'{\"a\": 1}'",
    "jsonpath": "'$.a'",
    "xml": "'<a>1</a>'",
    "date": "'2026-01-01'",
    "timestamp with time zone": "'2026-01-01'",
    "interval": "'1 second'",
    "timestamp without time zone": "'2026-01-01'",
    "time without time zone": "'10:00'",
    "uuid": "'00000000-0000-0000-0000-000000000001'",
    "time with time zone": "'10:00+00'",
    "tsquery": "'a & b'",
    "tsvector": "'a b'",
    "regconfig": "'english'",
    "inet": "'127.0.0.1'",
    "cidr": "'10.0.0.0/8'",
    "point": "'1,1'",
    "bit": "b'1'",
    "bit varying": "b'101'",
    "money": "'1'",
    "int4range": "'[1,5)'",
    "pg_lsn": "'0/0'",
    "xid": "'1'",
    "xid8": "'1'",
    "tid": "'(0,1)'",
    "regprocedure": "'sneak()'",
    "regproc": "'sneak'",
    "regtype": "'int4'",
    "regrole": "'canary_reader'",
    "regnamespace": "'public'",
    "anyarray": "array[1, 2]",
    "anyelement": "1",
    "anycompatible": "1",
    "anycompatiblearray": "array[1]",
    "anyrange": "int4range(1, 5)",
    "anynonarray": "1",
    "text[]": "array['canary', 'x']",
    "integer[]": "array[1, 2]",
    "oid[]": "array[4242]::oid[]",
    '"any"': "'canary'::text",
    "refcursor": "'canary'",
    "record": "row(1, 2)",
    "pg_snapshot": "'1:1:'",
}
#: pseudo-types: their values are not cast
_BARE = frozenset(
    {
        "anyarray",
        "anyelement",
        "anycompatible",
        "anycompatiblearray",
        "anyrange",
        "anynonarray",
        '"any"',
        "record",
    }
)


def calls(conninfo: str) -> list[str]:
    """Return a SELECT for each function of pg_catalog that can be called, and one with NULLs."""
    with psycopg.connect(conninfo) as connection:
        functions = connection.execute(_FUNCTIONS).fetchall()
    statements = []
    for name, kind, is_set, types in functions:
        for values in (_arguments(types, nulls=False), _arguments(types, nulls=True)) if types else ([],):
            call = f'pg_catalog."{name}"({", ".join(values)})'
            if kind == "w":
                call += " over ()"
            statements.append(f"select * from {call} f" if is_set else f"select {call}")
    return list(dict.fromkeys(statements))


def _arguments(types: list[str], *, nulls: bool) -> list[str]:
    found = []
    for each in types:
        value = "null" if nulls else _VALUES.get(each, "null")
        found.append(value if each in _BARE and value != "null" else f"{value}::{_castable(each)}")
    return found


def _castable(type_name: str) -> str:
    polymorphic = {
        "anyelement": "int",
        "anyarray": "int[]",
        "anynonarray": "int",
        "anycompatible": "int",
        "anycompatiblearray": "int[]",
        "anyrange": "int4range",
        "anymultirange": "int4multirange",
        "anycompatiblerange": "int4range",
        "anycompatiblemultirange": "int4multirange",
        "anyenum": "text",
        "anycompatiblenonarray": "int",
        '"any"': "text",
        "record": "record",
        "record[]": "text[]",
    }
    return polymorphic.get(type_name, type_name)
