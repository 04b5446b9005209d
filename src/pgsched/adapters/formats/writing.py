"""A stored result written in a shape, piece by piece: memory holds a few rows, whatever the size."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from importlib import import_module
from typing import Protocol, TypeVar

import msgspec

from pgsched.adapters.formats.columns import REWRITTEN_AT_ONCE, Column, columns_of, parts_of, picked, rows_in
from pgsched.adapters.formats.csv_text import CsvWriter
from pgsched.adapters.formats.json_text import ColumnsWriter, NdjsonWriter, RecordsWriter
from pgsched.adapters.formats.schemas import SchemaOfShown, for_strings
from pgsched.adapters.formats.shape import Format, Shape
from pgsched.application.ports.views import RunView, StoredRun
from pgsched.domain.errors import NotFound

#: what writes Parquet and Arrow, and whether it is there
_ARROW = "pgsched.adapters.formats.arrow_tables"
_loaded: set[str] = set()
_NO_SCHEMA = b'{"fields":[]}'
#: formats whose bytes depend on what the schema says of values; the others tell names and values alone
_TYPED = frozenset({Format.TABLE, Format.PARQUET, Format.ARROW})

_T = TypeVar("_T")


class Writer(Protocol):
    """Writes rows that come as JSON arrays of objects, some at a time."""

    #: whether all rows have to be looked at before the first is written
    looks: bool
    #: whether rows, or whatever else takes time, wait for the end
    waits: bool
    #: bytes of rows that are written in a few milliseconds at worst: more than that is written in a thread
    at_once: int

    def look(self, array: bytes) -> None:
        """See some rows beforehand."""
        ...

    def begin(self) -> bytes:
        """Return what stands before the first row."""
        ...

    def rows(self, array: bytes) -> bytes:
        """Return some rows as written; nothing when they have to wait."""
        ...

    def end(self) -> Iterator[bytes]:
        """Return what waited and what stands after the last row."""
        ...

    def close(self) -> None:
        """Let go of what is held, written to the end or not."""
        ...


async def written(view: RunView, stored: StoredRun, shape: Shape) -> AsyncGenerator[bytes]:
    """Write a run in a shape: ``table`` is the run with its result, all others are the rows alone.

    Raises:
        NotFound: the run has no rows to be written alone, or was deleted meanwhile.
        InvalidInput: a column is asked for that the result does not have.
    """
    if not stored.has_result:
        refuse_unwritable(stored, shape)
        yield _run_json(stored) + b',"result":null}'
        return
    document = (None, None) if stored.result is None else parts_of(stored.result)
    schema = await _told(view, stored, shape, document[0] or stored.table_schema or _NO_SCHEMA)
    if shape.format in (Format.PARQUET, Format.ARROW) and _ARROW not in _loaded:
        # a second of loading must not keep everybody else waiting
        await asyncio.to_thread(import_module, _ARROW)
        _loaded.add(_ARROW)
    writer = _writer(stored, schema, shape)

    def rows() -> AsyncGenerator[bytes]:
        if document[1] is None:
            return view.rows(stored, offset=shape.offset, limit=shape.limit)
        return _of_document(document[1], shape)

    try:
        if writer.looks:
            async with aclosing(rows()) as arrays:
                async for array in arrays:
                    await _beside(len(array) > writer.at_once, writer.look, array)
        yield writer.begin()
        async with aclosing(rows()) as arrays:
            async for array in arrays:
                if piece := await _beside(len(array) > writer.at_once, writer.rows, array):
                    yield piece
        end = writer.end()
        while (piece := await _beside(writer.waits, next, end, None)) is not None:
            if piece:
                yield piece
    finally:
        writer.close()


def refuse_unwritable(stored: StoredRun, shape: Shape) -> None:
    """Raise what ``written`` raises before the first piece, when it would.

    Raises:
        NotFound: the run has no rows to be written alone.
        InvalidInput: a column is asked for that the result does not have.
    """
    if not stored.has_result:
        if shape.format is not Format.TABLE:
            raise NotFound("result of run", f"{stored.run.id}, which is {stored.run.status}")
    elif shape.columns is not None:
        schema = stored.table_schema if stored.result is None else parts_of(stored.result)[0]
        picked(schema or _NO_SCHEMA, shape.columns)


async def _told(view: RunView, stored: StoredRun, shape: Shape, schema: bytes) -> bytes:
    """Return the schema as it is told in a shape."""
    if shape.columns is not None:
        schema = picked(schema, shape.columns)
    if stored.rows is not None and shape.format in _TYPED:
        schema = await _of_shown(view, stored, schema)
    if shape.format is Format.TABLE and shape.bigint_as_string:
        schema = for_strings(schema)
    return schema


async def _of_shown(view: RunView, stored: StoredRun, schema: bytes) -> bytes:
    """Return a schema that tells nothing of rows that are hidden: the same on every page of those shown."""
    shown = SchemaOfShown(schema)
    if shown.looks:
        async with aclosing(view.rows(stored)) as arrays:
            async for array in arrays:
                await _beside(len(array) > REWRITTEN_AT_ONCE, shown.look, array)
                if not shown.looks:
                    break
    return shown.schema()


def _run_json(stored: StoredRun) -> bytes:
    # Writes UTC times as RFC 3339 with Z; microseconds only where there are any.
    return msgspec.json.encode(stored.run)[:-1]


def _writer(stored: StoredRun, schema: bytes, shape: Shape) -> Writer:
    columns: Sequence[Column] = columns_of(schema)
    match shape.format:
        case Format.TABLE:
            before = b'%b,"result":{"schema":%b,"data":[' % (_run_json(stored), schema)
            return RecordsWriter(columns, shape, before=before, after=b"]}}")
        case Format.RECORDS:
            return RecordsWriter(columns, shape)
        case Format.COLUMNS:
            return ColumnsWriter(columns, shape)
        case Format.CSV:
            return CsvWriter(columns, shape)
        case Format.NDJSON:
            return NdjsonWriter(columns, shape)
    # pyarrow is an extra and heavy: loaded where it is used
    from pgsched.adapters.formats.arrow_tables import ArrowWriter, ParquetWriter

    return ParquetWriter(columns) if shape.format is Format.PARQUET else ArrowWriter(columns)


async def _of_document(data: bytes, shape: Shape) -> AsyncGenerator[bytes]:
    if not shape.is_page:
        yield data
        return
    rows = rows_in(data)[shape.offset : None if shape.limit is None else shape.offset + shape.limit]
    yield b"[%b]" % b",".join(rows)


async def _beside(is_long: bool, act: Callable[..., _T], *given: object) -> _T:
    """Act, in a thread when that takes long."""
    return await asyncio.to_thread(act, *given) if is_long else act(*given)
