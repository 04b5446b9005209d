"""Parquet and Arrow IPC streams, written a batch at a time with the types that the source named."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pgsched.adapters.formats.arrow_values import Values, text_of, values_of
from pgsched.adapters.formats.columns import REWRITTEN_AT_ONCE, CellReader, Column

#: a row group of Parquet is written when it has this many rows or bytes
_GROUP_ROWS = 65_536
_GROUP_BYTES = 16 * 1024 * 1024


class _Sink(io.RawIOBase):
    """Takes what is written until it is fetched; knows how much there was in all."""

    def __init__(self) -> None:
        super().__init__()
        self._held: list[bytes] = []
        self._total = 0

    def writable(self) -> bool:
        """Say yes."""
        return True

    def write(self, data: Any) -> int:
        """Take bytes."""
        taken = bytes(data)
        self._held.append(taken)
        self._total += len(taken)
        return len(taken)

    def tell(self) -> int:
        """Return how many bytes there were."""
        return self._total

    def fetch(self) -> bytes:
        """Hand out what is held."""
        held, self._held = self._held, []
        return b"".join(held)


class _Tables:
    """What both have in common: columns as Arrow values, settled before the first is written."""

    waits = True
    at_once = REWRITTEN_AT_ONCE

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = columns
        self._reader = CellReader([column.name for column in columns])
        self._values: list[Values] = []
        #: places of the columns whose values have to be looked at
        self._looked_at: list[int] = []
        for place, column in enumerate(columns):
            values, looks = values_of(column)
            self._values.append(values)
            if looks:
                self._looked_at.append(place)
        self.looks = bool(self._looked_at)
        self._sink = _Sink()

    def look(self, array: bytes) -> None:
        """Look whether the values of some rows fit their types; a column where one does not becomes text."""
        columns = self._reader.columns(array)
        for place in list(self._looked_at):
            if not self._values[place].fits(columns[place]):
                self._values[place] = text_of(self._values[place])
                self._looked_at.remove(place)

    def schema(self) -> Any:
        """Return the Arrow schema; each field says its Postgres type."""
        return pa.schema(
            [
                pa.field(column.name, values.type, metadata={"pgType": column.pg_type})
                for column, values in zip(self._columns, self._values, strict=True)
            ]
        )

    def batch(self, array: bytes, schema: Any) -> Any:
        """Return some rows as a record batch."""
        cells = self._reader.columns(array)
        arrays = [values.array(column) for values, column in zip(self._values, cells, strict=True)]
        return pa.RecordBatch.from_arrays(arrays, schema=schema)

    def close(self) -> None:
        """Nothing is held beyond memory."""


class ArrowWriter(_Tables):
    """An Arrow IPC stream."""

    def begin(self) -> bytes:
        """Write the schema."""
        self._schema = self.schema()
        self._writer = pa.ipc.new_stream(self._sink, self._schema)
        return self._sink.fetch()

    def rows(self, array: bytes) -> bytes:
        """Write some rows, given as a JSON array of objects."""
        self._writer.write_batch(self.batch(array, self._schema))
        return self._sink.fetch()

    def end(self) -> Iterator[bytes]:
        """Write the end of the stream."""
        self._writer.close()
        yield self._sink.fetch()


class ParquetWriter(_Tables):
    """A Parquet file."""

    def begin(self) -> bytes:
        """Write the first bytes."""
        self._schema = self.schema()
        self._writer = pq.ParquetWriter(self._sink, self._schema)
        self._group: list[Any] = []
        self._group_rows = self._group_bytes = 0
        return self._sink.fetch()

    def rows(self, array: bytes) -> bytes:
        """Take some rows, given as a JSON array of objects; a row group is written when it is large."""
        batch = self.batch(array, self._schema)
        self._group.append(batch)
        self._group_rows += batch.num_rows
        self._group_bytes += batch.nbytes
        if self._group_rows >= _GROUP_ROWS or self._group_bytes >= _GROUP_BYTES:
            self._write_group()
        return self._sink.fetch()

    def end(self) -> Iterator[bytes]:
        """Write the last row group and the footer."""
        if self._group:
            self._write_group()
        self._writer.close()
        yield self._sink.fetch()

    def _write_group(self) -> None:
        self._writer.write_table(pa.Table.from_batches(self._group, self._schema))
        self._group = []
        self._group_rows = self._group_bytes = 0
