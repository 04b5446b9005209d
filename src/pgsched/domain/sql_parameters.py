r"""Finds ``:name`` in a statement and puts ``$n`` there, with a lexer that knows where SQL is not SQL.

Literals of every kind (``''``, ``E''`` with its continuations, ``B''``, ``X''``, ``N''``, ``U&''``, dollar
quotes), quoted names, nested comments, casts ``::``, named arguments ``:=`` and the colon of array slices are
left alone (PostgreSQL manual, "Lexical Structure"; src/backend/parser/scan.l). Only declared names count.

What is put in is as long as what was there, so that every position in the rewritten statement, the guard's
and the source's, is the position in the user's own text.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from pgsched.domain.errors import FieldFault, InvalidInput

_NAME_START = r"[A-Za-z_\u0080-\U0010ffff]"
_NAME_NEXT = r"[A-Za-z0-9_$\u0080-\U0010ffff]"
_BLANK = r"[ \t\n\r\f\v]"
# what a literal or a quoted name may begin with is no name
_PREFIXED = r"""(?: [eEbBxXnN]' | [uU]&['"] )"""
_TOKEN = re.compile(
    rf"""
      (?P<blank>   {_BLANK}+ | --[^\n\r]* )
    | (?P<comment> /\* )
    | (?P<escape>  [eE]' )
    | (?P<text>    (?: [bBxXnN] | [uU]& )? '(?:[^']|'')*(?:'|\Z)
                 | \$(?P<tag>(?:{_NAME_START}[A-Za-z0-9_\u0080-\U0010ffff]*)?)\$.*?(?:\$(?P=tag)\$|\Z) )
    | (?P<quoted>  (?: [uU]& )? "(?:[^"]|"")*(?:"|\Z) )
    | (?P<word>    {_NAME_START}{_NAME_NEXT}* )
    | (?P<number>  \.?[0-9][0-9A-Za-z_.]* )
    | (?P<place>   \$[0-9]+ )
    | (?P<cast>    :: | := )
    | (?P<colon>   : (?P<name>(?!{_PREFIXED}){_NAME_START}{_NAME_NEXT}*)? )
    | (?P<sign>    . )
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPED = re.compile(r"(?:[^'\\]|\\.|'')*(?:'|\\?\Z)", re.DOTALL)
# a literal goes on after a line break
# (possessive: what failed is not tried again in all the other ways that dashes can be cut into comments)
_CONTINUED = re.compile(
    rf"(?:[ \t\f\v]|--[^\n\r]*+)*+[\n\r](?:{_BLANK}|--[^\n\r]*+(?:[\n\r]|\Z))*+'", re.DOTALL
)
_COMMENT_MARK = re.compile(r"/\*|\*/")
#: kinds of token after which a value is complete
_OPERANDS = frozenset({"text", "escape", "quoted", "word", "number", "place"})
#: words inside brackets after which a value begins
_BEFORE_A_VALUE = frozenset(
    {"and", "or", "not", "in", "is", "like", "ilike", "between", "case", "when", "then", "else", "array"}
    | {"all", "any", "some", "row", "distinct", "from"}
    | {"similar", "to", "escape", "symmetric", "asymmetric", "zone"}
)
_GLUED = re.compile(_NAME_NEXT)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rewritten:
    """A statement with places for its parameters."""

    #: the statement with ``$1``, ``$2`` …, as long as it was
    sql: str
    #: names by place, the first is ``$1``
    names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Found:
    start: int
    end: int
    name: str


def rewrite(sql: str, declared: Collection[str], *, field: str = "sql_text") -> Rewritten:
    """Replace ``:name`` by ``$n`` wherever a declared name stands as a parameter; letter case aside.

    Raises:
        InvalidInput: the statement has a ``$n`` of its own beside parameters, a parameter written against
            the word or number before it, or more than nine parameters with names of one letter.
    """
    if ":" not in sql:
        return Rewritten(sql=sql, names=())
    found = list(_parameters(sql, declared, field))
    if not found:
        return Rewritten(sql=sql, names=())
    # short names get the short numbers
    names = sorted(dict.fromkeys(one.name for one in found), key=len)
    pieces, end = [], 0
    for one in found:
        place = f"${names.index(one.name) + 1}"
        if len(place) > one.end - one.start:
            raise InvalidInput.of(
                FieldFault(field=field, message="at most nine parameters may have names of one letter")
            )
        pieces += [sql[end : one.start], place.ljust(one.end - one.start)]
        end = one.end
    return Rewritten(sql="".join([*pieces, sql[end:]]), names=tuple(names))


def _parameters(sql: str, declared: Collection[str], field: str) -> Iterator[_Found]:
    brackets: list[str] = []
    # whether a value has just ended, so that a colon in brackets is a slice's
    after_value = False
    own_place: int | None = None
    found = False
    for kind, start, end, text in tokens_of(sql):
        if kind in ("blank", "comment"):
            continue
        if kind == "place":
            own_place = start + 1 if own_place is None else own_place
        if kind == "colon":
            name = text[1:].lower()
            is_slice = after_value and bool(brackets) and brackets[-1] == "["
            if name in declared and not is_slice:
                if start and _GLUED.match(sql, start - 1):
                    # where$1 would be a name, and the condition gone
                    raise InvalidInput.of(
                        FieldFault(
                            field=field,
                            message=f"put a blank before the parameter {text} at character {start + 1}",
                        )
                    )
                found = True
                yield _Found(start=start, end=end, name=name)
            after_value = bool(name)
        elif kind == "sign":
            if text in "([":
                brackets.append(text)
            elif text in ")]" and brackets:
                brackets.pop()
            after_value = text in ")]"
        elif kind == "word":
            after_value = text.lower() not in _BEFORE_A_VALUE
        else:
            after_value = kind in _OPERANDS
    if found and own_place is not None:
        raise InvalidInput.of(
            FieldFault(
                field=field,
                message=f"a place of its own ($n) stands at character {own_place}; write :name instead",
            )
        )


def tokens_of(sql: str) -> Iterator[tuple[str, int, int, str]]:
    """Yield kind, start, end and text of each token; nothing of the text is left out.

    ``blank`` is blanks or one comment with dashes, ``comment`` one with stars; either may stand between the
    pieces of a literal that goes on after a line break.
    """
    # where an E'' literal goes on
    start, further = 0, -1
    while start < len(sql):
        match = _TOKEN.match(sql, start)
        assert match is not None  # every character is a sign at least
        kind, end = match.lastgroup or "sign", match.end()
        if kind == "escape" or start == further:
            kind, end = "escape", _after_escaped(sql, start + 1 if start == further else end)
            goes_on = _CONTINUED.match(sql, end)
            further = -1 if goes_on is None else goes_on.end() - 1
        elif match["colon"]:
            kind = "colon"
        elif match["text"]:
            kind = "text"
        elif kind == "comment":
            end = _after_comment(sql, end)
        yield kind, start, end, sql[start:end]
        start = end


def _after_comment(sql: str, start: int) -> int:
    depth = 1
    for mark in _COMMENT_MARK.finditer(sql, start):
        depth += 1 if mark[0] == "/*" else -1
        if not depth:
            return mark.end()
    return len(sql)


def _after_escaped(sql: str, start: int) -> int:
    match = _ESCAPED.match(sql, start)
    assert match is not None
    return match.end()
