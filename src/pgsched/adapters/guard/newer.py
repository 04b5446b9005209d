"""Tells built-ins of newer servers that an older one would take for calls of user-defined functions.

To the grammar of 18 ``json_value(doc, '$.a')`` is an expression of a kind of its own; to a server before 17
it is a call like any other, of whatever somebody has defined under that name. What may follow the arguments
(``RETURNING text``) no older grammar takes for a part of a call, so that with it there is no doubt.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class Newer:
    """A built-in that older servers do not have."""

    name: str
    #: the major version that has it first
    since: int
    #: how to write it so that an older server refuses it, or runs it as a built-in too
    way_out: str


_BY_KIND = {
    "JsonScalarExpr": Newer(name="json_scalar", since=17, way_out="to_json(…)"),
    "JsonParseExpr": Newer(name="json", since=17, way_out="(…)::json"),
    "JsonSerializeExpr": Newer(name="json_serialize", since=17, way_out="json_serialize(… RETURNING text)"),
    "JsonArrayConstructor": Newer(name="json_array", since=16, way_out="json_array(… RETURNING json)"),
    "JsonArrayAgg": Newer(name="json_arrayagg", since=16, way_out="json_arrayagg(… RETURNING json)"),
    "JsonObjectConstructor": Newer(name="json_object", since=16, way_out="json_build_object()"),
}
_BY_OPERATION = {
    1: Newer(name="json_exists", since=17, way_out="json_exists(… FALSE ON ERROR)"),
    2: Newer(name="json_query", since=17, way_out="json_query(… RETURNING jsonb)"),
    3: Newer(name="json_value", since=17, way_out="json_value(… RETURNING text)"),
}
KINDS = (*_BY_KIND, "JsonFuncExpr")
#: the fields of a plain call; others are set by what follows the arguments alone
_PLAIN = frozenset(
    {"op", "expr", "exprs", "context_item", "pathspec", "arg", "constructor", "location"}
    | {"wrapper", "quotes", "absent_on_null"}
)
#: the first values of JsonWrapper, JsonQuotes and JsonFormatType: nothing was written
_UNSAID = 1


def taken_for_a_call(node: Any) -> Newer | None:
    """Return what a node of KINDS is, None where no older server would take it for a call."""
    kind = node.DESCRIPTOR.name
    if any(field.name not in _PLAIN for field, _ in node.ListFields()):
        return None
    if kind == "JsonFuncExpr":
        is_call = node.wrapper == node.quotes == _UNSAID and _is_plain(node.context_item)
        return _BY_OPERATION.get(node.op) if is_call else None
    if kind == "JsonArrayConstructor":
        is_call = node.absent_on_null and all(_is_plain(value.json_value_expr) for value in node.exprs)
    elif kind == "JsonArrayAgg":
        is_call = node.absent_on_null and not node.constructor.HasField("output") and _is_plain(node.arg)
    elif kind == "JsonObjectConstructor":
        # a key with its value is no argument to an older server
        is_call = not node.exprs and not node.absent_on_null
    else:
        is_call = kind == "JsonScalarExpr" or _is_plain(node.expr)
    return _BY_KIND[kind] if is_call else None


def _is_plain(value: Any) -> bool:
    """Whether no FORMAT was written behind a value."""
    plain: bool = value.format.format_type == _UNSAID
    return plain
