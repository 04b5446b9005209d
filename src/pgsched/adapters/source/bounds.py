"""What of a result Postgres can store at all, whatever a query allows itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from operator import itemgetter

from pgsched.adapters.source.encoding import Row
from pgsched.domain.errors import ResultRejected
from pgsched.domain.results import NARROW_BYTES, ColumnType, Kind, is_unbounded

#: bytes of one string of jsonb, and of one object or array in all: JENTRY_OFFLENMASK of utils/jsonb.h
MOST_ROW_BYTES = (1 << 28) - 1
#: bytes of values that are written and stored together, unless one row has more
PART_BYTES = 4 << 20
#: bytes of rows that came together beyond which their connection is not kept: libpq's buffers never shrink
LARGE_BYTES = 32 << 20
#: bytes that -Infinity has more than the null that is written for it
_INFINITY_SHRINKS = 5
#: most bytes of ``[2147483646:2147483647]`` for each of six dimensions, and the sign behind them
_MOST_BOUNDS = 6 * len("[-2147483648:-2147483647]") + 1


class Sizes:
    """Tells how large rows are, with a look at those of their values alone that may be long."""

    def __init__(self, types: Sequence[ColumnType]) -> None:
        """Take the columns' types."""
        self._wide = [place for place, one in enumerate(types) if is_unbounded(one)]
        self._arrays = {place for place in self._wide if types[place].kind is Kind.ARRAY}
        self._narrow_bytes = NARROW_BYTES * (len(types) - len(self._wide))

    def of(self, rows: Sequence[Row]) -> int:
        """Return about how many bytes rows take: exactly where a value may be long."""
        size = len(rows) * self._narrow_bytes
        for place in self._wide:
            size += sum(map(len, filter(None, map(itemgetter(place), rows))))
        return size

    def least_of(self, row: Row) -> int:
        """Return how many bytes of JSON those values become at least that may be long."""
        return sum(
            _least_of_array(value) if place in self._arrays else max(0, len(value) - _INFINITY_SHRINKS)
            for place in self._wide
            if (value := row[place])
        )


def _least_of_array(text: bytes) -> int:
    # at memory speed: to take an array apart takes a hundred times its bytes
    quoting = 2 * text.count(b'"') + text.count(b"\\")
    bounds = _MOST_BOUNDS if text.startswith(b"[") else 0
    return max(0, len(text) - quoting - bounds - _INFINITY_SHRINKS * text.count(b"Infinity"))


def size_of(row: Row) -> int:
    """Return how many bytes a row's values have as the source sent them."""
    return sum(len(value) for value in row if value is not None)


def parted(rows: Sequence[Row]) -> Iterator[list[Row]]:
    """Cut rows into parts of at most ``PART_BYTES``; a row with more is a part by itself."""
    part: list[Row] = []
    room = PART_BYTES
    for row in rows:
        taken = size_of(row)
        if part and taken > room:
            yield part
            part, room = [], PART_BYTES
        part.append(row)
        room -= taken
    if part:
        yield part


def refuse_unstorable(rows: Sequence[Row], names: Sequence[str], *, before: int, room: int) -> None:
    """Refuse a row that no jsonb value holds, before time goes into writing and sending it.

    ``before`` is how many rows of the result came before these. What does not fit into ``room`` bytes is not
    going to be stored, and is passed over.

    Raises:
        ResultRejected: a row among those that are to be stored is too large.
    """
    for number, row in enumerate(rows, before + 1):
        size = size_of(row)
        room -= size
        if room < 0:
            return
        if size > MOST_ROW_BYTES:
            raise _too_large(row, names, number=number, size=size)


def _too_large(row: Row, names: Sequence[str], *, number: int, size: int) -> ResultRejected:
    sizes = [0 if value is None else len(value) for value in row]
    largest = max(sizes)
    name = names[sizes.index(largest)]
    if largest > MOST_ROW_BYTES:
        what = f'the value of column "{name}" in row {number} has {largest:,} bytes, and a value'
        way_out = "select a part of it (left, substring)"
    else:
        what = f'row {number} has {size:,} bytes, {largest:,} of them in column "{name}", and a row'
        way_out = "select fewer of its columns, or parts of them (left, substring)"
    return ResultRejected(f"{what} can have at most {MOST_ROW_BYTES:,} to be stored as jsonb: {way_out}")
