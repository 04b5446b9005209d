"""A guard that looks at the first word: enough for tests that are not about the guard."""

from __future__ import annotations

import re

from pgsched.domain.sql_guard import Rule, Verdict

_ALLOWED = frozenset({"select", "with", "values", "table"})
_WORD = re.compile(r"[A-Za-z_]\w*")
_PLACE = re.compile(r"\$(\d+)")


class FirstWordGuard:
    """The port ``SqlGuard`` for plain statements without comments or semicolons inside."""

    def check(
        self,
        sql: str,
        *,
        allow_user_functions: bool = True,  # noqa: ARG002 (sees no functions)
        places: int = 0,
    ) -> Verdict:
        """Judge one statement by its first word and its places."""
        if "\x00" in sql:
            return Verdict.refused(Rule.BAD_CHARACTERS, "holds a NUL character", sql.index("\x00") + 1)
        text = sql.rstrip().rstrip(";")
        start = len(text) - len(text.lstrip())
        if start == len(text):
            return Verdict.refused(Rule.EMPTY_STATEMENT, "there is no statement; write one SELECT")
        if ";" in text:
            after = text.index(";") + 1
            second = after + len(text[after:]) - len(text[after:].lstrip())
            return Verdict.refused(Rule.NOT_ONE_STATEMENT, "is more than one statement", second + 1)
        word = _WORD.match(text, start)
        if word is None or word[0].lower() not in _ALLOWED:
            return Verdict.refused(Rule.NOT_A_SELECT, "is none of SELECT, WITH, VALUES, TABLE", start + 1)
        for place in _PLACE.finditer(text):
            if not 1 <= int(place[1]) <= places:
                return Verdict.refused(Rule.PARAMETER_NOT_ALLOWED, "nothing fills this in", place.start() + 1)
        return Verdict.passed()
