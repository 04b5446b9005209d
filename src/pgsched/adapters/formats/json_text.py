"""The JSON formats: rows pass through as they were stored unless columns are picked or digits are quoted."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence

import msgspec

from pgsched.adapters.formats.columns import PASSED_AT_ONCE, REWRITTEN_AT_ONCE, CellReader, Column, rows_in
from pgsched.adapters.formats.integers import holds_doubles, may_have_long, with_strings
from pgsched.adapters.formats.shape import Shape

#: bytes of columns held in memory before they go to a temporary file, and read back at once
_HELD = 8 * 1024 * 1024


class Objects:
    """Rewrites row objects where a shape asks for it."""

    def __init__(self, columns: Sequence[Column], shape: Shape) -> None:
        self._reader = CellReader([column.name for column in columns])
        self._keys = [msgspec.json.encode(column.name) + b":" for column in columns]
        self._kept = [holds_doubles(column) for column in columns]
        self._picks = shape.columns is not None
        self._quotes = shape.bigint_as_string
        #: whether rows are taken apart
        self.rewrites = self._picks or self._quotes

    def changed(self, array: bytes) -> list[bytes] | None:
        """Return the row objects as they are to be written, None when they can stay as they are."""
        quotes = self._quotes and may_have_long(array)
        if not self._picks and not quotes:
            return None
        return [
            b"{%b}" % b",".join(map(bytes.__add__, self._keys, self._cells(row, quotes)))
            for row in self._reader.rows(array)
        ]

    def columns(self, array: bytes) -> list[list[bytes]]:
        """Return the cells of each column as they are to be written."""
        columns = self._reader.columns(array)
        if self._quotes and may_have_long(array):
            return [
                cells if kept else [with_strings(cell) for cell in cells]
                for cells, kept in zip(columns, self._kept, strict=True)
            ]
        return columns

    def _cells(self, row: Sequence[msgspec.Raw], quotes: bool) -> list[bytes]:
        if not quotes:
            return [bytes(cell) for cell in row]
        return [
            bytes(cell) if kept else with_strings(bytes(cell))
            for cell, kept in zip(row, self._kept, strict=True)
        ]


class RecordsWriter:
    """``[{column: value}, …]``, between what is to stand before and after it."""

    looks = waits = False

    def __init__(
        self, columns: Sequence[Column], shape: Shape, *, before: bytes = b"[", after: bytes = b"]"
    ) -> None:
        self._objects = Objects(columns, shape)
        self._before, self._after = before, after
        self.at_once = REWRITTEN_AT_ONCE if self._objects.rewrites else PASSED_AT_ONCE
        self._is_first = True

    def begin(self) -> bytes:
        """Return what stands before the first row."""
        return self._before

    def look(self, array: bytes) -> None:
        """Nothing has to be known of the rows beforehand."""

    def rows(self, array: bytes) -> bytes:
        """Write some rows, given as a JSON array of objects."""
        changed = self._objects.changed(array)
        written = array.strip()[1:-1].strip() if changed is None else b",".join(changed)
        if not written:
            return b""
        separator, self._is_first = b"" if self._is_first else b",", False
        return separator + written

    def end(self) -> Iterator[bytes]:
        """Write what stands after the last row."""
        yield self._after

    def close(self) -> None:
        """Nothing is held."""


class NdjsonWriter(RecordsWriter):
    """A JSON object a line."""

    def __init__(self, columns: Sequence[Column], shape: Shape) -> None:
        super().__init__(columns, shape, before=b"", after=b"")

    def rows(self, array: bytes) -> bytes:
        """Write some rows, given as a JSON array of objects."""
        lines: Sequence[bytes | msgspec.Raw] = self._objects.changed(array) or rows_in(array)
        # A raw line end cannot stand inside JSON strings, but may stand between tokens.
        return b"".join(bytes(line).replace(b"\n", b" ") + b"\n" for line in lines)


class ColumnsWriter:
    """``{column: [value, …]}``: cells wait, beyond a bound in a temporary file, until all rows were seen."""

    looks, waits = False, True
    at_once = REWRITTEN_AT_ONCE

    def __init__(self, columns: Sequence[Column], shape: Shape) -> None:
        self._objects = Objects(columns, shape)
        self._keys = [msgspec.json.encode(column.name) for column in columns]
        self._waiting = tempfile.SpooledTemporaryFile(max_size=_HELD)  # noqa: SIM115 (closed by close)
        #: (place, length) in what waits, by column
        self._pieces: list[list[tuple[int, int]]] = [[] for _ in columns]

    def begin(self) -> bytes:
        """Return what stands before the first column."""
        return b"{"

    def look(self, array: bytes) -> None:
        """Nothing has to be known of the rows beforehand."""

    def rows(self, array: bytes) -> bytes:
        """Take some rows, given as a JSON array of objects."""
        for pieces, cells in zip(self._pieces, self._objects.columns(array), strict=True):
            if cells:
                text = b",".join(cells)
                pieces.append((self._waiting.tell(), len(text)))
                self._waiting.write(text)
        return b""

    def end(self) -> Iterator[bytes]:
        """Write the columns."""
        separator = b""
        for key, pieces in zip(self._keys, self._pieces, strict=True):
            yield separator + key + b":["
            for number, (place, length) in enumerate(pieces):
                self._waiting.seek(place)
                yield (b"," if number else b"") + self._waiting.read(length)
            yield b"]"
            separator = b","
        yield b"}"

    def close(self) -> None:
        """Drop what waits."""
        self._waiting.close()
