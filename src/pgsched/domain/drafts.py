"""What people write about a thing, judged field by field, so that all that is wrong can be told at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from functools import lru_cache
from typing import Any, Generic, TypeVar, get_args, get_type_hints

from pgsched.domain.errors import FieldFault, InvalidInput

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Draft(Generic[T]):
    """A value as somebody wrote it, and what is wrong with it."""

    #: with a stand-in for each field at fault
    value: T
    #: all that is wrong with its fields, each taken by itself
    faults: tuple[FieldFault, ...]

    def is_right(self, *names: str) -> bool:
        """Whether none of these fields is at fault."""
        return not {_field_of(fault) for fault in self.faults}.intersection(names)


def drafted(
    kind: type[T],
    given: Mapping[str, object],
    *,
    stand_ins: Mapping[str, object],
    before: Mapping[str, object] | None = None,
) -> Draft[T]:
    """Judge what was written: types, what must be there, and the rules of ``kind``, a dataclass.

    ``given`` holds JSON's types or the domain's own, by field. What is absent stays as it was ``before``, or
    is the default; None is the default. ``stand_ins`` has a right value for each field without a default.
    """
    hints = _hints(kind)  # type: ignore[arg-type]  # a class is hashable, whatever mypy says of type[T]
    faults: list[FieldFault] = []
    values: dict[str, Any] = dict(before or {})
    for name, value in given.items():
        values.pop(name, None)
        if name not in hints:
            faults.append(FieldFault(field=name, message="there is no such field"))
        elif value is not None:
            fault = type_fault(name, value, hints[name])
            if fault is None:
                values[name] = hints[name](value) if _is_enum(hints[name]) else value
            else:
                faults.append(fault)
    at_fault = {fault.field for fault in faults}
    for name in stand_ins:
        if name not in values:
            values[name] = stand_ins[name]
            if name not in at_fault:
                faults.append(FieldFault(field=name, message="is needed"))
    # Once as it is, once with stand-ins for what is at fault, once with nothing else: rules can span fields.
    for _ in range(3):
        try:
            return Draft(value=kind(**values), faults=tuple(faults))
        except InvalidInput as error:
            faults += [fault for fault in error.faults if fault not in faults]
            wrong = {_field_of(fault) for fault in faults}
            values = {name: value for name, value in values.items() if name not in wrong} | {
                name: stand_ins[name] for name in wrong & stand_ins.keys()
            }
    return Draft(value=kind(**stand_ins), faults=tuple(faults))


def _field_of(fault: FieldFault) -> str:
    """Return the field that a fault is in: parameters, of parameters.0.default."""
    return fault.field.partition(".")[0]


def type_fault(name: str, value: object, hint: Any) -> FieldFault | None:
    """Say that a value has not the type of its field; types that JSON does not have are not judged."""
    allowed = set(get_args(hint) or (hint,)) - {type(None)}
    message = None
    if _is_enum(hint):
        if not isinstance(value, str) or value not in list(hint):
            message = f"must be one of {', '.join(hint)}"
    elif allowed == {bool}:
        message = None if isinstance(value, bool) else "must be true or false"
    elif allowed == {int}:
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        message = None if is_whole else "must be a whole number"
    elif allowed == {str}:
        message = None if isinstance(value, str) else "must be text"
    return None if message is None else FieldFault(field=name, message=message)


def _is_enum(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, StrEnum)


@lru_cache(maxsize=8)
def _hints(kind: type) -> dict[str, Any]:
    return {name: hint for name, hint in get_type_hints(kind).items() if name in _names(kind)}


def _names(kind: type) -> set[str]:
    return {field.name for field in fields(kind)}
