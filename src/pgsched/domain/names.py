"""Names, titles and other short texts that people give to sources and queries."""

from __future__ import annotations

import re

from pgsched.domain.errors import FieldFault

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,62}", re.ASCII)

_NOT_IN_A_LINE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
_NOT_IN_LINES = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")

#: most characters of a title
MAX_TITLE = 200
#: most characters of a description
MAX_DESCRIPTION = 10_000


def is_key(key: str | int) -> bool:
    """Whether anything could be stored under a key: an id of 64 bit or a well-formed name.

    What cannot is not found, without asking: drivers raise on larger numbers, NUL and surrogates.
    """
    if isinstance(key, int):
        return 0 < key < 2**63
    return NAME.fullmatch(key) is not None


def name_fault(field: str, value: str) -> FieldFault | None:
    """Say what is wrong with the name of a source or query, or None when nothing is."""
    if NAME.fullmatch(value):
        return None
    return FieldFault(
        field=field,
        message="must be 1 to 63 of A-Z a-z 0-9 _ . - and begin with a letter (it can be used in a URL)",
    )


def text_fault(
    field: str, value: str, longest: int, *, shortest: int = 0, lines: bool = False
) -> FieldFault | None:
    """Say what is wrong with a text for people: its length in characters, or control characters in it.

    With ``lines`` tabs and line ends are fine. Lone surrogates are refused: Postgres cannot store them.
    """
    if not shortest <= len(value.strip()) or len(value) > longest:
        return FieldFault(field=field, message=f"must have {shortest} to {longest} characters")
    found = (_NOT_IN_LINES if lines else _NOT_IN_A_LINE).search(value)
    if found is None:
        return None
    if found[0] >= "\ud800":
        return FieldFault(field=field, message="holds half a surrogate pair, which is not a character")
    return FieldFault(field=field, message=f"holds the control character U+{ord(found[0]):04X}")


def line_fault(field: str, value: str, longest: int) -> FieldFault | None:
    """Say why a text cannot be what people call something: one visible line without blanks around it."""
    fault = text_fault(field, value, longest, shortest=1)
    if fault is None and (value != value.strip() or not value.isprintable()):
        message = "must be one line of visible characters, without blanks around it"
        return FieldFault(field=field, message=message)
    return fault
