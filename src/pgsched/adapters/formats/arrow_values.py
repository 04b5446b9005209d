"""Cells as Arrow values: which Arrow type a Postgres type becomes, and what does not fit it.

Where one value of a column cannot be said in the type that its Postgres type calls for (a date ``infinity``,
a time ``24:00:00``, an array of two dimensions), the whole column is text in that run, as in the stored
schema; nothing becomes null or rounded. That takes a look at the rows beforehand, for those columns alone.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Protocol

import msgspec
import pyarrow as pa

from pgsched.adapters.formats.columns import Column
from pgsched.adapters.formats.integers import may_have_added, without_added

#: most digits of decimal128 and decimal256
_DECIMAL128, _DECIMAL256 = 38, 76
_NUMERIC = re.compile(r"numeric(?:\((\d+),(-?\d+)\))?(\[\])?")
_DATE = re.compile(rb'"(?!0000)\d{4}-\d\d-\d\d"')
_MOMENT = re.compile(rb'"(?!0000)\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z?"')
_TIME = re.compile(rb'"(?:[01]\d|2[0-3]):\d\d:\d\d(?:\.\d{1,6})?"')
_NULL = b"null"


class Values(Protocol):
    """How the cells of one column become Arrow values."""

    @property
    def type(self) -> Any:
        """The Arrow type that every value fits, as far as they were looked at."""
        ...

    def fits(self, cells: list[bytes]) -> bool:
        """Look at cells; False when one of them cannot be said in the type."""
        ...

    def array(self, cells: list[bytes]) -> Any:
        """Return the cells as an array of the type."""
        ...


class Plain:
    """Values that msgspec reads into what Arrow takes."""

    def __init__(self, type_: Any, read: Any, *, form: re.Pattern[bytes] | None = None) -> None:
        self.type = type_
        self._decoder = msgspec.json.Decoder(list[read | None])
        self._form = form

    def fits(self, cells: list[bytes]) -> bool:
        """Look whether each has the form that can be read."""
        form = self._form
        return form is None or all(cell == _NULL or form.fullmatch(cell) for cell in cells)

    def array(self, cells: list[bytes]) -> Any:
        """Return the array."""
        return pa.array(self._decoder.decode(b"[%b]" % b",".join(cells)), type=self.type)


class Text:
    """Texts as they are; of what is no JSON string its JSON text."""

    type = pa.string()

    def __init__(self, *, raw: bool = False) -> None:
        self._raw = raw
        self._decoder = msgspec.json.Decoder(list[str | None])

    def fits(self, cells: list[bytes]) -> bool:  # noqa: ARG002 (the protocol's)
        """Anything is text."""
        return True

    def array(self, cells: list[bytes]) -> Any:
        """Return the array."""
        if not self._raw:
            with contextlib.suppress(msgspec.ValidationError):
                return pa.array(self._decoder.decode(b"[%b]" % b",".join(cells)), type=self.type)
        return pa.array([self._text(cell) for cell in cells], type=self.type)

    def _text(self, cell: bytes) -> str | None:
        if cell == _NULL:
            return None
        if cell.startswith(b'"') and not self._raw:
            return str(msgspec.json.decode(cell))
        return cell.decode()


class Digits(Text):
    """Numbers that no decimal holds, as texts with all their digits and no fraction that was added."""

    def _text(self, cell: bytes) -> str | None:
        return super()._text(without_added(cell))


class Converted:
    """Texts that a function turns into what Arrow stores."""

    def __init__(self, type_: Any, storage: Any, convert: Callable[[str], Any]) -> None:
        self.type = type_
        self._storage = storage
        self._convert = convert
        self._decoder = msgspec.json.Decoder(list[str | None])

    def fits(self, cells: list[bytes]) -> bool:  # noqa: ARG002 (the protocol's)
        """Postgres's own text form always does."""
        return True

    def array(self, cells: list[bytes]) -> Any:
        """Return the array."""
        texts = self._decoder.decode(b"[%b]" % b",".join(cells))
        values = pa.array(
            [None if text is None else self._convert(text) for text in texts], type=self._storage
        )
        if self.type == self._storage:
            return values
        return pa.ExtensionArray.from_storage(self.type, values)


class Exact:
    """numeric with precision and scale, as decimals of the same."""

    def __init__(self, precision: int, scale: int) -> None:
        self._scale = scale
        make = pa.decimal128 if precision <= _DECIMAL128 else pa.decimal256
        self.type = make(precision, scale)

    def fits(self, cells: list[bytes]) -> bool:  # noqa: ARG002 (the protocol's)
        """The type says so."""
        return True

    def array(self, cells: list[bytes]) -> Any:
        """Return the array."""
        return pa.array([self._decimal(cell) for cell in cells], type=self.type)

    def _decimal(self, cell: bytes) -> Decimal | None:
        if cell == _NULL:
            return None
        # A fraction that only keeps pandas from refusing the document (``.0``) goes where there is none.
        text = cell if self._scale else cell.partition(b".")[0]
        return Decimal(text.decode())


class Seen:
    """numeric without precision: 38 digits, as many after the point as its values are seen to have."""

    def __init__(self) -> None:
        self._whole = self._scale = 0

    @property
    def type(self) -> Any:
        """The decimal that holds all seen so far."""
        return pa.decimal128(_DECIMAL128, self._scale)

    def fits(self, cells: list[bytes]) -> bool:
        """Count digits before and after the point."""
        for cell in cells:
            if cell != _NULL:
                if cell.endswith(b".0"):
                    cell = without_added(cell)
                whole, _, fraction = cell.lstrip(b"-").partition(b".")
                # the zero before a point is no digit of a decimal
                self._whole = max(self._whole, len(whole.lstrip(b"0")))
                self._scale = max(self._scale, len(fraction))
        return self._whole + self._scale <= _DECIMAL128

    def array(self, cells: list[bytes]) -> Any:
        """Return the array."""
        return Exact(_DECIMAL128, self._scale).array(cells)


class Lists:
    """Arrays of one dimension."""

    def __init__(self, element: Values) -> None:
        self._element = element
        self._decoder = msgspec.json.Decoder(list[list[msgspec.Raw] | None])

    @property
    def type(self) -> Any:
        """The list of what the elements are."""
        return pa.list_(self._element.type)

    def fits(self, cells: list[bytes]) -> bool:
        """Look for lists in lists, and at the elements."""
        try:
            lists = self._decoder.decode(b"[%b]" % b",".join(cells))
        except msgspec.ValidationError:
            return False
        flat = [bytes(cell) for each in lists if each is not None for cell in each]
        return not any(cell.startswith(b"[") for cell in flat) and self._element.fits(flat)

    def array(self, cells: list[bytes]) -> Any:
        """Return the array."""
        lists = self._decoder.decode(b"[%b]" % b",".join(cells))
        flat = [bytes(cell) for each in lists if each is not None for cell in each]
        offsets: list[int | None] = []
        place = 0
        for each in lists:
            offsets.append(None if each is None else place)
            place += 0 if each is None else len(each)
        offsets.append(place)
        return pa.ListArray.from_arrays(pa.array(offsets, type=pa.int32()), self._element.array(flat))


def _bytes(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("\\x"))


def _uuid(text: str) -> bytes:
    return bytes.fromhex(text.replace("-", ""))


_UTC = pa.timestamp("us", tz="UTC")
#: by the OIDs of pg_type, which are the same in every Postgres
_SCALARS: dict[int, Callable[[], Values]] = {
    16: lambda: Plain(pa.bool_(), bool),
    17: lambda: Converted(pa.binary(), pa.binary(), _bytes),
    20: lambda: Plain(pa.int64(), int),
    21: lambda: Plain(pa.int16(), int),
    23: lambda: Plain(pa.int32(), int),
    26: lambda: Plain(pa.uint32(), int),
    700: lambda: Plain(pa.float32(), float),
    701: lambda: Plain(pa.float64(), float),
    1082: lambda: Plain(pa.date32(), date, form=_DATE),
    1083: lambda: Plain(pa.time64("us"), time, form=_TIME),
    1114: lambda: Plain(pa.timestamp("us"), datetime, form=_MOMENT),
    1184: lambda: Plain(_UTC, datetime, form=_MOMENT),
    2950: lambda: Converted(pa.uuid(), pa.binary(16), _uuid),
}
#: the type of the elements of the everyday arrays; pandas reads no lists of uuid, so those are text
_ELEMENTS = {
    1000: 16,
    1001: 17,
    1016: 20,
    1005: 21,
    1007: 23,
    1028: 26,
    1021: 700,
    1022: 701,
    1182: 1082,
    1183: 1083,
    1115: 1114,
    1185: 1184,
}
#: those whose values may not fit
_LOOKS = frozenset({1082, 1083})


def values_of(column: Column) -> tuple[Values, bool]:
    """Return how a column's cells become Arrow values, and whether they have to be looked at beforehand."""
    oid = column.pg_oid
    numeric = _NUMERIC.fullmatch(column.pg_type)
    if numeric is not None:
        values, looks = _numeric(column, numeric[1], numeric[2])
        return (Lists(values), True) if numeric[3] else (values, looks)
    if column.type == "any":
        if oid in _ELEMENTS:
            return Lists(_SCALARS[_ELEMENTS[oid]]()), True
        if column.pg_type.endswith("[]"):
            return Lists(Text(raw=column.pg_type.startswith("json"))), True
        return Text(raw=True), False
    if column.type == "string" and oid in (1114, 1184):
        # In this run a value does not fit a timestamp: the stored schema says so.
        return Text(), False
    if oid in _SCALARS:
        return _SCALARS[oid](), oid in _LOOKS
    return Text(), False


def text_of(values: Values) -> Values:
    """Return how the cells are written once one of them does not fit."""
    return Digits() if isinstance(values, Seen) else Text()


def _numeric(column: Column, precision: str | None, scale: str | None) -> tuple[Values, bool]:
    if precision is None or scale is None:
        return Seen(), True
    digits, fraction = int(precision), int(scale)
    if fraction < 0:
        # the last digits are zeros: numeric(3,-2) holds 12300
        digits, fraction = digits - fraction, 0
    digits = max(digits, fraction)
    if digits > _DECIMAL256:
        return Digits() if may_have_added(column) else Text(), False
    return Exact(digits, fraction), False
