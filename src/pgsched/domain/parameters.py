"""Parameters of a query: declared with type and default, bound at the source, in sets with a history each.

A value is a literal, as Postgres reads it for the type, or an SQL expression that the source evaluates for
each run (``now() - interval '1 day'``); expressions may use ``:scheduled_at``, which every query has.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import isfinite
from typing import Any, NoReturn

from pgsched.domain.errors import FieldFault, InvalidInput
from pgsched.domain.names import NAME
from pgsched.domain.results import oid_of

#: the parameter that every query has: the instant a run stands for, timestamptz
SCHEDULED_AT = "scheduled_at"
SCHEDULED_AT_TYPE = "timestamp with time zone"
#: most parameters of a query, most sets, most characters of a value
MOST_PARAMETERS, MOST_SETS, MOST_VALUE = 50, 100, 10_000

#: dimensions that an array may have (Postgres's MAXDIM)
_MOST_DIMENSIONS = 6

_PARAMETER_NAME = re.compile(r"[a-z_][a-z0-9_]{0,62}")
_UNREADABLE = re.compile("[\0\ud800-\udfff]")
#: what a type may be called, beside the name that Postgres prints
_ALIASES = {
    "bool": "boolean",
    "int2": "smallint",
    "int": "integer",
    "int4": "integer",
    "int8": "bigint",
    "decimal": "numeric",
    "float4": "real",
    "float": "double precision",
    "float8": "double precision",
    "varchar": "text",
    "string": "text",
    "character varying": "text",
    "time": "time without time zone",
    "timetz": "time with time zone",
    "timestamp": "timestamp without time zone",
    "timestamptz": "timestamp with time zone",
}
_WHOLE = {"smallint": 2**15, "integer": 2**31, "bigint": 2**63}
_TEXTS = frozenset({"text"})
_JSON = frozenset({"json", "jsonb"})
_DAY = r"[-+]?infinity|now|today|yesterday|tomorrow|epoch|\d{4,6}-\d{1,2}-\d{1,2}([T ].*)?( BC)?"
#: what a literal of a type looks like; the source has the last word
_SHAPES = {
    "boolean": r"t|true|y|yes|on|1|f|false|n|no|off|0",
    "numeric": r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?|nan|[-+]?inf(inity)?",
    "date": _DAY,
    "timestamp without time zone": _DAY,
    "timestamp with time zone": _DAY,
    "time without time zone": r"\d{1,2}:\d\d.*|now|allballs",
    "time with time zone": r"\d{1,2}:\d\d.*|now|allballs",
    "interval": r"-?P.*|[-+@]?\s*\d.*|[-+]?infinity",
    "uuid": r"\{?[0-9a-f]{4}([0-9a-f-]{4,}[0-9a-f])\}?",
}
_SHAPES["real"] = _SHAPES["double precision"] = _SHAPES["numeric"]
_TYPES = frozenset({*_SHAPES, *_WHOLE, *_TEXTS, *_JSON, "inet", "cidr"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Value:
    """What a parameter is bound to; NULL when neither is there."""

    #: a literal as Postgres reads it for the type
    text: str | None = None
    #: an expression that the source evaluates
    sql: str | None = None

    def describe(self) -> str | dict[str, str] | None:
        """Return the value as JSON holds it."""
        return self.text if self.sql is None else {"sql": self.sql}


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameter:
    """A declared parameter, ``:name`` in the statement."""

    #: lower case
    name: str
    #: as Postgres prints it, ``[]`` behind for an array
    type: str
    #: what it is when a set says nothing; None when a set has to
    default: Value | None = None

    @property
    def oid(self) -> int:
        """The type's OID."""
        return oid_of(self.type)

    def describe(self) -> dict[str, Any]:
        """Return the parameter as JSON holds it."""
        told: dict[str, Any] = {"name": self.name, "type": self.type}
        if self.default is not None:
            told["default"] = self.default.describe()
        return told


@dataclass(frozen=True, kw_only=True, slots=True)
class ParameterSet:
    """Values under a name; each set of a query has runs and a latest result of its own."""

    #: as names of queries are
    name: str
    #: by parameter; what is not here has its default
    values: Mapping[str, Value]

    def describe(self) -> dict[str, Any]:
        """Return the set as JSON holds it."""
        return {"name": self.name, "values": {name: value.describe() for name, value in self.values.items()}}


def parameters_from(given: Any) -> tuple[Parameter, ...]:
    """Read declarations: ``{"name", "type", "default"?}`` each, or parameters as they are.

    Raises:
        InvalidInput: a fault for each one that is none.
    """
    if not isinstance(given, list | tuple):
        raise _fault("parameters", "must be a list of objects with name, type and default")
    faults: list[FieldFault] = []
    found: dict[str, Parameter] = {}
    for index, one in enumerate(given):
        where = f"parameters.{index}"
        try:
            parameter = one if isinstance(one, Parameter) else _parameter_from(one, where)
        except InvalidInput as error:
            faults += error.faults
            continue
        if parameter.name in found:
            faults.append(FieldFault(field=where, message=f"{parameter.name} is declared twice"))
        found[parameter.name] = parameter
    if len(found) > MOST_PARAMETERS:
        faults.append(FieldFault(field="parameters", message=f"at most {MOST_PARAMETERS}"))
    if faults:
        raise InvalidInput.of(*faults)
    return tuple(found.values())


def param_sets_from(given: Any, parameters: Sequence[Parameter]) -> tuple[ParameterSet, ...]:
    """Read sets: ``{"name", "values": {parameter: value}}`` each, ``{name: values}``, or sets as they are.

    Raises:
        InvalidInput: a fault for each value that is none, names what is not declared or lacks a value.
    """
    if isinstance(given, Mapping):
        given = [{"name": name, "values": values} for name, values in given.items()]
    if not isinstance(given, list | tuple):
        raise _fault("param_sets", "must be a list of objects with name and values")
    declared = {parameter.name: parameter for parameter in parameters}
    faults: list[FieldFault] = []
    found: dict[str, ParameterSet] = {}
    for index, one in enumerate(given):
        where = f"param_sets.{index}"
        try:
            set_ = one if isinstance(one, ParameterSet) else _set_from(one, declared, where)
        except InvalidInput as error:
            faults += error.faults
            continue
        if set_.name in found:
            faults.append(FieldFault(field=where, message=f"{set_.name} is there twice"))
        found[set_.name] = set_
        for name, parameter in declared.items():
            if parameter.default is None and name not in set_.values:
                faults.append(
                    FieldFault(field=where, message=f"gives no value to {name}, which has no default")
                )
        for name in set_.values:
            if name not in declared:
                faults.append(FieldFault(field=where, message=f"{name} is not declared in parameters"))
    if len(found) > MOST_SETS:
        faults.append(FieldFault(field="param_sets", message=f"at most {MOST_SETS}"))
    if not given:
        faults += (
            FieldFault(field="parameters", message=f"{name} has neither a default nor a set that gives it")
            for name, parameter in declared.items()
            if parameter.default is None
        )
    if faults:
        raise InvalidInput.of(*faults)
    return tuple(found.values())


def is_literal(type_: str, text: str) -> bool:
    """Say whether a text looks like a literal of a type; texts and JSON always do."""
    if type_.endswith("[]"):
        return text.lstrip().startswith(("{", "["))
    if type_ in _WHOLE:
        return (
            re.fullmatch(r"[-+]?\d{1,19}", text.strip(), re.ASCII) is not None
            and -_WHOLE[type_] <= int(text) < _WHOLE[type_]
        )
    if type_ in _JSON:
        try:
            json.loads(text, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            return False
        return True
    shape = _SHAPES.get(type_)
    return shape is None or re.fullmatch(shape, text.strip(), re.IGNORECASE | re.ASCII) is not None


def exact_number(digits: str) -> float:
    """Read a number of JSON that is no whole one.

    Raises:
        ValueError: printed with as many digits again, a double would be another number.
    """
    value = float(digits)
    try:
        given = Decimal(digits)
        is_kept = isfinite(value) and given == Decimal(format(value, f".{len(given.as_tuple().digits)}g"))
    except ArithmeticError:
        is_kept = False
    if not is_kept:
        raise ValueError(f"{digits[:40]} is more than a double holds; write it as text")
    return value


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number of JSON")


def type_name(given: str) -> str | None:
    """Return the name of a type as Postgres prints it, None when parameters cannot have it."""
    text = " ".join(given.lower().split())
    scalar = text.removesuffix("[]").strip()
    scalar = _ALIASES.get(scalar, scalar)
    if scalar not in _TYPES:
        return None
    return f"{scalar}[]" if text.endswith("[]") else scalar


def _parameter_from(given: Any, where: str) -> Parameter:
    if not isinstance(given, Mapping):
        raise _fault(where, "must be an object with name, type and, if it has one, default")
    for key in given:
        if key not in ("name", "type", "default"):
            raise _fault(where, f"{key} is not known; there are name, type and default")
    name, type_ = given.get("name"), given.get("type", "text")
    if not isinstance(name, str) or not _PARAMETER_NAME.fullmatch(name):
        raise _fault(where, "name must be lower-case letters, digits and _, at most 63, no digit first")
    if name == SCHEDULED_AT:
        raise _fault(where, f"{SCHEDULED_AT} is always there and cannot be declared")
    known = type_name(type_) if isinstance(type_, str) else None
    if known is None:
        raise _fault(where, f"type must be one of {', '.join(sorted(_TYPES))}, or an array of it ([])")
    default = value_from(given["default"], known, f"{where}.default") if "default" in given else None
    return Parameter(name=name, type=known, default=default)


def _set_from(given: Any, declared: Mapping[str, Parameter], where: str) -> ParameterSet:
    if not isinstance(given, Mapping) or not isinstance(given.get("values", {}), Mapping):
        raise _fault(where, "must be an object with name and values, an object by parameter")
    for key in given:
        if key not in ("name", "values"):
            raise _fault(where, f"{key} is not known; there are name and values")
    name = given.get("name")
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise _fault(where, "name must be a letter, then letters, digits, _ . or -, at most 63")
    values = {
        str(key): value_from(value, declared[key].type if key in declared else "text", f"{where}.{key}")
        for key, value in given.get("values", {}).items()
    }
    return ParameterSet(name=name, values=values)


def value_from(given: Any, type_: str, where: str) -> Value:
    """Read a value: a literal, null, or ``{"sql": expression}``.

    Raises:
        InvalidInput: it is no literal of the type.
    """
    if isinstance(given, Mapping) and set(given) == {"sql"} and isinstance(given["sql"], str):
        if not given["sql"].strip() or len(given["sql"]) > MOST_VALUE or _UNREADABLE.search(given["sql"]):
            raise _fault(where, f"sql must be an expression of at most {MOST_VALUE} characters")
        return Value(sql=given["sql"])
    if given is None:
        return Value()
    text = _literal(given, type_)
    if text is not None and len(text) > MOST_VALUE:
        raise _fault(where, f"has {len(text)} characters; a value may have {MOST_VALUE}")
    if text is None or _UNREADABLE.search(text) or not is_literal(type_, text):
        raise _fault(where, f'must be a literal of type {type_}; an expression is written as {{"sql": "…"}}')
    return Value(text=text)


def _literal(given: Any, type_: str) -> str | None:
    """Return the literal that a value of JSON's stands for, None when it stands for none of the type."""
    if isinstance(given, str):
        return given
    if type_ in _JSON:
        try:
            return json.dumps(given, ensure_ascii=False, allow_nan=False)
        except (ValueError, RecursionError):
            return None
    if isinstance(given, bool):
        return "true" if given else "false"
    if isinstance(given, int | float):
        return repr(given)
    if isinstance(given, list) and type_.endswith("[]"):
        return _array(given, type_.removesuffix("[]"))
    return None


def _array(given: list[Any], of: str) -> str | None:
    """Return the literal of an array; arrays inside it are its further dimensions, but JSON is an element."""
    if of in _JSON or not any(isinstance(each, list) for each in given):
        inner = [_element(each, of) for each in given]
    elif _is_regular(given):
        inner = [_array(each, of) for each in given]
    else:
        return None
    found = [each for each in inner if each is not None]
    return "{" + ",".join(found) + "}" if len(found) == len(inner) else None


def _is_regular(given: list[Any]) -> bool:
    """Whether all lists at each depth are equally long, and no deeper than an array of Postgres may be."""
    level = [given]
    for _ in range(_MOST_DIMENSIONS):
        below = [each for one in level for each in one]
        if len({len(one) for one in level}) > 1:
            return False
        if not any(isinstance(each, list) for each in below):
            return True
        if not all(isinstance(each, list) for each in below):
            return False
        level = below
    return False


def _element(given: Any, of: str) -> str | None:
    if given is None:
        return "NULL"
    text = _literal(given, of)
    if text is None or not is_literal(of, text):
        return None
    escaped = text.replace("\\", r"\\").replace('"', r"\"")
    return f'"{escaped}"'


def _fault(where: str, message: str) -> InvalidInput:
    return InvalidInput.of(FieldFault(field=where, message=message))
