"""Bodies of writes, read strictly: one JSON object, each fault named, nothing guessed, nothing passed over.

A shape is a msgspec Struct (``forbid_unknown_fields`` goes without saying). A field that may be absent has
``msgspec.UNSET`` as its default, which tells it from one that is null::

    class ChangeUser(msgspec.Struct, kw_only=True):
        name: str | UnsetType = UNSET           # absent: unchanged; null: refused
        is_active: bool | None | UnsetType = UNSET  # null: the default

    wanted = await bodies.read(request, ChangeUser)

The standard library's parser and not msgspec's, because it tells of duplicate names, which two readers of one
body could take differently, and of numbers before they are made.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import msgspec
from litestar.exceptions import InternalServerException

from pgsched.domain.errors import FieldFault, InvalidInput
from pgsched.domain.parameters import exact_number
from pgsched.entrypoints.http.parameters import shown
from pgsched.entrypoints.http.problems import UnsupportedMediaType

if TYPE_CHECKING:
    from litestar import Request

_Shape = TypeVar("_Shape", bound=msgspec.Struct)

#: most bytes of a body
MOST_BYTES = 1 << 20
#: most objects and arrays inside each other
DEEPEST = 32
#: most characters of a number
LONGEST_NUMBER = 40
#: a body above this is parsed beside the event loop
_QUICK_BYTES = 1 << 16
_INT64 = range(-(2**63), 2**63)

_JSON = re.compile(r"application/(?:[a-z0-9.!#$&^_-]+\+)?json", re.ASCII)
_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*"?|[\[{]|[\]}]', re.DOTALL)
_PLACE = re.compile(r" - at `\$(.*)`$")


async def read(
    request: Request[Any, Any, Any],
    shape: type[_Shape],
    *,
    optional: bool = False,
    judged: Collection[str] = (),
) -> _Shape:
    """Return the body as a shape; with ``optional`` no body at all is the shape with its defaults.

    Fields that are ``judged`` by whoever asks may hold any text, which is then not stored.

    Raises:
        UnsupportedMediaType: 415; the Content-Type is not JSON.
        InvalidInput: 400; with a fault for each field that is wrong.
        RequestEntityTooLarge: 413; the framework's, more than ``MOST_BYTES``.
    """
    body = await _body(request, optional=optional)
    if body is None:
        return shape()
    if len(body) > _QUICK_BYTES:
        return await asyncio.to_thread(decode, body, shape, judged)
    return decode(body, shape, judged)


class Secretive(msgspec.Struct, kw_only=True):
    """A body that holds a password: its repr shows the names of its fields alone."""

    def __repr__(self) -> str:
        """Name the class and its fields."""
        return f"{type(self).__name__}({', '.join(self.__struct_fields__)})"


class Nothing(msgspec.Struct, kw_only=True):
    """The body of a POST that takes none: it may be missing, or an empty object."""


async def read_nothing(request: Request[Any, Any, Any]) -> None:
    """See that a POST that takes no body has none, or an empty object.

    Raises as ``read`` does.
    """
    await read(request, Nothing, optional=True)


async def read_fields(request: Request[Any, Any, Any]) -> dict[str, Any]:
    """Return the body as it is, for a use-case that judges every field itself and tells all faults at once.

    Raises:
        UnsupportedMediaType: 415; the Content-Type is not JSON.
        InvalidInput: 400; it is no JSON object, or holds text that cannot be stored.
        RequestEntityTooLarge: 413; the framework's, more than ``MOST_BYTES``.
    """
    body = await _body(request)
    assert body is not None
    given = await asyncio.to_thread(_object, body) if len(body) > _QUICK_BYTES else _object(body)
    if faults := [*_text_faults(given, "")]:
        raise InvalidInput.of(*faults)
    return given


async def _body(request: Request[Any, Any, Any], *, optional: bool = False) -> bytes | None:
    """Return the body's bytes, None when there is none and none is needed."""
    try:
        body = await request.body()
    except InternalServerException:  # the framework's word for a client that is gone
        raise InvalidInput("the body did not arrive whole") from None
    if optional and not body:
        return None
    _check_type(request.headers.get("content-type"), request.headers.get("content-encoding"))
    return body


def decode(body: bytes, shape: type[_Shape], judged: Collection[str] = ()) -> _Shape:
    """Return a body's bytes as a shape.

    Raises:
        InvalidInput: it is no JSON object of that shape.
    """
    given = _object(body)
    faults = [*_text_faults({name: value for name, value in given.items() if name not in judged}, "")]
    known = {field.encode_name: field for field in msgspec.structs.fields(shape)}
    faults += [
        FieldFault(field=shown(name), message="is not a field of this") for name in given if name not in known
    ]
    found: dict[str, Any] = {}
    for name, field in known.items():
        if name in given:
            try:
                found[field.name] = msgspec.convert(given[name], field.type, strict=True)
            except msgspec.ValidationError as error:
                faults.append(_type_fault(name, error))
        elif field.required:
            faults.append(FieldFault(field=name, message="is required"))
    if faults:
        raise InvalidInput.of(*faults)
    return shape(**found)


def _check_type(content_type: str | None, content_encoding: str | None) -> None:
    if content_encoding not in (None, "", "identity"):
        raise UnsupportedMediaType("the body must not be compressed; send it without Content-Encoding")
    kind, *parameters = (part.strip().lower() for part in (content_type or "").split(";"))
    charsets = [
        value.strip('" ') for key, _, value in (p.partition("=") for p in parameters) if key == "charset"
    ]
    if not _JSON.fullmatch(kind) or any(charset not in ("utf-8", "utf8") for charset in charsets):
        raise UnsupportedMediaType("the body must be JSON in UTF-8, with Content-Type: application/json")


def _object(body: bytes) -> dict[str, Any]:
    """Parse one JSON object, refusing what parsers take differently or what would be dear to parse."""
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"the body is not UTF-8 (byte {error.start + 1})") from None
    _check_depth(body)
    try:
        given = json.loads(
            text,
            object_pairs_hook=_without_duplicates,
            parse_int=_integer,
            parse_float=_number,
            parse_constant=_constant,
        )
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise InvalidInput(f"the body is not JSON: {error.msg} ({place})") from None
    if not isinstance(given, dict):
        raise InvalidInput('the body must be a JSON object, as {"name": …}')
    return given


def _check_depth(body: bytes) -> None:
    if body.count(b"[") + body.count(b"{") <= DEEPEST:
        return
    depth = 0
    for match in _BRACKETS.finditer(body):
        first = body[match.start()]
        if first in b"[{":
            depth += 1
            if depth > DEEPEST:
                raise InvalidInput(f"the body is nested deeper than {DEEPEST} levels")
        elif first in b"]}":
            depth -= 1


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise InvalidInput.of(FieldFault(field=shown(name), message="is there more than once"))
        found[name] = value
    return found


def _integer(digits: str) -> int:
    if len(digits) > LONGEST_NUMBER or (value := int(digits)) not in _INT64:
        raise InvalidInput(f"the body holds a whole number beyond 64 bits: {shown(digits)}")
    return value


def _number(digits: str) -> float:
    if len(digits) > LONGEST_NUMBER:
        raise InvalidInput(f"the body holds a number out of range: {shown(digits)}")
    try:
        return exact_number(digits)
    except ValueError as error:
        raise InvalidInput(f"the body holds a number out of range: {error}") from None


def _constant(word: str) -> NoReturn:
    raise InvalidInput(f"the body is not JSON: {word} is no number of JSON")


def _text_faults(value: object, place: str) -> Iterator[FieldFault]:
    """Find texts that Postgres cannot store, names of fields included."""
    if isinstance(value, str):
        if "\x00" in value:
            yield FieldFault(field=place, message="holds the character NUL (U+0000), which cannot be stored")
        elif any("\ud800" <= char <= "\udfff" for char in value):
            yield FieldFault(field=place, message="holds half a surrogate pair, which is not a character")
    elif isinstance(value, dict):
        for name, inner in value.items():
            where = f"{place}.{shown(name)}" if place else shown(name)
            yield from _text_faults(name, where)
            yield from _text_faults(inner, where)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _text_faults(inner, f"{place}[{number}]")


def _type_fault(name: str, error: msgspec.ValidationError) -> FieldFault:
    """Bring msgspec's words (``Expected `int`, got `str` - at `$[0]` ``) into a fault's."""
    told = str(error)
    place = _PLACE.search(told)
    message = _PLACE.sub("", told).replace("`", "")
    return FieldFault(field=name + (place[1] if place else ""), message=message[:1].lower() + message[1:])
