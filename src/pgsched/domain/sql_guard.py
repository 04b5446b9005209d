"""What the guard answers: its rules, its limits and the verdict.

The rules are judged on the parse tree by ``adapters/guard``; which function may be called is decided in
``domain/sql_policy.py``. The guard is the first of the fences around a statement (a named cursor in a
READ ONLY transaction, the role and the session are the others) and the only one that works offline.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

#: longest statement, bytes of UTF-8
MAX_SQL_BYTES = 102_400
#: longest run of operator characters; the grammar's scanner is quadratic in them, ``/*/*/*…`` included
MAX_OPERATOR_RUN = 1_000
#: most characters of the statement shown in a detail
EXCERPT_CHARS = 40


class Rule(StrEnum):
    """Why a statement is refused; the value is the verdict's stable code."""

    #: no statement at all: nothing, blanks, comments or semicolons only
    EMPTY_STATEMENT = "empty_statement"
    #: longer than MAX_SQL_BYTES
    TOO_LONG = "too_long"
    #: nested deeper than the parser, or any server, would follow
    TOO_DEEP = "too_deep"
    #: a run of more than MAX_OPERATOR_RUN operator characters
    TOO_COMPLEX = "too_complex"
    #: NUL, a lone surrogate or broken UTF-8: parser, driver and server would read different texts
    BAD_CHARACTERS = "bad_characters"
    #: Postgres's grammar does not accept it
    SYNTAX_ERROR = "syntax_error"
    #: more than one statement, or a semicolon before the first
    NOT_ONE_STATEMENT = "not_one_statement"
    #: one statement, but none of SELECT, WITH … SELECT, VALUES, TABLE
    NOT_A_SELECT = "not_a_select"
    #: SELECT … INTO makes a table
    SELECT_INTO = "select_into"
    #: FOR UPDATE, FOR NO KEY UPDATE, FOR SHARE or FOR KEY SHARE, at any depth
    LOCKING_CLAUSE = "locking_clause"
    #: INSERT, UPDATE, DELETE or MERGE inside a WITH, at any depth
    DATA_MODIFYING = "data_modifying"
    #: a function that does more than compute and read, by domain/sql_policy.py
    FUNCTION_NOT_ALLOWED = "function_not_allowed"
    #: a user-defined function, operator or sampling method where the source forbids them
    USER_FUNCTION_NOT_ALLOWED = "user_function_not_allowed"
    #: a system view that reads the server's files
    RELATION_NOT_ALLOWED = "relation_not_allowed"
    #: ``$1``: nothing is there to fill it in, or a server takes nothing but a literal there
    PARAMETER_NOT_ALLOWED = "parameter_not_allowed"
    #: the grammar accepts it, but nobody has reviewed this kind of expression
    NOT_REVIEWED = "not_reviewed"
    #: not a request for a verdict at all (batch input)
    INVALID_REQUEST = "invalid_request"


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """The guard's answer about one text."""

    #: whether the statement may be sent to a source
    allowed: bool
    #: the Rule it breaks, None when allowed
    code: str | None
    #: one line: what is refused, why, and the way out
    detail: str
    #: 1-based character position of the fault, None when it has no place
    position: int | None
    #: whether it was judged by ``without_comments`` of the text, which is what has to be sent then
    without_comments: bool = False

    @classmethod
    def passed(cls, *, without_comments: bool = False) -> Verdict:
        """Return the verdict on a statement that breaks no rule."""
        return cls(
            allowed=True,
            code=None,
            detail="allowed: one statement that only reads",
            position=None,
            without_comments=without_comments,
        )

    @classmethod
    def refused(cls, rule: Rule, detail: str, position: int | None = None) -> Verdict:
        """Return the verdict on a text that breaks ``rule`` at ``position``."""
        return cls(allowed=False, code=rule.value, detail=detail, position=position)


def excerpt(sql: str, position: int) -> str:
    """Return the text at the 1-based ``position``, on one line, cut to EXCERPT_CHARS, safe to print."""
    piece = sql[position - 1 : position - 1 + EXCERPT_CHARS]
    shown = "".join(c if c.isprintable() else " " for c in piece).rstrip()
    return shown + ("…" if position - 1 + EXCERPT_CHARS < len(sql) else "")
