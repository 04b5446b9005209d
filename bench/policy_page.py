"""Print the reference page of the guard's function policy from the table in the code.

Usage: ``python bench/policy_page.py > docs/reference/sql-functions.md`` (a unit test compares).
"""

from __future__ import annotations

from textwrap import fill

from pgsched.domain import sql_extensions as extensions
from pgsched.domain import sql_functions as table
from pgsched.domain.sql_functions import Effect
from pgsched.domain.sql_policy import way_out

HEAD = """# Functions that queries may not call

What [the guard](errors.md#rules-of-the-guard) refuses as `function_not_allowed`, by what a function can do.
The tables are `domain/sql_functions.py` and `domain/sql_extensions.py`, reviewed against live catalogs of
Postgres 15, 16, 17 and 18 and their extensions; this page is printed from them (`bench/policy_page.py`) and
held against them by a test.
Why so: [decision 4](../decisions/0004-sql-guard.md).

Built-ins are refused called bare or as `pg_catalog.name`, extensions' functions in any schema. `name*` stands
for every name that begins so. What is in no list only computes or reads, and is allowed; `pg_sleep` only
waits, and every timeout ends it. The calls `x.name` and `(x).name` are judged like `name(x)`: a column with
the name of a refused function has to be written without its table's name. Not so where that cannot call the
function: {columns}.
"""
RELATIONS = """## Tables and views

Refused as `relation_not_allowed`, because selecting from them reads the server's files:
"""
USER_DEFINED = """## User-defined functions

Everything else that is no built-in. Allowed, unless the source has `allow_user_functions` false; then refused
as `user_function_not_allowed`, with operators and sampling methods that are not built in.

Offline some user-defined functions cannot be told from built-ins, and run with that setting off, too:

- one that overloads a built-in name: `lower(1)` calls `public.lower(int)` where there is one, because no
  built-in takes an integer
- one that has the name of a built-in of a later version than the source's: `uuidv7()` before 18,
  `any_value(x)` before 16; `pg_catalog.uuidv7()` is nobody else's
- one called as a column, `(row).function`
- those behind a cast to a user-defined type, and behind a bare operator on such a type

With it off, `json(…)`, `json_scalar(…)`, `json_serialize(…)`, `json_exists(…)`, `json_query(…)` and
`json_value(…)`, which are built in from Postgres 17 on, and `json_array(…)`, `json_arrayagg(…)` and
`json_object()`, from 16 on, are refused where nothing but arguments stands between the brackets: an older
server would call a user-defined function of that name, and the guard does not ask which server it is. Written
out they pass: `json_value(doc, '$.a' RETURNING text)`, `json_exists(doc, '$.a' FALSE ON ERROR)`; the refusal
says how.
"""


def page() -> str:
    """Return the page as Markdown."""
    names = [*sorted(table.NO_ATTRIBUTES), *(f"{prefix}*" for prefix in extensions.NO_ATTRIBUTE_PREFIXES)]
    columns = ", ".join(f"`{name}`" for name in names)
    parts = [HEAD.format(columns=columns)]
    for effect in Effect:
        if effect in (Effect.UNREVIEWED, Effect.USER_DEFINED):
            continue
        parts.append(f"## It {effect}\n\nRefused because {table.WHY[effect]}.\nInstead: {way_out(effect)}.\n")
        parts.append(_listed("Built in", table.REFUSED_BUILTINS, table.BUILTIN_PREFIXES, effect))
        shapes = (*extensions.EXTENSION_PREFIXES, *((f"{a}*{b}", e) for a, b, e in extensions.EXTENSION_ENDS))
        schemas = [
            f"every function of schema `{s}`" for s, e in extensions.EXTENSION_SCHEMAS.items() if e is effect
        ]
        parts.append(_listed("Extensions", extensions.REFUSED_EXTENSIONS, shapes, effect, schemas))
    relations = ", ".join(f"`{name}`" for name in sorted(table.REFUSED_RELATIONS))
    parts += [f"{RELATIONS}{relations}.\n", USER_DEFINED]
    return "\n".join(part for part in parts if part)


def _listed(
    head: str,
    names: dict[str, Effect],
    shapes: tuple[tuple[str, Effect], ...],
    effect: Effect,
    more: list[str] | None = None,
) -> str:
    told = [f"`{name}`" for name, its in sorted(names.items()) if its is effect]
    told += [f"`{shape}`" if "*" in shape else f"`{shape}*`" for shape, its in shapes if its is effect]
    told += more or []
    return fill(f"{head}: {', '.join(told)}.", 110, break_on_hyphens=False) + "\n" if told else ""


if __name__ == "__main__":
    print(page(), end="")
