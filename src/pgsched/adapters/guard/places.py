"""Finds where in the text a finding is.

The tree gives most nodes the byte where they begin, some none at all (locking clauses, attributes), and
none the keyword that a person would look for. Those are found among the scanner's tokens.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass

from pgsched.adapters.guard.tree import Finding
from pgsched.domain.sql_guard import Rule

#: what follows FOR in a locking clause, by the scanner's names
_LOCK_WORDS = frozenset({"UPDATE", "NO", "SHARE", "KEY"})
#: calls that have a FOR of their own
_HAVE_FOR = frozenset({"SUBSTRING", "OVERLAY"})
#: folding as the grammar does it, letters of ASCII alone
_ASCII_LOWER = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Token:
    """One word or sign of the text."""

    #: the scanner's name: ``INTO``, ``DELETE_P``, ``IDENT``, ``ASCII_59`` for a semicolon
    name: str
    #: byte offset of its first character
    start: int
    #: as written
    text: str


def tokens(sql: str, encoded: bytes) -> list[Token]:
    """Return the tokens of a text that parses, comments left out; call it inside BigStack.run."""
    import postgast

    scanned = postgast.scan(sql)
    names = scanned.DESCRIPTOR.file.enum_types_by_name["Token"].values_by_number
    return [
        Token(name=name, start=token.start, text=encoded[token.start : token.end].decode(errors="replace"))
        for token in scanned.tokens
        if (name := names[token.token].name) not in ("SQL_COMMENT", "C_COMMENT")
    ]


def position(encoded: bytes, offset: int) -> int:
    """Return the 1-based character position of a byte offset."""
    return len(encoded[:offset].decode(errors="replace")) + 1


def first(sql: str, encoded: bytes, found: Iterable[Finding]) -> tuple[int | None, Finding] | None:
    """Return the finding that comes first in the text with its position; None when there is none.

    A hostile text holds thousands, so only the best is kept and the text is scanned at most once.
    """
    best: Finding | None = None
    locking: Finding | None = None
    attributes: dict[str, Finding] = {}
    for finding in found:
        if finding.attribute is not None:
            known = attributes.get(finding.attribute)
            if known is None or _offset(finding) < _offset(known):
                attributes[finding.attribute] = finding
        elif finding.rule is Rule.LOCKING_CLAUSE:
            locking = finding
        elif best is None or _offset(finding) < _offset(best):
            best = finding
    scanned = tokens(sql, encoded) if attributes or locking or (best and best.keyword) else []
    placed: list[tuple[int, Finding]] = []
    if best is not None:
        placed.append((_keyword(scanned, best) if best.keyword else _offset(best), best))
    if locking is not None:
        placed.append((_lock(scanned), locking))
    if attributes:
        placed.append(_attribute(scanned, attributes))
    if not placed:
        return None
    offset, finding = min(placed, key=lambda pair: pair[0])
    return (None if offset == sys.maxsize else position(encoded, offset)), finding


def _offset(finding: Finding) -> int:
    # the tree says -1 for a place it does not know
    return sys.maxsize if finding.offset is None or finding.offset < 0 else finding.offset


def _keyword(scanned: list[Token], finding: Finding) -> int:
    limit = _offset(finding)
    before = [token.start for token in scanned if token.name == finding.keyword and token.start <= limit]
    return before[-1] if before else limit


def _lock(scanned: list[Token]) -> int:
    # whether a FOR may be a locking clause's, by bracket
    may_lock = [True]
    for before, token, after in _threes(scanned):
        if token.name == "ASCII_40":
            may_lock.append(before.name not in _HAVE_FOR)
        elif token.name == "ASCII_41" and len(may_lock) > 1:
            may_lock.pop()
        elif token.name == "FOR" and after.name in _LOCK_WORDS and may_lock[-1]:
            return token.start
    return sys.maxsize


def _attribute(scanned: list[Token], wanted: dict[str, Finding]) -> tuple[int, Finding]:
    for at, (dot, word, after) in enumerate(_threes(scanned)):
        if dot.name != "ASCII_46" or after.name == "ASCII_40":  # a dot before, no call with ( behind
            continue
        finding = wanted.get(_name(word, scanned[at + 1 : at + 3]))
        # before the expression begins the name is another thing's: FROM s.http t WHERE t.http …
        if finding is not None and word.start > (finding.offset or 0):
            return word.start, finding
    return sys.maxsize, next(iter(wanted.values()))


def _threes(scanned: list[Token]) -> Iterable[tuple[Token, Token, Token]]:
    """Return each token with the one before and the one behind."""
    none = Token(name="", start=0, text="")
    return zip([none, *scanned], scanned, [*scanned[1:], none], strict=False)


def _name(word: Token, behind: list[Token]) -> str:
    """Return the name that a word means, as the grammar folds it; ``behind`` are the next two tokens."""
    text = word.text
    if text.startswith('"'):
        return text[1:-1].replace('""', '"')
    if text[:3] not in ('U&"', 'u&"'):
        return text.translate(_ASCII_LOWER)
    mark = "\\"
    if [token.name for token in behind] == ["UESCAPE", "SCONST"]:
        mark = behind[1].text[1:2]
    code = f"{re.escape(mark)}(?:({re.escape(mark)})|([0-9A-Fa-f]{{4}})|[+]([0-9A-Fa-f]{{6}}))"
    return re.sub(code, _unescaped, text[3:-1].replace('""', '"'))


def _unescaped(found: re.Match[str]) -> str:
    return found[1] or chr(int(found[2] or found[3], 16))
