"""Finds where in the text a finding is.

The tree gives most nodes the byte where they begin, some none at all (locking clauses, attributes), and
none the keyword that a person would look for. Those are found among the scanner's tokens.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

from pgsched.adapters.guard.tree import Finding
from pgsched.domain.sql_guard import Rule

#: what follows FOR in a locking clause, by the scanner's names
_LOCK_WORDS = frozenset({"UPDATE", "NO", "SHARE", "KEY"})
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
    starts = (a.start for a, b in pairwise(scanned) if a.name == "FOR" and b.name in _LOCK_WORDS)
    return next(starts, sys.maxsize)


def _attribute(scanned: list[Token], wanted: dict[str, Finding]) -> tuple[int, Finding]:
    padded = [*scanned, Token(name="", start=0, text="")]
    for dot, word, after in zip(padded, padded[1:], padded[2:], strict=False):
        if dot.name != "ASCII_46" or after.name == "ASCII_40":  # a dot before, no call with ( behind
            continue
        name = word.text[1:-1] if word.text.startswith('"') else word.text.translate(_ASCII_LOWER)
        if name in wanted:
            return word.start, wanted[name]
    return sys.maxsize, next(iter(wanted.values()))
