"""The guard on Postgres's own grammar: one statement, which only reads."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from pgsched.adapters.guard.parser import BigStack, Fault, bounded, parse
from pgsched.adapters.guard.places import first, position, tokens
from pgsched.adapters.guard.tree import Judge
from pgsched.domain.sql_comments import without_comments
from pgsched.domain.sql_guard import Rule, Verdict, excerpt
from pgsched.domain.sql_policy import Catalog


class PostgresGrammarGuard:
    """Judges statements with libpg_query (Postgres 18), offline; implements the port SqlGuard.

    Synchronous and CPU-bound: about half a millisecond for a statement of usual size, one to two seconds for
    the worst text of MAX_SQL_BYTES, twice that where its comments have it parsed again. Safe to share between
    threads; statements are judged one at a time.
    """

    def __init__(self) -> None:
        self._stack = BigStack()

    def check(self, sql: str, *, allow_user_functions: bool = True, places: int = 0) -> Verdict:
        """Judge one statement; never raises on any text. Position counts characters from 1.

        Of several faults the first in the text is told. ``allow_user_functions=False`` also refuses
        functions, operators and sampling methods that are not built in, and what is built in on newer
        servers alone where an older one would take it for a call (``json_value(doc, '$.a')``). User-defined
        functions that look like others offline pass: those that overload a built-in name (``lower(1)`` calls
        ``public.lower(int)``) or have that of a later version's (``uuidv7()`` before 18), those called as
        ``row.function``, and casts to user-defined types. The places
        ``$1`` to ``$places`` are bound when it runs; any other is refused.
        """
        return self._stack.run(lambda: _judged(sql, allow_user_functions, places))

    def check_all(
        self, statements: Sequence[tuple[str, int]], *, allow_user_functions: bool = True
    ) -> list[Verdict]:
        """Judge statements, each with its places, with one change of threads for all of them."""
        return self._stack.run(
            lambda: [_judged(sql, allow_user_functions, places) for sql, places in statements]
        )


def _judged(sql: str, allow_user_functions: bool, places: int) -> Verdict:
    judge = _judge_for(allow_user_functions, places)
    try:
        _check(sql, bounded(sql), judge)
    except Fault as fault:
        if fault.rule is not Rule.SYNTAX_ERROR or (bare := without_comments(sql)) is None:
            return _refused(sql, fault)
    else:
        return Verdict.passed()
    # The parser takes comments at some places for errors. What is judged now is what the source will get.
    try:
        _check(bare, bare.encode(), judge)
    except Fault as fault:
        return _refused(sql, fault)
    return Verdict.passed(without_comments=True)


def _check(sql: str, encoded: bytes, judge: Judge) -> None:
    tree = parse(sql)
    if not tree.stmts:
        raise Fault(Rule.EMPTY_STATEMENT, "there is no statement; write one SELECT", None)
    if len(tree.stmts) > 1:
        begin = tree.stmts[1].stmt_location
        offset = next(token.start for token in tokens(sql, encoded) if token.start >= begin)
        detail = "another statement begins; write exactly one statement"
        raise Fault(Rule.NOT_ONE_STATEMENT, detail, position(encoded, offset))
    if b";" in encoded[: max(0, tree.stmts[0].stmt_location)]:
        # after comments, which are fine, or after semicolons, which DECLARE would not take
        token = tokens(sql, encoded)[0]
        if token.name == "ASCII_59":
            detail = "a semicolon stands before the statement; write exactly one statement"
            raise Fault(Rule.NOT_ONE_STATEMENT, detail, position(encoded, token.start))
    statement = tree.stmts[0].stmt
    if statement.WhichOneof("node") != "select_stmt":
        detail = "only SELECT, WITH … SELECT, VALUES and TABLE are allowed, and they only read"
        raise Fault(Rule.NOT_A_SELECT, detail, position(encoded, tokens(sql, encoded)[0].start))
    found = first(sql, encoded, judge.findings(statement))
    if found is not None:
        place, finding = found
        raise Fault(finding.rule, finding.detail, place)


def _refused(sql: str, fault: Fault) -> Verdict:
    # The parser quotes the text at the fault, all of it where a quote is never closed.
    too_long = fault.rule is Rule.SYNTAX_ERROR and len(fault.detail) > 200
    told = excerpt(fault.detail, 1) if too_long else fault.detail
    told = "".join(c if c.isprintable() else " " for c in told)
    if fault.position is not None and (shown := excerpt(sql, fault.position)):
        told = f"{told}; at: {shown}"
    return Verdict.refused(fault.rule, told, fault.position)


@cache
def builtin_catalog() -> Catalog:
    """Return the functions and operators of Postgres 15 to 18, from the file beside this module."""
    data = json.loads(files("pgsched.adapters.guard").joinpath("catalog.json").read_text())
    names = {key: frozenset(" ".join(data[key]).split()) for key in ("functions", "operators")}
    return Catalog(functions=names["functions"], operators=names["operators"])


@cache
def _judge_for(allow_user_functions: bool, places: int) -> Judge:
    return Judge(catalog=builtin_catalog(), allow_user_functions=allow_user_functions, places=places)
