"""CSV (RFC 4180): lines end in CRLF, NULL is an empty field, an empty text is ``""``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import msgspec

from pgsched.adapters.formats.columns import BETWEEN, REWRITTEN_AT_ONCE, CellReader, Column
from pgsched.adapters.formats.integers import may_have_added, without_added
from pgsched.adapters.formats.shape import Shape

_QUOTED = re.compile(rb'[",\r\n]')
#: what makes a spreadsheet take a cell for a formula (OWASP, "CSV Injection")
_FORMULA = b"=+-@\t\r\n"
#: what ends the input of psql's COPY when it stands alone on a line
_END = b"\\."
_QUOTE = ord('"')
_BETWEEN_TEXTS = b'"%b"' % BETWEEN
#: how JSON strings begin that are taken for formulas; control characters have a backslash
_RISKY = (b'"=', b'"+', b'"-', b'"@')
_text = msgspec.json.Decoder(str)


class CsvWriter:
    """Writes a header and a line for each row."""

    looks = waits = False

    def __init__(self, columns: Sequence[Column], shape: Shape) -> None:
        self._columns = columns
        self._kinds = [(column.type, may_have_added(column)) for column in columns]
        self._reader = CellReader([column.name for column in columns])
        self._safe = shape.csv_safe
        has_any = any(column.type == "any" for column in columns)
        self.at_once = REWRITTEN_AT_ONCE if has_any else 2 * REWRITTEN_AT_ONCE

    def begin(self) -> bytes:
        """Return the header."""
        return b",".join(self._field(column.name.encode()) for column in self._columns) + b"\r\n"

    def look(self, array: bytes) -> None:
        """Nothing has to be known of the rows beforehand."""

    def rows(self, array: bytes) -> bytes:
        """Write some rows, given as a JSON array of objects."""
        if not self._columns:
            return b"\r\n" * len(self._reader.rows(array))
        joined = self._reader.joined(array)
        if joined is None:
            return b""
        columns = [
            self._column(without_added(cells) if may_have else cells, type_)
            for (type_, may_have), cells in zip(self._kinds, joined, strict=True)
        ]
        lines = [b",".join(row) for row in zip(*columns, strict=True)]
        lines.append(b"")
        return b"\r\n".join(lines)

    def end(self) -> Iterator[bytes]:
        """Nothing stands after the last line."""
        yield b""

    def close(self) -> None:
        """Nothing is held."""

    def _column(self, joined: bytes, type_: str) -> list[bytes]:
        risky = self._safe and any(start in joined for start in _RISKY)
        if risky or type_ == "any" or b"\\" in joined or b"," in joined:
            return [self._cell(cell, type_) for cell in joined.split(BETWEEN)]
        # Nothing has to be quoted but empty texts: without a backslash, JSON's quotes only stand around.
        if b"null" in joined or b'""' in joined:
            return [_bare(cell) for cell in joined.split(BETWEEN)]
        if b'"' not in joined:
            return joined.split(BETWEEN)
        if joined.count(_BETWEEN_TEXTS) == joined.count(BETWEEN):
            return joined[1:-1].split(_BETWEEN_TEXTS)
        return [_bare(cell) for cell in joined.split(BETWEEN)]

    def _cell(self, cell: bytes, type_: str) -> bytes:
        if cell == b"null":
            return b""
        if type_ == "any":
            # json and arrays as JSON text, strings in their quotes: what begins with a sign is a number
            return _quoted(cell)
        if not cell.startswith(b'"'):
            return cell
        return self._field(_text.decode(cell).encode() if b"\\" in cell else cell[1:-1])

    def _field(self, text: bytes) -> bytes:
        if not text or text == _END:
            return b'"%b"' % text
        if self._safe and text[0] in _FORMULA:
            # quoted too: an apostrophe alone is taken off by some when they save the file again
            return b'"\'%b"' % text.replace(b'"', b'""')
        return _quoted(text)


def _quoted(text: bytes) -> bytes:
    return b'"%b"' % text.replace(b'"', b'""') if _QUOTED.search(text) else text


def _bare(cell: bytes) -> bytes:
    if cell == b"null":
        return b""
    return (cell[1:-1] or b'""') if cell[0] == _QUOTE else cell
