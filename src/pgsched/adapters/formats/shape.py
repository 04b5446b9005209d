"""What a result is asked for as: the format, and which part of it in which spelling."""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import dataclass
from enum import StrEnum


class Format(StrEnum):
    """What a result can be asked for as."""

    #: the run with ``{"schema", "data"}``, for pandas
    TABLE = "table"
    #: ``[{column: value}, …]``
    RECORDS = "records"
    #: ``{column: [value, …]}``
    COLUMNS = "columns"
    #: comma-separated text
    CSV = "csv"
    #: a JSON object a line
    NDJSON = "ndjson"
    #: Apache Parquet
    PARQUET = "parquet"
    #: Apache Arrow, IPC stream
    ARROW = "arrow"


MEDIA_TYPES = {
    Format.TABLE: "application/json",
    Format.RECORDS: "application/json",
    Format.COLUMNS: "application/json",
    Format.CSV: "text/csv",
    Format.NDJSON: "application/x-ndjson",
    Format.PARQUET: "application/vnd.apache.parquet",
    Format.ARROW: "application/vnd.apache.arrow.stream",
}

#: how the names of files end; formats that are not here are shown rather than saved
EXTENSIONS = {Format.CSV: "csv", Format.PARQUET: "parquet", Format.ARROW: "arrows"}

_NEED_PYARROW = frozenset({Format.PARQUET, Format.ARROW})


@dataclass(frozen=True, kw_only=True, slots=True)
class Shape:
    """A format, and which part of a result in which spelling."""

    format: Format = Format.TABLE
    #: names of the columns, in the order wanted; None for all as they are
    columns: tuple[str, ...] | None = None
    #: rows left out before the first
    offset: int = 0
    #: most rows; None for all
    limit: int | None = None
    #: whether integers beyond 2^53 are strings in JSON
    bigint_as_string: bool = False
    #: whether cells of CSV that a spreadsheet could take for a formula are made harmless
    csv_safe: bool = False

    @property
    def is_page(self) -> bool:
        """Whether only some of the rows are asked for."""
        return self.offset > 0 or self.limit is not None

    @property
    def tag(self) -> str:
        """Return a short text that differs where the bytes written may."""
        part = (self.columns, self.offset, self.limit, self.bigint_as_string, self.csv_safe)
        if part == (None, 0, None, False, False):
            return str(self.format)
        return f"{self.format}.{hashlib.sha256(repr(part).encode()).hexdigest()[:12]}"


def available() -> tuple[Format, ...]:
    """Return the formats that can be written here: Parquet and Arrow need the extra ``arrow``."""
    has_pyarrow = importlib.util.find_spec("pyarrow") is not None
    return tuple(each for each in Format if has_pyarrow or each not in _NEED_PYARROW)
