"""A source's ceiling on what a statement may cost: its planner is asked before the statement runs."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from pgsched.adapters.source.faults import broken
from pgsched.adapters.source.session import Command, Session
from pgsched.domain.errors import CostExceeded

#: put before a statement, asks for its plan (https://www.postgresql.org/docs/current/sql-explain.html)
EXPLAIN = b"EXPLAIN (FORMAT JSON) "


class _Node(msgspec.Struct):
    """The outermost node of a plan."""

    total_cost: float = msgspec.field(name="Total Cost")


class _Explained(msgspec.Struct):
    """What EXPLAIN says about one statement."""

    plan: _Node = msgspec.field(name="Plan")


_answer = msgspec.json.Decoder(tuple[_Explained])


async def refuse_costly(session: Session, declare: Command, *, before: int, most: int) -> None:
    """Refuse a statement whose plan costs more than ``most``, in the planner's units.

    ``before`` commands are under way already; their answers are read here too.

    Raises:
        CommandFailed: the source refused a command; number ``before`` is the EXPLAIN.
        CostExceeded: the planner expects more; nothing was run.
        ProtocolBroken: the answer is no plan.
    """
    session.send(replace(declare, sql=EXPLAIN + declare.sql))
    await session.sync()
    plan = (await session.results(before + 1))[-1]
    try:
        (explained,) = _answer.decode(plan.get_value(0, 0) or b"")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise broken("the answer to EXPLAIN is no plan") from None
    cost = explained.plan.total_cost
    if cost > most:
        raise CostExceeded(
            f"the source's planner expects a cost of {cost:.2f}, the source allows {most} (max_cost); "
            "it was not run"
        )
