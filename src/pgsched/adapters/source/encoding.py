"""Rows as Postgres sends them, written as JSON, a column at a time.

The work is done by operations on whole columns (join, translate, slices), with Python code per value only
where a value needs it; that is what makes it several times faster than a frame, and nothing is parsed
that would only be printed again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias, cast

import msgspec

from pgsched.adapters.source.arrays import encode_arrays, integer_arrays
from pgsched.adapters.source.checks import Malformed, check_floats, check_integers, check_numerics
from pgsched.adapters.source.faults import broken
from pgsched.adapters.source.json_values import (
    LONG_DIGITS,
    SHAPE,
    Room,
    float_json,
    integer_json,
    json_fragments,
)
from pgsched.adapters.source.timestamps import (
    UtcClock,
    are_of_our_time,
    moments_joined,
    plain_timestamp,
    text_in_utc,
)
from pgsched.domain.errors import QueryFailed
from pgsched.domain.results import (
    LARGEST_BESIDE_NULL,
    ColumnType,
    Kind,
    SchemaField,
    fits_datetime,
    table_schema,
)

#: a column of a batch: text forms as the source sent them, None for NULL
Values: TypeAlias = Sequence[bytes | None]
#: a row, the same way
Row: TypeAlias = tuple[bytes | None, ...]
#: what stands before each value, the values, what stands after each
Written: TypeAlias = tuple[bytes, Sequence[bytes], bytes]
#: what a schema field says of values: NULLs, NaN and infinities counted, timestamps as text, large integers
Seen: TypeAlias = tuple[bool, int, bool, bool]

#: bytes that JSON strings may not hold as they are
_ESCAPED = bytes(range(32)) + b'"\\'
_BOOLEANS = {b"t": b"true", b"f": b"false"}
#: character_not_in_repertoire, as the server says where it does the check
_BAD_CHARACTERS = "22021"
_POINT = ord(".")
_NOT_FINITE = frozenset({b"NaN", b"Infinity", b"-Infinity"})
_BIGINT = 20
#: how integers above LARGEST_BESIDE_NULL begin, and few others
_LARGE = str(LARGEST_BESIDE_NULL)[:-3].encode()


#: the method that writes each kind
_WRITERS = {kind: f"_{kind}" for kind in Kind}


class ColumnWriter:
    """Writes the values of one column and counts what its schema field must say."""

    def __init__(self, column_type: ColumnType, room: Room | None = None) -> None:
        """Take the column's type. Text is taken for UTF-8; ``RowEncoder.encode`` checks that it is."""
        self.type = column_type
        self._room = room or Room()
        self.has_nulls = False
        self.non_finite = 0
        self.as_text = False
        self.beyond_doubles = False
        self._clock = UtcClock()
        self._write: Callable[[Sequence[bytes]], Written] = getattr(self, _WRITERS[column_type.kind])

    def write(self, values: Values) -> Written:
        """Write one batch of the column.

        Raises:
            ValueError, LookupError, ArithmeticError: a value is none of the column's type.
            NoRoom: numbers are written out beyond the room there is.
        """
        if None not in values:
            return self._write(cast(Sequence[bytes], values))
        present = [value for value in values if value is not None]
        before, written, after = self._write(present)
        self.has_nulls = True
        if before or after:
            written = [b"%b%b%b" % (before, value, after) for value in written]
        rest = iter(written)
        return b"", [b"null" if value is None else next(rest) for value in values], b""

    @property
    def seen(self) -> Seen:
        """What the schema knows of the values so far."""
        return self.has_nulls, self.non_finite, self.as_text, self.beyond_doubles

    @seen.setter
    def seen(self, was: Seen) -> None:
        self.has_nulls, self.non_finite, self.as_text, self.beyond_doubles = was

    def field(self, name: str) -> SchemaField:
        """Describe the column as seen so far."""
        return SchemaField(
            name=name,
            type=self.type,
            has_nulls=self.has_nulls,
            non_finite=self.non_finite,
            as_text=self.as_text,
            beyond_doubles=self.beyond_doubles,
        )

    def _integer(self, values: Sequence[bytes]) -> Written:
        check_integers(values, self.type.oid)
        return b"", values, b""

    def look_for_large(self, values: Values) -> None:
        """See whether integers are beyond what pandas reads beside NULL."""
        self.beyond_doubles = self.beyond_doubles or any(
            len(value) == 19 and int(value) > LARGEST_BESIDE_NULL for value in values if value is not None
        )

    def _boolean(self, values: Sequence[bytes]) -> Written:
        return b"", list(map(_BOOLEANS.__getitem__, values)), b""

    def _json(self, values: Sequence[bytes]) -> Written:
        return b"", json_fragments(values, self._room), b""

    def _text(self, values: Sequence[bytes]) -> Written:
        if not _needs_escapes(b"".join(values)):
            return b'"', values, b'"'
        encode = msgspec.json.encode
        return b"", [encode(value.decode()) for value in values], b""

    def _numeric(self, values: Sequence[bytes]) -> Written:
        joined = b",".join(values)
        are_short = LONG_DIGITS not in joined.translate(SHAPE)
        if b"N" in joined or b"I" in joined:
            finite = [value for value in values if value not in _NOT_FINITE]
            check_numerics(b",".join(finite), len(finite), are_short=are_short)
            values = self._without_non_finite(values)
        else:
            check_numerics(joined, len(values), are_short=are_short)
        if not are_short:
            values = [v if len(v) < 19 or b"." in v else integer_json(v) for v in values]
        return b"", values, b""

    def _float(self, values: Sequence[bytes]) -> Written:
        joined = b",".join(values)
        if b"N" in joined or b"I" in joined:
            finite = [value for value in values if value not in _NOT_FINITE]
            check_floats(b",".join(finite), len(finite))
            values = self._without_non_finite(values)
            return b"", [v if v == b"null" else float_json(v, self._room) for v in values], b""
        check_floats(joined, len(values))
        if b"e" in joined:
            return b"", [float_json(v, self._room) for v in values], b""
        if joined.count(b".") == len(values):
            # no number has two
            return b"", values, b""
        return b"", [v if _POINT in v else v + b".0" for v in values], b""

    def _without_non_finite(self, values: Sequence[bytes]) -> list[bytes]:
        kept = [b"null" if value in _NOT_FINITE else value for value in values]
        lost = kept.count(b"null")
        self.non_finite += lost
        self.has_nulls = self.has_nulls or lost > 0
        return kept

    def _timestamp(self, values: Sequence[bytes]) -> Written:
        return self._moments(values, [plain_timestamp(value) for value in values], b"")

    def _timestamptz(self, values: Sequence[bytes]) -> Written:
        return self._moments(values, self._clock.write_all(values), b"Z")

    def _moments(self, values: Sequence[bytes], written: Values, zone: bytes) -> Written:
        if None in written or (joined := moments_joined(moments := cast(list[bytes], written), zone)) is None:
            self.as_text = True
            texts = [
                moment
                if moment is not None and moments_joined([moment], zone) is not None
                else text_in_utc(text)
                if zone
                else text
                for text, moment in zip(values, written, strict=True)
            ]
            if _needs_escapes(b"".join(texts)):
                raise Malformed
            return b'"', texts, b'"'
        if moments and not self.as_text and not are_of_our_time(joined, zone):
            earliest, latest = min(moments).decode(), max(moments).decode()
            self.as_text = not fits_datetime(earliest.removesuffix("Z"), latest.removesuffix("Z"))
        return b'"', moments, b'"'

    def _array(self, values: Sequence[bytes]) -> Written:
        if self.type.element is Kind.INTEGER:
            return b"", integer_arrays(values, self.type.element_oid), b""
        element_type = ColumnType(oid=self.type.element_oid, name="", kind=self.type.element)
        elements = ColumnWriter(element_type, self._room)

        def encode(flat: Values) -> list[bytes]:
            before, written, after = elements.write(flat)
            return [b"%b%b%b" % (before, value, after) for value in written]

        written = encode_arrays(values, self.type.delimiter, encode)
        self.non_finite += elements.non_finite
        return b"", written, b""


def _needs_escapes(text: bytes) -> bool:
    return len(text.translate(None, _ESCAPED)) != len(text)


class RowEncoder:
    """Writes batches of rows as JSON objects and knows the Table Schema of what it wrote."""

    def __init__(self, names: Sequence[str], types: Sequence[ColumnType]) -> None:
        """Take the columns' unique names and their types, in order."""
        #: the columns' unique names
        self.names = list(names)
        self._types = list(types)
        self._room = Room()
        self._columns = [ColumnWriter(one, self._room) for one in types]
        self._bigints = [place for place, one in enumerate(types) if one.oid == _BIGINT]
        self._keys = [msgspec.json.encode(name) + b":" for name in names]
        # jsonb sorts keys by length, then by bytes; what comes sorted is parsed in 2/3 of the time
        encoded = [name.encode() for name in names]
        self._order = sorted(range(len(names)), key=lambda place: (len(encoded[place]), encoded[place]))

    @property
    def width(self) -> int:
        """How many columns there are."""
        return len(self._columns)

    def afresh(self) -> RowEncoder:
        """Return an encoder for the same columns that has seen nothing."""
        return RowEncoder(self.names, self._types)

    def seen(self) -> list[Seen]:
        """Return what the schema knows of the rows so far, for ``forget_since``."""
        return [column.seen for column in self._columns]

    def forget_since(self, seen: list[Seen]) -> None:
        """Take back what was learnt since, because those rows are not stored."""
        for column, was in zip(self._columns, seen, strict=True):
            column.seen = was

    def table_schema(self, *, sampled: bool = False) -> bytes:
        """Return the Table Schema of all rows written so far, UTF-8 JSON."""
        pairs = zip(self._columns, self.names, strict=True)
        return table_schema((column.field(name) for column, name in pairs), sampled=sampled)

    def encode(self, rows: Sequence[Row], *, room: int | None = None) -> bytes:
        """Write rows as JSON objects joined by commas, their keys in the order of jsonb.

        With ``room`` in bytes it may give up where numbers that are written out alone take more than that;
        what it returns may be longer all the same.

        Raises:
            NoRoom: it has given up.
            QueryFailed: a value is not UTF-8, because a function of the query changed client_encoding.
            ProtocolBroken: a value is none of its column's type.
        """
        self._room.left = room
        try:
            data = self._encode(rows)
            if not data.isascii():
                data.decode()  # once a batch, at memory speed; nothing else would notice before the store
        except UnicodeDecodeError:
            fault = (
                "the source sent text that is not UTF-8; does a function of the query set client_encoding?"
            )
            raise QueryFailed(fault, sqlstate=_BAD_CHARACTERS) from None
        return data

    def _encode(self, rows: Sequence[Row]) -> bytes:
        if not self._columns:
            return b",".join([b"{}"] * len(rows))
        if not rows:
            return b""
        count = len(rows)
        columns: list[Values] = list(zip(*rows, strict=True))
        width = 2 * len(columns)
        # key, value, key, value …: laid out by slices, which costs a fraction of a loop over rows
        pieces = [b""] * (width * count)
        closing = b""
        opening = b"{"
        for index, place in enumerate(self._order):
            before, written, after = self._write(place, columns[place])
            pieces[2 * index :: width] = [closing + opening + self._keys[place] + before] * count
            pieces[2 * index + 1 :: width] = written
            closing, opening = after, b","
        first_key = pieces[0]
        pieces[0::width] = [closing + b"}," + first_key] * count
        pieces[0] = first_key
        pieces.append(closing + b"}")
        data = b"".join(pieces)
        if self._bigints and _LARGE in data:
            # one search at memory speed for all columns: hardly any result has such a value
            for place in self._bigints:
                self._columns[place].look_for_large(columns[place])
        return data

    def _write(self, place: int, values: Values) -> Written:
        try:
            return self._columns[place].write(values)
        except UnicodeDecodeError:
            raise
        except (ValueError, LookupError, ArithmeticError, RecursionError):
            # the value is for no log
            name, type_name = self.names[place], self._types[place].name
            raise broken(f"a value of column {name!r} that is no {type_name}") from None
