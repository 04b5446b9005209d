"""Which shape of a result a request asks for: ``format=`` and its kin, or the Accept header."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pgsched.adapters.formats.shape import Format, Shape, available
from pgsched.entrypoints.http import wire
from pgsched.entrypoints.http.parameters import Faults
from pgsched.entrypoints.http.problems import FormatUnavailable

if TYPE_CHECKING:
    from litestar import Request

#: what an Accept header may name, the preferred one of equals first
_ACCEPTED = {
    wire.JSON: Format.TABLE,
    "application/x-ndjson": Format.NDJSON,
    "application/jsonl": Format.NDJSON,
    "text/csv": Format.CSV,
    "application/vnd.apache.parquet": Format.PARQUET,
    "application/vnd.apache.arrow.stream": Format.ARROW,
}


def shape_of(request: Request[Any, Any, Any], faults: Faults) -> Shape:
    """Read the shape that a request asks for, after its other parameters.

    Raises:
        InvalidInput: this parameter or one before it is malformed.
        FormatUnavailable: this server does not write the format, or nothing that is accepted.
    """
    asked = request.query_params
    format_ = faults.choice("format", asked.get("format"), tuple(Format))
    offset, limit = faults.rows(asked.get("rows"))
    columns = faults.columns(asked.getall("columns", []))
    bigint = faults.choice("bigint", asked.get("bigint"), ("number", "string"))
    csv_safe = faults.choice("csv_safe", asked.get("csv_safe"), ("0", "1"))
    faults.refuse()
    return Shape(
        format=chosen(None if format_ is None else Format(format_), request.headers.get("accept")),
        columns=columns,
        offset=offset,
        limit=limit,
        bigint_as_string=bigint == "string",
        csv_safe=csv_safe == "1",
    )


def chosen(wanted: Format | None, accept: str | None) -> Format:
    """Decide on the format: what the parameter names wins over the Accept header (RFC 9110 §12.5.1).

    Raises:
        FormatUnavailable: this server does not write it, or nothing that is accepted.
    """
    if wanted is None and (accept is None or accept.strip() in ("", "*/*")):
        return Format.TABLE
    wanted = wanted or _negotiated(accept or "")
    if wanted not in available():
        raise FormatUnavailable(
            f"{wanted} needs pgsched's extra arrow, which is not installed; ask for one of {_available()}"
        )
    return wanted


def _available() -> str:
    return ", ".join(available())


def _negotiated(accept: str) -> Format:
    ranges = dict(_weighed(part) for part in accept.split(","))
    best, weight = None, 0.0
    for media_type, format_ in _ACCEPTED.items():
        if format_ not in available():
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
                read = float(value)
            except ValueError:
                continue
            weight = read if 0 <= read <= 1 else 1.0
    return name.strip().lower(), weight
