"""Walks a parse tree and lists what the rules refuse in it.

The tree is a protobuf message whose node kinds are Postgres's own (``nodes/parsenodes.h``,
``nodes/primnodes.h``). A kind that is in no list is refused: what a later grammar adds has to be
reviewed first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from pgsched.domain.sql_guard import Rule
from pgsched.domain.sql_policy import (
    REFUSED_RELATIONS,
    Catalog,
    Effect,
    judge_function,
    judge_operator,
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
    #: scanner's name of the keyword meant: the last one before ``offset``, the first one without an offset
    keyword: str | None = None


# Expressions, clauses and lists that hold no decision of their own; their children are walked.
_HARMLESS = """
    SelectStmt ResTarget ColumnRef A_Const A_Star A_Indices A_Indirection A_ArrayExpr BoolExpr TypeCast
    TypeName CollateClause NamedArgExpr CaseExpr CaseWhen CoalesceExpr MinMaxExpr SQLValueFunction XmlExpr
    XmlSerialize NullTest BooleanTest RowExpr GroupingFunc GroupingSet WindowDef Alias RangeSubselect
    RangeFunction RangeTableFunc RangeTableFuncCol JoinExpr WithClause CommonTableExpr CTESearchClause
    CTECycleClause List ColumnDef Integer Float Boolean String BitString SetToDefault
    JsonFormat JsonReturning JsonValueExpr JsonOutput JsonArgument JsonFuncExpr JsonTable JsonTableColumn
    JsonTablePathSpec JsonKeyValue JsonParseExpr JsonScalarExpr JsonSerializeExpr JsonObjectConstructor
    JsonArrayConstructor JsonArrayQueryConstructor JsonAggConstructor JsonObjectAgg JsonArrayAgg
    JsonIsPredicate JsonBehavior
"""
HARMLESS = frozenset(_HARMLESS.split())
#: the statements that write, by the scanner's name of their keyword
WRITING = {"InsertStmt": "INSERT", "UpdateStmt": "UPDATE", "DeleteStmt": "DELETE_P", "MergeStmt": "MERGE"}


class Judge:
    """The rules, applied to one SELECT."""

    def __init__(self, *, catalog: Catalog, allow_user_functions: bool) -> None:
        self._catalog = catalog
        self._allow_user_functions = allow_user_functions
        self._rules: dict[str, Callable[[Any], Finding | None]] = {
            "FuncCall": self._function,
            "A_Expr": lambda node: self._operator(node.name, node.location) if node.kind < 4 else None,
            "SubLink": lambda node: self._operator(node.oper_name, node.location),
            "SortBy": lambda node: self._operator(node.use_op, node.location),
            "RangeVar": self._relation,
            "RangeTableSample": self._sampling,
            "ParamRef": self._parameter,
            "IntoClause": self._into,
            "LockingClause": self._locking,
        }

    def findings(self, statement: Any) -> Iterator[Finding]:
        """Walk ``statement`` (a Node holding a SELECT), however deep, and yield what is refused."""
        stack = [statement]
        while stack:
            node = stack.pop()
            for field, value in node.ListFields():
                if field.message_type is None:
                    continue
                for child in value if field.is_repeated else (value,):
                    stack.append(child)
                    kind = child.DESCRIPTOR.name
                    if kind in HARMLESS or kind == "Node":
                        continue
                    if found := self._judge(kind, child):
                        yield found

    def _judge(self, kind: str, node: Any) -> Finding | None:
        if rule := self._rules.get(kind):
            return rule(node)
        if keyword := WRITING.get(kind):
            return Finding(
                rule=Rule.DATA_MODIFYING,
                detail=f"{keyword.removesuffix('_P')} inside a query writes; only reading is allowed",
                offset=node.relation.location,
                keyword=keyword,
            )
        return Finding(
            rule=Rule.NOT_REVIEWED,
            detail=f"{kind} is a kind of expression that was not reviewed; write it another way",
            offset=getattr(node, "location", None),
        )

    def _function(self, node: Any) -> Finding | None:
        name = _parts(node.funcname)
        effect = judge_function(
            name,
            arguments=len(node.args),
            catalog=self._catalog,
            allow_user_functions=self._allow_user_functions,
        )
        return _refused("function", name, effect, node.location)

    def _operator(self, symbols: Any, offset: int) -> Finding | None:
        if self._allow_user_functions or not symbols:
            return None
        name = _parts(symbols)
        return _refused("operator", name, judge_operator(name, catalog=self._catalog), offset)

    def _sampling(self, node: Any) -> Finding | None:
        name = _parts(node.method)
        if self._allow_user_functions or name[-1] in ("bernoulli", "system"):
            return None
        return _refused("sampling method", name, Effect.USER_DEFINED, node.location)

    def _relation(self, node: Any) -> Finding | None:
        if node.relname not in REFUSED_RELATIONS or node.schemaname not in ("", "pg_catalog"):
            return None
        return Finding(
            rule=Rule.RELATION_NOT_ALLOWED,
            detail=f"{node.relname} {Effect.FILES}; {way_out(Effect.FILES)}",
            offset=node.location,
        )

    def _parameter(self, node: Any) -> Finding:
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
            keyword="FOR",
        )


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
