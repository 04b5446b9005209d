"""Write the guard's catalog of built-in functions and operators from live servers.

Usage: ``python bench/function_catalog.py DSN [DSN …] > src/pgsched/adapters/guard/catalog.json``,
one fresh cluster (superuser) per major version, oldest first; the catalogs are united.

``review`` lists every built-in a client can call that is volatile or not executable by PUBLIC. Each of
them must be decided in ``domain/sql_policy.py`` (a unit test compares): a new major version of Postgres
therefore fails the tests until someone has looked at what it brought.
"""

from __future__ import annotations

import json
import sys
import textwrap

import psycopg

FUNCTIONS = """
SELECT p.proname,
       bool_or(callable AND (p.provolatile = 'v' OR (p.proacl IS NOT NULL AND NOT EXISTS (
           SELECT FROM aclexplode(p.proacl) AS a
           WHERE a.grantee = 0 AND a.privilege_type = 'EXECUTE'))))
FROM pg_proc AS p
CROSS JOIN LATERAL (SELECT NOT 'internal'::regtype = ANY (p.proargtypes)
    AND p.prorettype NOT IN ('trigger'::regtype, 'event_trigger'::regtype)) AS c (callable)
WHERE p.pronamespace = 'pg_catalog'::regnamespace
  AND NOT EXISTS (SELECT FROM pg_depend AS d WHERE d.objid = p.oid AND d.deptype = 'e'
                  AND d.classid = 'pg_proc'::regclass)
GROUP BY p.proname
"""
OPERATORS = "SELECT DISTINCT oprname FROM pg_operator WHERE oprnamespace = 'pg_catalog'::regnamespace"


def main(dsns: list[str]) -> None:
    """Unite the catalogs of the servers and print them as JSON, names wrapped into lines."""
    versions: list[int] = []
    functions: set[str] = set()
    review: set[str] = set()
    operators: set[str] = set()
    for dsn in dsns:
        with psycopg.connect(dsn) as connection:
            versions.append(connection.info.server_version // 10000)
            for name, to_review in connection.execute(FUNCTIONS):
                functions.add(name)
                if to_review:
                    review.add(name)
            operators.update(name for (name,) in connection.execute(OPERATORS))
    lines = ["{", f' "versions": {json.dumps(versions)},']
    for key, names in (("functions", functions), ("review", review), ("operators", operators)):
        wrapped = textwrap.wrap(" ".join(sorted(names)), 108, break_long_words=False, break_on_hyphens=False)
        body = ",\n".join("  " + json.dumps(line) for line in wrapped)
        lines.append(f' "{key}": [\n{body}\n ]' + ("," if key != "operators" else ""))
    lines.append("}")
    print("\n".join(lines))


if __name__ == "__main__":
    main(sys.argv[1:])
