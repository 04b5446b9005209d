"""Postgres's text form of arrays, taken apart (manual, "Array Input and Output Syntax")."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence

_BRACES = bytes.maketrans(b"{}", b"[]")
_UNESCAPE = re.compile(rb"\\(.)", re.DOTALL)


@functools.lru_cache(maxsize=16)
def _tokens(delimiter: bytes) -> re.Pattern[bytes]:
    stop = re.escape(delimiter)
    return re.compile(rb'"((?:[^"\\]|\\.)*)"|([^{}"' + stop + rb"]+)|([{}" + stop + rb"])", re.DOTALL)


def integer_arrays(values: Sequence[bytes]) -> list[bytes]:
    """Write arrays of integers: they differ from JSON in braces, NULL and lower bounds only."""
    return [
        _without_bounds(value).translate(_BRACES).replace(b"NULL", b"null")
        if b"N" in value or b"=" in value
        else value.translate(_BRACES)
        for value in values
    ]


def encode_arrays(
    values: Sequence[bytes], delimiter: str, encode: Callable[[list[bytes | None]], list[bytes]]
) -> list[bytes]:
    """Write arrays as JSON lists.

    ``encode`` turns all elements of all arrays into JSON at once, None for NULL, in order.
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
            if kind == 1:
                text = match[1]
                elements.append(_UNESCAPE.sub(rb"\1", text) if b"\\" in text else text)
            else:
                elements.append(None if match[2] == b"NULL" else match[2])
            shape.append(None)
        shapes.append(shape)
    encoded = iter(encode(elements))
    return [b"".join([next(encoded) if piece is None else piece for piece in shape]) for shape in shapes]


def _without_bounds(value: bytes) -> bytes:
    """Drop ``[2:3]=``, which is there only when an array does not start at 1."""
    return value.partition(b"=")[2] if value.startswith(b"[") else value
