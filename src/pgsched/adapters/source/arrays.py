"""Postgres's text form of arrays, taken apart (manual, "Array Input and Output Syntax")."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence

from pgsched.adapters.source.checks import MOST_DIMENSIONS, Malformed, check_integer_arrays, check_values

_BRACES = bytes.maketrans(b"{}", b"[]")


@functools.lru_cache(maxsize=16)
def _tokens(delimiter: bytes) -> re.Pattern[bytes]:
    stop = re.escape(delimiter)
    words = rb'"((?:[^"\\]++|\\.)*+)"|([^{}"' + stop + rb"]+)|([{}" + stop + rb"])"
    # last, a quote that opens what nothing closes
    return re.compile(words + rb"|(.)", re.DOTALL)


def integer_arrays(values: Sequence[bytes], element_oid: int) -> list[bytes]:
    """Write arrays of integers: they differ from JSON in braces, NULL and lower bounds only.

    Raises:
        Malformed: one is no array of them.
    """
    written = [
        _without_bounds(value).translate(_BRACES).replace(b"NULL", b"null")
        if b"N" in value or b"=" in value
        else value.translate(_BRACES)
        for value in values
    ]
    check_integer_arrays(written, element_oid)
    return written


def encode_arrays(
    values: Sequence[bytes], delimiter: str, encode: Callable[[list[bytes | None]], list[bytes]]
) -> list[bytes]:
    """Write arrays as JSON lists.

    ``encode`` turns all elements of all arrays into JSON at once, None for NULL, in order.

    Raises:
        Malformed: one is no array.
    """
    tokens = _tokens(delimiter.encode())
    elements: list[bytes | None] = []
    shapes: list[list[bytes | None]] = []
    for value in values:
        shape: list[bytes | None] = []
        for match in tokens.finditer(_without_bounds(value)):
            kind = match.lastindex
            if kind == 3:
                mark = match[3]
                shape.append(b"[" if mark == b"{" else b"]" if mark == b"}" else b",")
                continue
            if kind == 4:
                raise Malformed
            if kind == 1:
                text = match[1]
                elements.append(_unescaped(text) if b"\\" in text else text)
            else:
                elements.append(None if match[2] == b"NULL" else match[2])
            shape.append(None)
        if shape[:1] != [b"["] or _is_too_deep(shape):
            raise Malformed
        shapes.append(shape)
    encoded = iter(encode(elements))
    written = [b"".join([next(encoded) if piece is None else piece for piece in shape]) for shape in shapes]
    check_values(written)
    return written


def _is_too_deep(shape: Sequence[bytes | None]) -> bool:
    if shape.count(b"[") <= MOST_DIMENSIONS:
        return False
    depth = 0
    for piece in shape:
        depth += 1 if piece == b"[" else -1 if piece == b"]" else 0
        if depth > MOST_DIMENSIONS:
            return True
    return False


def _unescaped(text: bytes) -> bytes:
    # at memory speed: the first two of a run of backslashes are one that is escaped
    return b"\\".join([part.replace(b"\\", b"") for part in text.split(b"\\\\")])


def _without_bounds(value: bytes) -> bytes:
    """Drop ``[2:3]=``, which is there only when an array does not start at 1."""
    return value.partition(b"=")[2] if value.startswith(b"[") else value
