"""The shapes a result is answered in: chosen by ``format=`` or Accept, made from the stored bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import StrEnum

import msgspec

from pgsched.application.ports.views import StoredRun
from pgsched.domain.errors import FieldFault, InvalidInput, NotFound
from pgsched.entrypoints.http import wire
from pgsched.entrypoints.http.problems import FormatUnavailable

#: results larger than this, in bytes, are reshaped beside the event loop
_LARGE = 256 * 1024


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
    Format.TABLE: wire.JSON,
    Format.RECORDS: wire.JSON,
    Format.COLUMNS: wire.JSON,
    Format.CSV: "text/csv",
    Format.NDJSON: "application/x-ndjson",
    Format.PARQUET: "application/vnd.apache.parquet",
    Format.ARROW: "application/vnd.apache.arrow.stream",
}

#: what an Accept header may name, the preferred one of equals first
_ACCEPTED = {
    wire.JSON: Format.TABLE,
    "application/x-ndjson": Format.NDJSON,
    "text/csv": Format.CSV,
    "application/vnd.apache.parquet": Format.PARQUET,
    "application/vnd.apache.arrow.stream": Format.ARROW,
}


class _Document(msgspec.Struct):
    schema: msgspec.Raw
    data: msgspec.Raw


class _Field(msgspec.Struct):
    name: str


class _Schema(msgspec.Struct):
    fields: list[_Field]


# Raw fields are skimmed, not parsed: digits and escapes pass through as they were stored.
_document = msgspec.json.Decoder(_Document)
_schema = msgspec.json.Decoder(_Schema)
_raw_list = msgspec.json.Decoder(list[msgspec.Raw])
_rows = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])


def chosen(format_: str | None, accept: str | None) -> Format:
    """Decide on the format: the parameter wins over the Accept header (RFC 9110 §12.5.1).

    Raises:
        InvalidInput: the parameter names no format.
        FormatUnavailable: this server does not write it, or nothing that is accepted.
    """
    if format_ is not None:
        try:
            wanted = Format(format_)
        except ValueError:
            message = f"must be one of {', '.join(Format)}"
            raise InvalidInput.of(FieldFault(field="format", message=message)) from None
    elif accept is None or accept == "*/*":
        return Format.TABLE
    else:
        wanted = _negotiated(accept)
    if wanted is not Format.TABLE and wanted not in _WRITERS:
        raise FormatUnavailable(f"{wanted} is not to be had here; ask for one of {_available()}")
    return wanted


def _available() -> str:
    return ", ".join([Format.TABLE, *_WRITERS])


def _negotiated(accept: str) -> Format:
    ranges = dict(_weighed(part) for part in accept.split(","))
    best, weight = None, 0.0
    for media_type, format_ in _ACCEPTED.items():
        if format_ is not Format.TABLE and format_ not in _WRITERS:
            continue
        kind = media_type.partition("/")[0]
        here = next((ranges[name] for name in (media_type, f"{kind}/*", "*/*") if name in ranges), 0.0)
        if here > weight:
            best, weight = format_, here
    if best is None:
        raise FormatUnavailable(f"nothing that Accept names is to be had; ask for one of {_available()}")
    return best


def _weighed(part: str) -> tuple[str, float]:
    """Read one media range and its weight; what cannot be read weighs 1, as if it were not there."""
    name, *parameters = part.split(";")
    weight = 1.0
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip().lower() == "q":
            try:
                weight = float(value)
            except ValueError:
                weight = 1.0
    return name.strip().lower(), weight


async def rendered(stored: StoredRun, format_: Format) -> bytes:
    """Write a run in a format: ``table`` is the run with its result, all others are the rows alone.

    Raises:
        NotFound: the run has no rows to be written alone.
    """
    if format_ is Format.TABLE:
        return wire.run_with_result(stored)
    if stored.result is None:
        raise NotFound("result of run", f"{stored.run.id}, which is {stored.run.status}")
    write = _WRITERS[format_]
    if len(stored.result) > _LARGE:
        return await asyncio.to_thread(write, stored.result)
    return write(stored.result)


def _records(document: bytes) -> bytes:
    return bytes(_document.decode(document).data)


def _columns(document: bytes) -> bytes:
    parts = _document.decode(document)
    rows = _rows.decode(parts.data)
    names = [field.name for field in _schema.decode(parts.schema).fields]
    return msgspec.json.encode({name: [row[name] for row in rows] for name in names})


def _ndjson(document: bytes) -> bytes:
    # A raw line end cannot stand inside JSON strings, but may stand between tokens.
    lines = _raw_list.decode(_document.decode(document).data)
    return b"".join(bytes(line).replace(b"\n", b" ") + b"\n" for line in lines)


_WRITERS: dict[Format, Callable[[bytes], bytes]] = {
    Format.RECORDS: _records,
    Format.COLUMNS: _columns,
    Format.NDJSON: _ndjson,
}
