"""Which functions and relations a scheduled query may use: the reviewed table applied to a name.

What is in no list of ``domain/sql_functions.py`` and ``domain/sql_extensions.py`` only computes or reads. The
trusted fences stand behind: READ ONLY refuses writes to tables, but not locks, signals, notifications,
transaction ids, files, connections or settings, which is what the tables are for.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pgsched.domain.sql_extensions import (
    EXTENSION_ENDS,
    EXTENSION_PREFIXES,
    EXTENSION_SCHEMAS,
    NO_ATTRIBUTE_PREFIXES,
    REFUSED_EXTENSIONS,
)
from pgsched.domain.sql_functions import (
    BUILTIN_PREFIXES,
    DEFAULT_WAY_OUT,
    NO_ATTRIBUTES,
    REFUSED_BUILTINS,
    REFUSED_RELATIONS,
    REVIEWED_ALLOWED,
    WAY_OUT,
    Effect,
)

_BUILTIN_SCHEMAS = ("pg_catalog", "information_schema")
#: nearly all names begin with none of the prefixes, which one question tells
_BUILTIN_BEGINNINGS = tuple(prefix for prefix, _ in BUILTIN_PREFIXES)
_EXTENSION_BEGINNINGS = tuple(prefix for prefix, _ in EXTENSION_PREFIXES)
_EXTENSION_ENDINGS = tuple(end for _, end, _ in EXTENSION_ENDS)


@dataclass(frozen=True, kw_only=True, slots=True)
class Catalog:
    """What Postgres itself defines, over all reviewed versions."""

    #: names of the functions of pg_catalog
    functions: frozenset[str]
    #: symbols of the operators of pg_catalog
    operators: frozenset[str]


def judge_function(
    name: Sequence[str], *, arguments: int, catalog: Catalog, allow_user_functions: bool
) -> Effect | None:
    """Return why the function must not be called, None when it may be.

    Args:
        name: the parts as the parser folded them, e.g. ``("pg_catalog", "nextval")``.
        arguments: how many arguments the call has (``ts_rewrite`` runs SQL text with two of them).
        catalog: the built-ins.
        allow_user_functions: whether functions that are no built-ins are allowed.
    """
    schema, last = (_folded(name[-2]) if len(name) > 1 else None), _folded(name[-1])
    effect = REFUSED_EXTENSIONS.get(last) or _by_shape(last)
    if effect is None and schema is not None:
        effect = EXTENSION_SCHEMAS.get(schema)
    if effect is None and schema in (None, "pg_catalog"):
        effect = REFUSED_BUILTINS.get(last)
        if effect is None and last.startswith(_BUILTIN_BEGINNINGS) and last not in REVIEWED_ALLOWED:
            effect = _by_prefix(last, BUILTIN_PREFIXES)
        if last == "ts_rewrite" and arguments == 2:
            effect = Effect.RUNS_SQL
    if effect is not None:
        return effect
    if schema == "pg_catalog" and last not in catalog.functions:
        return Effect.UNREVIEWED
    if allow_user_functions or _is_builtin(schema, last, catalog.functions):
        return None
    return Effect.USER_DEFINED


def judge_attribute(name: str, *, catalog: Catalog) -> Effect | None:
    """Return why ``x.name`` must not stand in a query, None when it may.

    Postgres takes it for ``name(x)`` where x has no such column, and x may be any scalar:
    ``('s'::regclass).nextval``, ``f.pg_read_file FROM cast('/etc/passwd' AS text) AS f``.
    """
    if _folded(name) in NO_ATTRIBUTES or name.startswith(NO_ATTRIBUTE_PREFIXES):
        return None
    return judge_function([name], arguments=1, catalog=catalog, allow_user_functions=True)


def judge_relation(schema: str | None, name: str) -> Effect | None:
    """Return why the table or view must not be read, None when it may be."""
    if _folded(name) in REFUSED_RELATIONS and schema in (None, "", "pg_catalog"):
        return Effect.FILES
    return None


def judge_operator(name: Sequence[str], *, catalog: Catalog) -> Effect | None:
    """Return USER_DEFINED when the operator (``+``, or ``schema`` and ``+``) is no built-in, else None."""
    schema = name[-2] if len(name) > 1 else None
    return None if _is_builtin(schema, name[-1], catalog.operators) else Effect.USER_DEFINED


def way_out(effect: Effect) -> str:
    """Return what to do instead of calling a function with that effect."""
    return WAY_OUT.get(effect, DEFAULT_WAY_OUT)


def _is_builtin(schema: str | None, last: str, names: Collection[str]) -> bool:
    return schema in _BUILTIN_SCHEMAS or (schema is None and last in names)


def _folded(name: str) -> str:
    """Return a name as the server may fold it.

    Where a database has a single-byte encoding, letters beyond ASCII are folded by its locale, and Turkish
    has one that ends in ASCII: ``set_confİg`` is set_config there (LATIN5, tried on 15 and 18).
    """
    return name if name.isascii() else name.replace("\u0130", "i")


def _by_shape(name: str) -> Effect | None:
    if name.startswith(_EXTENSION_BEGINNINGS):
        return _by_prefix(name, EXTENSION_PREFIXES)
    if not name.endswith(_EXTENSION_ENDINGS):
        return None
    # what begins has ended before the end begins: pg_reset is none of pg_*_reset
    return next(
        (
            effect
            for begin, end, effect in EXTENSION_ENDS
            if name.startswith(begin) and name.endswith(end) and len(name) > len(begin) + len(end)
        ),
        None,
    )


def _by_prefix(name: str, prefixes: Sequence[tuple[str, Effect]]) -> Effect | None:
    return next((effect for prefix, effect in prefixes if name.startswith(prefix)), None)
