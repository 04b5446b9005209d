"""The guard on Postgres's own grammar: one statement, which only reads."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from itertools import pairwise

from pgsched.adapters.guard.parser import BigStack, Fault, bounded, parse, tokens
from pgsched.adapters.guard.tree import Finding, Judge
from pgsched.domain.sql_guard import Rule, Verdict, excerpt
from pgsched.domain.sql_policy import Catalog

#: what follows FOR in a locking clause, by the scanner's names
_LOCK_WORDS = frozenset({"UPDATE", "NO", "SHARE", "KEY"})


class PostgresGrammarGuard:
    """Judges statements with libpg_query (Postgres 18), offline; implements the port SqlGuard.

    Synchronous and CPU-bound: about half a millisecond for a statement of usual size, about a second for
    the worst text of MAX_SQL_BYTES. Safe to share between threads; statements are judged one at a time.
    """

    def __init__(self) -> None:
        self._stack = BigStack()

    def check(self, sql: str, *, allow_user_functions: bool = True) -> Verdict:
        """Judge one statement; never raises on any text. Position counts characters from 1.

        Of several faults the first in the text is told. ``allow_user_functions=False`` also refuses
        functions, operators and sampling methods that are not built in; casts to user-defined types and
        attribute notation (``row.function``) cannot be told apart from columns offline and pass.
        """
        try:
            encoded = bounded(sql)
            return self._stack.run(lambda: _judge(sql, encoded, allow_user_functions))
        except Fault as fault:
            return _verdict(sql, fault.rule, fault.detail, fault.position)


def _judge(sql: str, encoded: bytes, allow_user_functions: bool) -> Verdict:
    tree = parse(sql)
    if not tree.stmts:
        return _verdict(sql, Rule.EMPTY_STATEMENT, "there is no statement; write one SELECT", None)
    if len(tree.stmts) > 1:
        offset = next(start for _, start in tokens(sql) if start >= tree.stmts[1].stmt_location)
        detail = "another statement begins; write exactly one statement"
        return _verdict(sql, Rule.NOT_ONE_STATEMENT, detail, _position(encoded, offset))
    if (
        tree.stmts[0].stmt_location > 0
    ):  # after comments, which are fine, or semicolons, which DECLARE refuses
        name, offset = tokens(sql)[0]
        if name == "ASCII_59":
            detail = "a semicolon stands before the statement; write exactly one statement"
            return _verdict(sql, Rule.NOT_ONE_STATEMENT, detail, _position(encoded, offset))
    statement = tree.stmts[0].stmt
    if statement.WhichOneof("node") != "select_stmt":
        detail = "only SELECT, WITH … SELECT, VALUES and TABLE are allowed, and they only read"
        return _verdict(sql, Rule.NOT_A_SELECT, detail, _position(encoded, tokens(sql)[0][1]))
    judge = Judge(catalog=builtin_catalog(), allow_user_functions=allow_user_functions)
    found = _first(sql, judge.findings(statement))
    if found is None:
        return Verdict.passed()
    offset, finding = found
    position = None if offset is None or offset < 0 else _position(encoded, offset)
    return _verdict(sql, finding.rule, finding.detail, position)


def _first(sql: str, found: Iterable[Finding]) -> tuple[int | None, Finding] | None:
    """Return the finding that comes first in the text, with its byte offset; None when there is none.

    A hostile text holds thousands, so only the best is kept and the text is scanned at most once.
    """
    best: Finding | None = None
    locking: Finding | None = None
    for finding in found:
        if finding.rule is Rule.LOCKING_CLAUSE:
            locking = finding
        elif best is None or _offset(finding) < _offset(best):
            best = finding
    if best is None and locking is None:
        return None
    scanned = tokens(sql) if locking or (best and best.keyword) else []
    placed = [
        (_keyword_offset(scanned, finding) if finding.keyword else finding.offset, finding)
        for finding in (best, locking)
        if finding is not None
    ]
    return min(placed, key=lambda pair: sys.maxsize if pair[0] is None else pair[0])


def _offset(finding: Finding) -> int:
    # the tree says -1 for a place it does not know
    return sys.maxsize if finding.offset is None or finding.offset < 0 else finding.offset


def _keyword_offset(scanned: list[tuple[str, int]], finding: Finding) -> int | None:
    if finding.offset is not None:
        before = [at for name, at in scanned if name == finding.keyword and at <= finding.offset]
        return before[-1] if before else finding.offset
    return next(
        (at for (name, at), (after, _) in pairwise(scanned) if name == "FOR" and after in _LOCK_WORDS),
        None,
    )


def _position(encoded: bytes, offset: int) -> int:
    return len(encoded[:offset].decode(errors="replace")) + 1


def _verdict(sql: str, rule: Rule, detail: str, position: int | None) -> Verdict:
    # The parser quotes the text at the fault, all of it where a quote is never closed.
    told = excerpt(detail, 1) if rule is Rule.SYNTAX_ERROR and len(detail) > 200 else detail
    told = "".join(c if c.isprintable() else " " for c in told)
    if position is not None and (shown := excerpt(sql, position)):
        told = f"{told}; at: {shown}"
    return Verdict.refused(rule, told, position)


@cache
def builtin_catalog() -> Catalog:
    """Return the functions and operators of Postgres 15 to 18, from the file beside this module."""
    data = json.loads(files("pgsched.adapters.guard").joinpath("catalog.json").read_text())
    names = {key: frozenset(" ".join(data[key]).split()) for key in ("functions", "operators")}
    return Catalog(functions=names["functions"], operators=names["operators"])
