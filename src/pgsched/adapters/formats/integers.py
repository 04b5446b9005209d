"""``bigint=string``: integers that a double cannot hold, as strings, wherever they stand in JSON.

A JavaScript reader takes every number for a double and silently loses the last digits of integers beyond
2^53. What pgsched writes with a fraction (``.0``) only because it is beyond 64 bits counts as the integer
it is. Numbers of double columns are doubles already and stay as they are.
"""

from __future__ import annotations

import re

from pgsched.adapters.formats.columns import Column

#: integers up to this are doubles without loss
_SAFE = 2**53
_LONG = re.compile(rb"\d{16}")
# A string, passed over whole, or an integer of 16 digits and more.
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|(?<![\d.])-?\d{16,}(?:\.0)?(?![\d.eE])', re.DOTALL)
_DOUBLES = ("real", "double precision")


def may_have_long(text: bytes) -> bool:
    """Say whether a JSON text may hold an integer beyond 2^53: found at memory speed."""
    return _LONG.search(text) is not None


def holds_doubles(column: Column) -> bool:
    """Say whether the numbers of a column are binary doubles."""
    return column.pg_type.startswith(_DOUBLES)


def with_strings(text: bytes) -> bytes:
    """Return a JSON text with its integers beyond 2^53 as strings."""
    return _TOKEN.sub(_as_string, text)


def _as_string(match: re.Match[bytes]) -> bytes:
    token = match[0]
    if token.startswith(b'"'):
        return token
    digits = token.removesuffix(b".0")
    length = len(digits.lstrip(b"-"))
    if digits != token and length < 19:
        # a fraction of its own: no integer as Postgres has it
        return token
    if length == 16 and -_SAFE <= int(digits) <= _SAFE:
        return token
    return b'"%b"' % digits
