"""Whether text forms are what the type of their column says, before they go into a document as they are.

No Postgres sends anything else. What lies could close an object and open another one: ``1},{"b":2`` for an
integer. Whole columns are read by msgspec, at a cost close to that of joining them.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import GenericAlias
from typing import Annotated, Any

import msgspec

#: most dimensions of an array (MAXDIM of Postgres, array.h)
MOST_DIMENSIONS = 6
#: least and most of each integer type, by OID
_BOUNDS = {
    20: (-(2**63), 2**63 - 1),
    21: (-(2**15), 2**15 - 1),
    23: (-(2**31), 2**31 - 1),
    26: (0, 2**32 - 1),
}
_BLANKS = b" \t\n\r"
#: digits in a row that no Postgres prints of a float8: seventeen that count, behind four zeros of a fraction
_TOO_LONG = b"0" * 25
_DIGITS = bytes(0x30 if 0x30 <= byte <= 0x39 else byte for byte in range(256))

_values = msgspec.json.Decoder(list[msgspec.Raw])
#: faster than that where digits are few
_floats = msgspec.json.Decoder(list[float])


class Malformed(ValueError):
    """A value is none of its type."""


def _bounded(oid: int) -> Any:
    low, high = _BOUNDS.get(oid, _BOUNDS[20])
    return Annotated[int, msgspec.Meta(ge=low, le=high)]


def _arrays_of(element: Any) -> Any:
    nested = element | None
    for _ in range(MOST_DIMENSIONS - 1):
        nested = GenericAlias(list, nested) | element | None
    return GenericAlias(list, GenericAlias(list, nested))


_integers = {oid: msgspec.json.Decoder(GenericAlias(list, _bounded(oid))) for oid in _BOUNDS}
_integer_arrays = {oid: msgspec.json.Decoder(_arrays_of(_bounded(oid))) for oid in _BOUNDS}


def check_integers(values: Sequence[bytes], oid: int) -> None:
    """Look whether each is a whole number of the type with this OID.

    Raises:
        Malformed: one is none.
    """
    _count(_integers.get(oid, _integers[20]), b",".join(values), len(values))


def check_numerics(joined: bytes, count: int, *, are_short: bool) -> None:
    """Look whether numbers joined by commas are so many, written as numeric is: digits, a point, a sign.

    ``are_short`` says that a float8 holds them.

    Raises:
        Malformed: one is none.
    """
    if joined.translate(None, b"0123456789-.,"):
        raise Malformed
    _count(_floats if are_short else _values, joined, count)


def check_floats(joined: bytes, count: int) -> None:
    """Look whether numbers joined by commas are so many, of no more digits than a float8 has.

    How large an exponent is is not looked at: to make a float of 1e+300 takes msgspec a thousand times as
    long as to see where it ends.

    Raises:
        Malformed: one is none.
    """
    if joined.translate(None, b"0123456789+-.e,"):
        raise Malformed
    if b"e" not in joined:
        _count(_floats, joined, count)
        return
    if _TOO_LONG in joined.translate(_DIGITS):
        raise Malformed
    _count(_values, joined, count)


def check_values(values: Sequence[bytes]) -> None:
    """Look whether each is one JSON value, whatever it says.

    Raises:
        Malformed: one is none, is nested deeper than this process reads, or holds half a surrogate pair.
    """
    found = _decoded(_values, b",".join(values))
    # that several are valid together is not enough: one may begin what the next one ends
    if len(found) != len(values) or (len(found) > 1 and not _are_same(found, values)):
        raise Malformed


def _are_same(found: Sequence[msgspec.Raw], values: Sequence[bytes]) -> bool:
    # no JSON holds a NUL as it is
    joined = b"\0".join(found)
    return joined == b"\0".join(values) or joined == b"\0".join([value.strip(_BLANKS) for value in values])


def check_integer_arrays(values: Sequence[bytes], oid: int) -> None:
    """Look whether each is a JSON list, of as many dimensions as Postgres has, of such whole numbers.

    Raises:
        Malformed: one is none.
    """
    check_values(values)
    _count(_integer_arrays.get(oid, _integer_arrays[20]), b",".join(values), len(values))


def _count(decoder: msgspec.json.Decoder[list[Any]], joined: bytes, count: int) -> None:
    # a comma within a value makes one more of them
    if len(_decoded(decoder, joined)) != count:
        raise Malformed


def _decoded(decoder: msgspec.json.Decoder[list[Any]], joined: bytes) -> list[Any]:
    try:
        return decoder.decode(b"[%b]" % joined)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Malformed from None
