"""Large integers: as strings for who cannot hold them, and without the ``.0`` where it is not needed.

With ``bigint=string`` integers that a double cannot hold are strings, wherever they stand in JSON: a
JavaScript reader takes every number for a double and silently loses the last digits of integers beyond 2^53.
What pgsched writes with a fraction (``.0``) only for being beyond 64 bits counts as the integer it is, and
is written as such in what is no JSON. Numbers of double columns are doubles already and stay as they are.
"""

from __future__ import annotations

import re

from pgsched.adapters.formats.columns import Column
from pgsched.domain.results import LARGEST_INTEGER, SMALLEST_INTEGER

#: integers up to this are doubles without loss
_SAFE = 2**53
_LONG = re.compile(rb"\d{16}")
# A string, passed over whole, or an integer of 16 digits and more.
_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|(?<![\d.])-?\d{16,}(?:\.0)?(?![\d.eE])', re.DOTALL)
_DOUBLES = ("real", "double precision")
# A number of 19 digits and more with a fraction that may have been added to it.
_MAY_BE_ADDED = b"0" * 19 + b".0"
#: every digit becomes 0
_ZEROS = bytes.maketrans(b"123456789", b"000000000")
_ADDED = re.compile(rb"(?<![\d.])-?\d{19,}\.0(?![\d.eE])")
# numeric whose values have no digits after the point, or not a number of them that is known
_WITHOUT_SCALE = re.compile(r"numeric(?:\(\d+,(?:0|-\d+)\))?")


def may_have_long(text: bytes) -> bool:
    """Say whether a JSON text may hold an integer beyond 2^53: found at memory speed."""
    return _LONG.search(text) is not None


def holds_doubles(column: Column) -> bool:
    """Say whether the numbers of a column are binary doubles."""
    return column.pg_type.startswith(_DOUBLES)


def with_strings(text: bytes) -> bytes:
    """Return a JSON text with its integers beyond 2^53 as strings."""
    return _TOKEN.sub(_as_string, text)


def may_have_added(column: Column) -> bool:
    """Say whether the numbers of a column may have a fraction that was added to them."""
    return _WITHOUT_SCALE.fullmatch(column.pg_type) is not None


def without_added(numbers: bytes) -> bytes:
    """Return numbers, whatever stands between them, without the fractions that were added to them.

    A ``.0`` of a number within 64 bits is its own.
    """
    # found at memory speed; the expression takes hundreds of times as long
    return _ADDED.sub(_whole, numbers) if _MAY_BE_ADDED in numbers.translate(_ZEROS) else numbers


def _whole(match: re.Match[bytes]) -> bytes:
    digits = match[0][:-2]
    # int() refuses more than 4300 digits
    is_own = len(digits) <= 20 and SMALLEST_INTEGER <= int(digits) <= LARGEST_INTEGER
    return match[0] if is_own else digits


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
