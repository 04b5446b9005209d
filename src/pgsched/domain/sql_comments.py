"""Leaves the comments of a statement out, with every other character where it was.

libpg_query hands comments to the grammar as tokens. Where the grammar looks one word ahead (``NOT`` before
``IN``, ``NULLS`` before ``LAST`` …), and inside a literal that goes on after a line break, it takes a comment
for a syntax error, which no server does.
"""

from __future__ import annotations

import re

from pgsched.domain.sql_parameters import tokens_of

_NO_LINE_BREAK = re.compile(r"[^\n\r]")
_LITERALS = frozenset({"text", "escape"})


def without_comments(sql: str) -> str | None:
    """Return the text with a blank for each character of its comments, line breaks kept.

    None where nothing is to be had: there is no comment, one does not end, or one with stars stands between
    two literals, which no server takes for one literal and the text with blanks would be.

    The lexer is a copy of the server's, not the server's own: whoever judges the text returned has to have
    that text run, not the one given.
    """
    if "--" not in sql and "/*" not in sql:
        return None
    pieces: list[str] = []
    found = False
    # what stands before, and whether a comment with stars came since
    before, is_apart = "", False
    # a comment that does not end takes the line break that is put behind
    for kind, _, end, text in tokens_of(sql + "\n"):
        if kind == "comment":
            if end > len(sql):
                return None
            found = is_apart = True
            pieces.append(_NO_LINE_BREAK.sub(" ", text))
        elif kind == "blank":
            is_comment = text.startswith("--")
            found = found or is_comment
            pieces.append(" " * len(text) if is_comment else text)
        else:
            if is_apart and before in _LITERALS and text.startswith("'"):
                return None
            before, is_apart = kind, False
            pieces.append(text)
    return "".join(pieces)[: len(sql)] if found else None
