"""CSV (RFC 4180): lines end in CRLF, NULL is an empty field, an empty text is ``""``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import msgspec

from pgsched.adapters.formats.columns import CellReader, Column
from pgsched.adapters.formats.shape import Shape

_QUOTED = re.compile(rb'[",\r\n]')
#: what makes a spreadsheet take a cell for a formula (OWASP, "CSV Injection")
_FORMULA = b"=+-@\t\r\n"
#: what ends the input of psql's COPY when it stands alone on a line
_END = b"\\."
_QUOTE = ord('"')
#: JSON strings that begin as formulas do; control characters have a backslash
_RISKY = frozenset({b'"=', b'"+', b'"-', b'"@'})
_text = msgspec.json.Decoder(str)


class CsvWriter:
    """Writes a header and a line for each row."""

    looks = False

    def __init__(self, columns: Sequence[Column], shape: Shape) -> None:
        self._columns = columns
        self._reader = CellReader([column.name for column in columns])
        self._safe = shape.csv_safe

    def begin(self) -> bytes:
        """Return the header."""
        return b",".join(self._field(column.name.encode()) for column in self._columns) + b"\r\n"

    def look(self, array: bytes) -> None:
        """Nothing has to be known of the rows beforehand."""

    def rows(self, array: bytes) -> bytes:
        """Write some rows, given as a JSON array of objects."""
        columns = [
            self._column(cells, column.type)
            for column, cells in zip(self._columns, self._reader.columns(array), strict=True)
        ]
        if not columns:
            return b"\r\n" * len(self._reader.rows(array))
        lines = [b",".join(row) for row in zip(*columns, strict=True)]
        lines.append(b"")
        return b"\r\n".join(lines)

    def end(self) -> Iterator[bytes]:
        """Nothing stands after the last line."""
        yield b""

    def close(self) -> None:
        """Nothing is held."""

    def _column(self, cells: list[bytes], type_: str) -> list[bytes]:
        joined = b"".join(cells)
        risky = self._safe and any(cell[:2] in _RISKY for cell in cells)
        if risky or type_ == "any" or b"\\" in joined or b"," in joined:
            return [self._cell(cell, type_) for cell in cells]
        # Nothing has to be quoted but empty texts: without a backslash, JSON's quotes only stand around.
        return [
            b"" if cell == b"null" else (cell[1:-1] or b'""') if cell[0] == _QUOTE else cell for cell in cells
        ]

    def _cell(self, cell: bytes, type_: str) -> bytes:
        if cell == b"null":
            return b""
        if type_ == "any":
            # json and arrays as JSON text, strings in their quotes
            return self._field(cell)
        if not cell.startswith(b'"'):
            return cell
        return self._field(_text.decode(cell).encode() if b"\\" in cell else cell[1:-1])

    def _field(self, text: bytes) -> bytes:
        if not text or text == _END:
            return b'"%b"' % text
        if self._safe and text[0] in _FORMULA:
            # quoted too: an apostrophe alone is taken off by some when they save the file again
            return b'"\'%b"' % text.replace(b'"', b'""')
        if _QUOTED.search(text):
            return b'"%b"' % text.replace(b'"', b'""')
        return text
