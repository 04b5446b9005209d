"""Arguments that are expressions, such as relative dates: the source evaluates them inside the fences."""

from __future__ import annotations

from pgsched.adapters.source.faults import broken
from pgsched.adapters.source.session import Command, Session
from pgsched.application.ports.execution import Statement
from pgsched.domain.errors import QueryFailed
from pgsched.domain.parameters import SCHEDULED_AT_TYPE
from pgsched.domain.results import oid_of

_FETCH = Command(sql=b"FETCH 2 FROM pgsched_values")
_CLOSE = Command(sql=b"CLOSE pgsched_values")
#: answers before that of the FETCH: BEGIN, the pins and DECLARE
_BEFORE = 3


async def evaluated(session: Session, statement: Statement) -> list[str | None]:
    """Return the text forms of all arguments in order, None for NULL.

    BEGIN and the pins are under way already; their answers are read here too. A cursor evaluates, as it does
    with the statement itself: what it may not do there, an expression may not do either.

    Raises:
        CommandFailed: the source refused a command; see ``of_an_expression``.
        QueryFailed: an expression gave more than one value.
        ProtocolBroken: a value is no text.
    """
    asked = [argument for argument in statement.arguments if argument.sql is not None]
    columns = ", ".join(f"(\n{argument.sql}\n)::{argument.type}::pg_catalog.text" for argument in asked)
    at = statement.scheduled_at
    declare = Command(
        sql=f"DECLARE pgsched_values NO SCROLL CURSOR WITHOUT HOLD FOR SELECT {columns}".encode(),
        params=[None if at is None else at.encode()],
        types=[oid_of(SCHEDULED_AT_TYPE)],
    )
    for command in (declare, _FETCH, _CLOSE):
        session.send(command)
    await session.sync()
    values = (await session.results(_BEFORE + 2))[_BEFORE]
    if values.ntuples != 1 or values.nfields != len(asked):
        raise QueryFailed(
            "a parameter's expression gave more than one value", sqlstate="42601", position=None
        )
    try:
        found = iter(_text(values.get_value(0, place)) for place in range(len(asked)))
        return [argument.text if argument.sql is None else next(found) for argument in statement.arguments]
    except UnicodeDecodeError:
        raise broken("a parameter's value that is not UTF-8") from None


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()


def of_an_expression(fault: Exception) -> Exception:
    """Return a fault that says that it was met in a parameter's expression, not in the statement."""
    if not isinstance(fault, QueryFailed):
        return fault
    return QueryFailed(
        f"a parameter's expression failed: {fault.detail}", sqlstate=fault.sqlstate, public=fault.public
    )
