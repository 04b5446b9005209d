r"""What of a json value can be kept as JSON, and how numbers are written so that jsonb and pandas take them.

A value goes into the result as it is, unless storing it as jsonb or reading it back would fail:

- a number that no 64 bits hold gets a fraction (``.0``), which jsonb keeps and readers take as a double;
- ``\u0000``, half of a surrogate pair, a number beyond Postgres's numeric, and nesting deeper than
  ``DEEPEST_JSON`` cannot be stored or read: such a value becomes a string that holds its text.

jsonb keeps the last of duplicate keys, and so does a stored result.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal

import msgspec

from pgsched.domain.results import DEEPEST_JSON, LARGEST_INTEGER, SMALLEST_INTEGER

#: digits that Postgres's numeric holds before and after the point (manual, "Numeric Types")
_MOST_WHOLE_DIGITS = 131072
_MOST_FRACTION_DIGITS = 16383
#: digits become 0, letters that start an exponent become e, all else a blank: found at memory speed
_SHAPE = bytes(0x30 if 0x30 <= c <= 0x39 else 0x65 if c in b"eE" else 0x20 for c in range(256))
_LONG_DIGITS = b"0" * 19
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*', re.DOTALL)
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_ESCAPE = re.compile(rb"\\(?:u([0-9a-fA-F]{4})|.)", re.DOTALL)


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


def float_json(text: bytes) -> bytes:
    """Write a finite float8 or float4 from Postgres's shortest digits, always with a fraction or exponent.

    Large whole values are written out (``1e+20`` as ``100000000000000000000.0``): jsonb would write them
    out without a fraction, and no reader takes integers of that size.
    """
    if b"e+" in text:
        text = format(Decimal(text.decode()), "f").encode()
    return text if b"." in text or b"e" in text else text + b".0"


def json_fragments(values: Sequence[bytes]) -> Sequence[bytes]:
    """Write json and jsonb values, each as itself or as the string of its text (see the module)."""
    joined = b" ".join(values)
    shape = joined.translate(_SHAPE)
    plain_numbers = _LONG_DIGITS not in shape and b"0e" not in shape
    if plain_numbers and b"\\u" not in joined and max(map(len, values), default=0) < 2 * DEEPEST_JSON:
        return values
    return [_fragment(value) for value in values]


def _fragment(value: bytes) -> bytes:
    if _has_bad_escape(value) or _too_deep(value):
        return msgspec.json.encode(value.decode())
    shape = value.translate(_SHAPE)
    # 16383 digits of fraction and the like need a long run of digits as well
    if _LONG_DIGITS not in shape and b"0e" not in shape:
        return value
    try:
        return _TOKEN.sub(_token, value)
    except _NotStorable:
        return msgspec.json.encode(value.decode())


def _token(match: re.Match[bytes]) -> bytes:
    token = match[0]
    if token.startswith(b'"'):
        return token
    mantissa, _, exponent = token.lower().partition(b"e")
    whole, _, fraction = mantissa.lstrip(b"-").partition(b".")
    # a longer exponent is beyond numeric whatever it says, and int() may refuse it
    power = int(exponent or b"0") if len(exponent) < 9 else _MOST_WHOLE_DIGITS * 2
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
    for byte in _STRING.sub(b"", value):
        if byte in b"[{":
            depth += 1
            if depth > DEEPEST_JSON:
                return True
        elif byte in b"]}":
            depth -= 1
    return False
