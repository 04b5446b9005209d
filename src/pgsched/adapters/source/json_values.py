r"""What of a json value can be kept as JSON, and how numbers are written so that jsonb and pandas take them.

A value goes into the result as it is, unless storing it as jsonb or reading it back would fail:

- a number that no 64 bits hold gets a fraction (``.0``), which jsonb keeps and readers take as a double;
- ``\u0000``, half of a surrogate pair, a number beyond Postgres's numeric or with an exponent beyond 400,
  and nesting deeper than ``DEEPEST_JSON`` cannot be stored or read: such a value becomes a string that holds
  its text.

jsonb keeps the last of duplicate keys, and so does a stored result. A value that is no JSON is a lie
(``checks``). The time for a value grows with its length alone: what a string holds is never looked at twice.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal

import msgspec

from pgsched.adapters.source.checks import Malformed, check_values
from pgsched.domain.results import DEEPEST_JSON, LARGEST_INTEGER, SMALLEST_INTEGER

#: digits that Postgres's numeric holds before and after the point (manual, "Numeric Types")
_MOST_WHOLE_DIGITS = 131072
_MOST_FRACTION_DIGITS = 16383
#: largest exponent that is written out, here or when jsonb is read: 1e131071 is a number of 131 kB, and a
#: value may hold many; no double has one beyond 324
_MOST_POWER = 400
#: what Postgres prints behind the digits of a float8, up to 1.7e+308 and down to 4.9e-324
_EXPONENT = re.compile(rb"e(?:\+(?:\d\d|[12]\d\d|30[0-8])|-(?:\d\d|[12]\d\d|3[01]\d|32[0-4]))")
_PLUS = ord("+")
#: digits become 0, letters that start an exponent become e, all else a blank: found at memory speed
SHAPE = bytes(0x30 if 0x30 <= c <= 0x39 else 0x65 if c in b"eE" else 0x20 for c in range(256))
LONG_DIGITS = b"0" * 19
#: a string, or the rest where none ends: to look for its end from each quote would take quadratic time
_STRING = rb'"(?:[^"\\]++|\\.?)*+"?'
_TOKEN = re.compile(rb"%b|-?\d[\d.eE+-]*+" % _STRING, re.DOTALL)
_TO_BRACKET = re.compile(rb'(?:[^][{}"]++|%b)*+([][{}])?' % _STRING, re.DOTALL)
_ESCAPE = re.compile(rb"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)


class NoRoom(Exception):
    """What is written takes more bytes than there is room for."""


class Room:
    """How many bytes numbers may take that are written out: six bytes of text can stand for 400."""

    def __init__(self) -> None:
        """Start without a bound."""
        #: bytes left, None for any number
        self.left: int | None = None

    def written(self, digits: bytes) -> bytes:
        """Return the digits.

        Raises:
            NoRoom: they are one too many.
        """
        if self.left is not None:
            self.left -= len(digits)
            if self.left < 0:
                raise NoRoom
        return digits


class _NotStorable(Exception):
    """A number that jsonb refuses."""


def integer_json(digits: bytes) -> bytes:
    """Write a whole number; beyond 64 bits it gets the fraction that keeps documents readable."""
    if len(digits) < 19 or SMALLEST_INTEGER <= _whole(digits) <= LARGEST_INTEGER:
        return digits
    return digits + b".0"


def _whole(digits: bytes) -> int:
    # int() refuses more than 4300 digits; all that matters of those is that they are many
    return int(digits[:24]) if len(digits) <= 24 else int(digits[:24]) * 10


def float_json(text: bytes, room: Room) -> bytes:
    """Write a finite float8 or float4 from Postgres's shortest digits, always with a fraction or exponent.

    Large whole values are written out (``1e+20`` as ``100000000000000000000.0``): jsonb would write them
    out without a fraction, and no reader takes integers of that size.

    Raises:
        Malformed: the exponent is none of a float8.
        NoRoom: it is written out, and too long.
    """
    place = text.find(b"e")
    if place >= 0:
        # 0e+300000000 is a number that a float8 holds, and three hundred million digits
        if not _EXPONENT.fullmatch(text, place):
            raise Malformed
        if text[place + 1] == _PLUS:
            text = room.written(format(Decimal(text.decode()), "f").encode())
    return text if b"." in text or b"e" in text else text + b".0"


def json_fragments(values: Sequence[bytes], room: Room) -> Sequence[bytes]:
    """Write json and jsonb values, each as itself or as the string of its text (see the module).

    Raises:
        Malformed: one is no JSON.
        NoRoom: numbers are written out, and too long together.
    """
    try:
        check_values(values)
    except Malformed:
        # what is too deep, or has half a surrogate pair, does not pass either
        are_checked = False
    else:
        are_checked = True
        joined = b" ".join(values)
        shape = joined.translate(SHAPE)
        plain_numbers = LONG_DIGITS not in shape and b"0e" not in shape
        if plain_numbers and b"\\u" not in joined and max(map(len, values), default=0) < 2 * DEEPEST_JSON:
            return values
    return [_fragment(value, room, is_checked=are_checked) for value in values]


def _fragment(value: bytes, room: Room, *, is_checked: bool) -> bytes:
    if _has_bad_escape(value) or _too_deep(value):
        return msgspec.json.encode(value.decode())
    if not is_checked:
        check_values([value])
    shape = value.translate(SHAPE)
    # 16383 digits of fraction and the like need a long run of digits as well
    if LONG_DIGITS not in shape and b"0e" not in shape:
        return value
    try:
        return _with_numbers_written_out(value, room)
    except _NotStorable:
        return msgspec.json.encode(value.decode())


def _with_numbers_written_out(value: bytes, room: Room) -> bytes:
    pieces: list[bytes] = []
    done = 0
    for match in _TOKEN.finditer(value):
        token = match[0]
        if not token.startswith(b'"') and (written := _number(token)) != token:
            pieces += (value[done : match.start()], room.written(written))
            done = match.end()
    return b"".join([*pieces, value[done:]]) if pieces else value


def _number(token: bytes) -> bytes:
    mantissa, _, exponent = token.lower().partition(b"e")
    whole, _, fraction = mantissa.lstrip(b"-").partition(b".")
    # int() may refuse a longer one
    power = int(exponent or b"0") if len(exponent) < 9 else _MOST_POWER + 1
    if abs(power) > _MOST_POWER:
        raise _NotStorable
    if len(whole) + power > _MOST_WHOLE_DIGITS or len(fraction) - power > _MOST_FRACTION_DIGITS:
        raise _NotStorable
    if not exponent and not fraction:
        return integer_json(token)
    if len(whole) + power > 18 and power >= len(fraction):
        return format(Decimal(token.decode()), "f").encode() + b".0"
    return token


def _has_bad_escape(value: bytes) -> bool:
    """Whether an escape is NUL or half a surrogate pair: json stores it, jsonb does not."""
    if b"\\u" not in value:
        return False
    high_ends_at = -1
    for match in _ESCAPE.finditer(value):
        code = int(match[1], 16) if match[1] else 0x20
        low = 0xDC00 <= code <= 0xDFFF
        if code == 0 or low != (high_ends_at == match.start()):
            return True
        if not low and high_ends_at >= 0:
            return True
        high_ends_at = match.end() if 0xD800 <= code <= 0xDBFF else -1
    return high_ends_at >= 0


def _too_deep(value: bytes) -> bool:
    if value.count(b"[") + value.count(b"{") <= DEEPEST_JSON:
        return False
    depth = 0
    for match in _TO_BRACKET.finditer(value):
        if match[1] is None:
            break
        if match[1] in b"[{":
            depth += 1
            if depth > DEEPEST_JSON:
                return True
        else:
            depth -= 1
    return False
