"""Write the guard's catalog of built-in functions and operators from live servers.

Usage: ``python bench/function_catalog.py DSN [DSN …] > src/pgsched/adapters/guard/catalog.json``,
one fresh cluster (superuser) per major version, oldest first; the catalogs are united.

``review`` lists every built-in a client can call that is volatile or not executable by PUBLIC,
``extensions`` the same of every extension that the servers can install. Each of them must be decided in
``domain/sql_functions.py`` (a unit test compares): a new major version of Postgres therefore fails the
tests until someone has looked at what it brought.
"""

from __future__ import annotations

import json
import sys
import textwrap

import psycopg
from psycopg import sql

_TO_REVIEW = """bool_or(callable AND (p.provolatile = 'v' OR (p.proacl IS NOT NULL AND NOT EXISTS (
           SELECT FROM aclexplode(p.proacl) AS a
           WHERE a.grantee = 0 AND a.privilege_type = 'EXECUTE'))))"""
_CALLABLE = """CROSS JOIN LATERAL (SELECT NOT 'internal'::regtype = ANY (p.proargtypes)
    AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)) AS c (callable)"""
_MEMBER = """FROM pg_depend AS d WHERE d.objid = p.oid AND d.deptype = 'e'
                  AND d.classid = 'pg_proc'::regclass"""
FUNCTIONS = f"""
SELECT p.proname, {_TO_REVIEW} FROM pg_proc AS p {_CALLABLE}
WHERE p.pronamespace = 'pg_catalog'::regnamespace AND NOT EXISTS (SELECT {_MEMBER})
GROUP BY p.proname
"""
MEMBERS = f"""
SELECT p.proname FROM pg_proc AS p {_CALLABLE} WHERE EXISTS (SELECT {_MEMBER})
GROUP BY p.proname HAVING {_TO_REVIEW}
"""
OPERATORS = "SELECT DISTINCT oprname FROM pg_operator WHERE oprnamespace = 'pg_catalog'::regnamespace"


def main(dsns: list[str]) -> None:
    """Unite the catalogs of the servers and print them as JSON, names wrapped into lines."""
    versions: list[int] = []
    functions: set[str] = set()
    review: set[str] = set()
    operators: set[str] = set()
    members: set[str] = set()
    installed: set[str] = set()
    for dsn in dsns:
        with psycopg.connect(dsn) as connection:
            versions.append(connection.info.server_version // 10000)
            for name, to_review in connection.execute(FUNCTIONS):
                functions.add(name)
                if to_review:
                    review.add(name)
            operators.update(name for (name,) in connection.execute(OPERATORS))
            installed |= install_extensions(connection)
            members.update(name for (name,) in connection.execute(MEMBERS))
            connection.rollback()
    lines = ["{", f' "versions": {json.dumps(versions)},']
    parts = {
        "functions": functions,
        "review": review,
        "installed": installed,
        "extensions": members,
        "operators": operators,
    }
    for key, names in parts.items():
        wrapped = textwrap.wrap(" ".join(sorted(names)), 108, break_long_words=False, break_on_hyphens=False)
        body = ",\n".join("  " + json.dumps(line) for line in wrapped)
        lines.append(f' "{key}": [\n{body}\n ]' + ("," if key != "operators" else ""))
    lines.append("}")
    print("\n".join(lines))


def install_extensions(connection: psycopg.Connection) -> set[str]:
    """Create, in the open transaction, every extension that can be; return their names."""
    installed: set[str] = set()
    for (name,) in connection.execute("SELECT name FROM pg_available_extensions").fetchall():
        statement = sql.SQL("CREATE EXTENSION IF NOT EXISTS {} CASCADE").format(sql.Identifier(name))
        try:
            with connection.transaction():
                connection.execute(statement)
        except psycopg.Error as error:
            print(f"{name} is left out: {str(error).splitlines()[0]}", file=sys.stderr)
        else:
            installed.add(name)
    return installed


if __name__ == "__main__":
    main(sys.argv[1:])
