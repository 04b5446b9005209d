"""Walks a parse tree and lists what the rules refuse in it.

The tree is a protobuf message whose node kinds are Postgres's own (``nodes/parsenodes.h``,
``nodes/primnodes.h``). A kind that is in no list is refused: what a later grammar adds has to be
reviewed first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pgsched.adapters.guard.newer import KINDS, taken_for_a_call
from pgsched.domain.sql_functions import Effect
from pgsched.domain.sql_guard import Rule
from pgsched.domain.sql_policy import (
    Catalog,
    judge_attribute,
    judge_function,
    judge_operator,
    judge_relation,
    way_out,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One thing refused."""

    rule: Rule
    #: what is refused and the way out
    detail: str
    #: byte offset in the text, None when the tree has none
    offset: int | None = None
    #: scanner's name of the keyword meant, the last one before ``offset``
    keyword: str | None = None
    #: name of the function that is called as ``.name``, somewhere behind ``offset``
    attribute: str | None = None


_Rule = Callable[[Any], Finding | None]
#: a rule, and the names of the fields that hold one message, or a list of them
_Kind = tuple[_Rule | None, list[str], list[str]]

# Expressions, clauses and lists that hold no decision of their own; their children are walked.
_HARMLESS = """
    SelectStmt ResTarget A_Const A_Star A_Indices A_ArrayExpr BoolExpr TypeName CollateClause
    NamedArgExpr CaseExpr CaseWhen CoalesceExpr MinMaxExpr SQLValueFunction XmlExpr XmlSerialize NullTest
    BooleanTest RowExpr GroupingFunc GroupingSet WindowDef Alias RangeSubselect RangeFunction
    RangeTableFunc RangeTableFuncCol JoinExpr WithClause CommonTableExpr CTESearchClause CTECycleClause
    List ColumnDef Integer Float Boolean String BitString SetToDefault JsonFormat JsonReturning
    JsonValueExpr JsonOutput JsonArgument JsonFuncExpr JsonTable JsonTableColumn JsonTablePathSpec
    JsonKeyValue JsonParseExpr JsonScalarExpr JsonSerializeExpr JsonObjectConstructor JsonArrayConstructor
    JsonArrayQueryConstructor JsonAggConstructor JsonObjectAgg JsonArrayAgg JsonIsPredicate JsonBehavior
"""
HARMLESS = frozenset(_HARMLESS.split())
_EXTRACT = ["pg_catalog", "extract"]
#: CoercionForm of what is written with a grammar of its own (nodes/primnodes.h), as libpg_query numbers it
_SQL_SYNTAX = 4
#: the statements that write, by the scanner's name of their keyword
WRITING = {"InsertStmt": "INSERT", "UpdateStmt": "UPDATE", "DeleteStmt": "DELETE_P", "MergeStmt": "MERGE"}


def _CHOICE(_node: Any) -> None:  # noqa: N802 (a mark, never called)
    """Stand in place of a rule for what only wraps another message."""


class Judge:
    """The rules; one serves any number of statements and threads."""

    def __init__(self, *, catalog: Catalog, allow_user_functions: bool, places: int = 0) -> None:
        """Allow ``$1`` to ``$places``, which are bound when the statement runs."""
        self._catalog = catalog
        self._places = places
        self._allow_user_functions = allow_user_functions
        self._kinds: dict[type, _Kind] = {}
        self._rules: dict[str, _Rule] = {
            "FuncCall": self._function,
            "TypeCast": self._typed_literal,
            "ColumnRef": self._column,
            "A_Indirection": lambda node: self._attributes(node.indirection, _begin(node.arg)),
            "A_Expr": lambda node: self._operator(node.name, node.location) if node.kind < 4 else None,
            "SubLink": lambda node: self._operator(node.oper_name, node.location),
            "SortBy": lambda node: self._operator(node.use_op, node.location),
            "RangeVar": self._relation,
            "RangeTableSample": self._sampling,
            "ParamRef": self._parameter,
            "IntoClause": self._into,
            "LockingClause": self._locking,
        }
        if not allow_user_functions:
            self._rules |= dict.fromkeys(KINDS, self._newer)

    def findings(self, statement: Any) -> Iterator[Finding]:
        """Walk ``statement`` (a Node holding a SELECT), however deep, and yield what is refused."""
        kinds = self._kinds
        waiting = [statement]
        while waiting:
            message = waiting.pop()
            kind = type(message)
            if kind not in kinds:
                kinds[kind] = self._kind(kind)
            rule, single, repeated = kinds[kind]
            if rule is _CHOICE:
                # a Node is a choice of hundreds of kinds: it is asked which, not for each
                if (chosen := message.WhichOneof("node")) is None:
                    continue
                message = getattr(message, chosen)
                kind = type(message)
                if kind not in kinds:
                    kinds[kind] = self._kind(kind)
                rule, single, repeated = kinds[kind]
            if rule is not None and (found := rule(message)):
                yield found
            waiting += [getattr(message, name) for name in single if message.HasField(name)]
            for name in repeated:
                waiting += getattr(message, name)

    def _kind(self, kind: Any) -> _Kind:
        """Return the rule for messages of a kind, and the fields where messages stand in one."""
        descriptor = kind.DESCRIPTOR
        if descriptor.name == "Node":
            return _CHOICE, [], []
        fields = [field for field in descriptor.fields if field.message_type is not None]
        # protobuf before 6.31 says it by a number
        repeated = [f.name for f in fields if (f.is_repeated if hasattr(f, "is_repeated") else f.label == 3)]
        single = [field.name for field in fields if field.name not in repeated]
        return self._rule(descriptor.name), single, repeated

    def _rule(self, kind: str) -> _Rule | None:
        if kind in WRITING:
            return self._writing
        return self._rules.get(kind, None if kind in HARMLESS else self._unknown)

    def _writing(self, node: Any) -> Finding:
        keyword = WRITING[node.DESCRIPTOR.name]
        return Finding(
            rule=Rule.DATA_MODIFYING,
            detail=f"{keyword.removesuffix('_P')} inside a query writes; only reading is allowed",
            offset=node.relation.location,
            keyword=keyword,
        )

    def _unknown(self, node: Any) -> Finding:
        return Finding(
            rule=Rule.NOT_REVIEWED,
            detail=f"nobody has reviewed {node.DESCRIPTOR.name} expressions; write it another way",
            offset=getattr(node, "location", None),
        )

    def _function(self, node: Any) -> Finding | None:
        name = _parts(node.funcname)
        if node.funcformat == _SQL_SYNTAX and name == _EXTRACT and node.args[0].HasField("param_ref"):
            return _misplaced(node.args[0].param_ref, "EXTRACT takes a word; write date_part(:name, …)")
        effect = judge_function(
            name,
            arguments=len(node.args),
            catalog=self._catalog,
            allow_user_functions=self._allow_user_functions,
        )
        return _refused("function", name, effect, node.location)

    def _column(self, node: Any) -> Finding | None:
        return self._attributes(node.fields[-1:], node.location) if len(node.fields) > 1 else None

    def _attributes(self, fields: Any, offset: int) -> Finding | None:
        for field in fields:
            name = field.string.sval
            effect = judge_attribute(name, catalog=self._catalog) if name else None
            if effect is not None:
                return Finding(
                    rule=Rule.FUNCTION_NOT_ALLOWED,
                    detail=f"function {name}, which .{name} calls, {effect}; {way_out(effect)}"
                    " (if it is a column: write it without the table's name)",
                    offset=offset,
                    attribute=name,
                )
        return None

    def _operator(self, symbols: Any, offset: int) -> Finding | None:
        if self._allow_user_functions or not symbols:
            return None
        name = _parts(symbols)
        return _refused("operator", name, judge_operator(name, catalog=self._catalog), offset)

    def _newer(self, node: Any) -> Finding | None:
        newer = taken_for_a_call(node)
        if newer is None:
            return None
        return Finding(
            rule=Rule.USER_FUNCTION_NOT_ALLOWED,
            detail=f"{newer.name} is built in from Postgres {newer.since} on, an older server would call a"
            f" user-defined one, and this source allows built-in functions only; write {newer.way_out}",
            offset=node.constructor.location if node.DESCRIPTOR.name == "JsonArrayAgg" else node.location,
        )

    def _sampling(self, node: Any) -> Finding | None:
        name = _parts(node.method)
        if self._allow_user_functions or name[-1] in ("bernoulli", "system"):
            return None
        return _refused("sampling method", name, Effect.USER_DEFINED, node.location)

    def _relation(self, node: Any) -> Finding | None:
        effect = judge_relation(node.schemaname, node.relname)
        if effect is None:
            return None
        return Finding(
            rule=Rule.RELATION_NOT_ALLOWED,
            detail=f"{node.relname} {effect}; {way_out(effect)}",
            offset=node.location,
        )

    def _typed_literal(self, node: Any) -> Finding | None:
        # the parser's grammar has it for texts whose constants were taken out, a server's has not
        if node.location < 0 and node.arg.HasField("param_ref"):
            return _misplaced(node.arg.param_ref, "behind a type's name stands a literal; write :name::type")
        return None

    def _parameter(self, node: Any) -> Finding | None:
        if 1 <= node.number <= self._places:
            return None
        return Finding(
            rule=Rule.PARAMETER_NOT_ALLOWED,
            detail=f"${node.number} is a parameter and nothing fills it in; write the value",
            offset=node.location,
        )

    def _into(self, node: Any) -> Finding:
        return Finding(
            rule=Rule.SELECT_INTO,
            detail="SELECT … INTO makes a table; leave INTO out, the result is stored by itself",
            offset=node.rel.location,
            keyword="INTO",
        )

    def _locking(self, _node: Any) -> Finding:
        return Finding(
            rule=Rule.LOCKING_CLAUSE,
            detail="FOR UPDATE and FOR SHARE lock rows that others wait for; leave the clause out",
        )


def _misplaced(param_ref: Any, detail: str) -> Finding:
    return Finding(rule=Rule.PARAMETER_NOT_ALLOWED, detail=detail, offset=param_ref.location)


def _begin(node: Any) -> int:
    """Return a byte offset before which an expression has no dot; 0 where the tree has none."""
    location: int = getattr(getattr(node, node.WhichOneof("node")), "location", 0)
    return location


def _parts(names: Any) -> list[str]:
    return [node.string.sval for node in names]


def _refused(noun: str, name: list[str], effect: Effect | None, offset: int) -> Finding | None:
    if effect is None:
        return None
    user = effect is Effect.USER_DEFINED
    return Finding(
        rule=Rule.USER_FUNCTION_NOT_ALLOWED if user else Rule.FUNCTION_NOT_ALLOWED,
        detail=f"{noun} {'.'.join(name)} {effect}; {way_out(effect)}",
        offset=offset,
    )
