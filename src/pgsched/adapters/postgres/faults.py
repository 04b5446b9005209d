"""Where the driver's errors become the domain's: the one seam, by SQLSTATE and by constraint name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from psycopg import Error, InterfaceError, OperationalError
from psycopg.errors import ConnectionTimeout, IntegrityError

from pgsched.domain.errors import DatabaseFault, DatabaseUnavailable, PgschedError, SchemaMismatch

#: a table or column that is not there: another schema than this program's
_OTHER_SCHEMA = frozenset({"42P01", "42703", "3F000"})
#: no way in: connection, password or role, database (PostgreSQL manual, appendix A)
_UNREACHABLE_CLASSES = frozenset({"08", "28", "3D"})
#: going down, full, standby, in the way of others, frozen too long: what can pass without a change here
_PASSING_CLASSES = frozenset({"40", "53", "57", "58"})
_PASSING = frozenset({"25006", "25P03", "25P04", "55P03"})
#: out of memory, statement_timeout: the next try may do no better
_GAVE_UP = frozenset({"53200", "57014"})
#: libpq's words that say where it tried, before it says what went wrong
_BEFORE_REASON = "failed: "


def fault_of(error: Error) -> DatabaseFault | None:
    """Say what an error of the driver means for the metadata database as a whole.

    None when it means nothing for it: a violated constraint, a value out of range, a mistake of ours. Texts
    name neither host nor password.
    """
    state = error.sqlstate
    if state is None:
        lost = isinstance(error, (OperationalError, InterfaceError))
        return unreachable(reason_of(error)) if lost else None
    if state in _OTHER_SCHEMA:
        return SchemaMismatch(
            f"the schema of the metadata database is not this version's ({reason_of(error)}); "
            "run `pgsched db upgrade`"
        )
    if state == "42501":
        return DatabaseFault(
            f"the metadata database refuses this to the role of PG_DSN_APP: {reason_of(error)}; "
            "make that role the owner of the database"
        )
    if state[:2] in _UNREACHABLE_CLASSES:
        return unreachable(reason_of(error))
    if state[:2] in _PASSING_CLASSES or state in _PASSING:
        return unavailable(reason_of(error), sqlstate=state)
    return None


def unreachable(reason: str) -> DatabaseUnavailable:
    """Return the error for a metadata database that gives no connection or lost one."""
    return DatabaseUnavailable(
        f"the metadata database cannot be reached: {reason}; "
        "see that its server runs and that PG_DSN_APP leads there"
    )


def unavailable(reason: str, *, sqlstate: str | None = None) -> DatabaseUnavailable:
    """Return the error for a metadata database that is there and cannot serve now."""
    return DatabaseUnavailable(
        f"the metadata database cannot serve now: {reason}", sqlstate=sqlstate, gave_up=sqlstate in _GAVE_UP
    )


def reason_of(error: BaseException) -> str:
    """Return the server's primary message or libpq's reason, in one line without the place it tried."""
    if isinstance(error, ConnectionTimeout):
        return "no answer in time"
    primary = error.diag.message_primary if isinstance(error, Error) else None
    lines = (primary or str(error)).strip().splitlines()
    if not lines:
        return type(error).__name__
    reason = lines[0] if primary else lines[0].rpartition(_BEFORE_REASON)[2]
    return reason.removeprefix("FATAL:").strip() or type(error).__name__


@contextmanager
def violations(faults: Mapping[str, PgschedError]) -> Iterator[None]:
    """Raise the domain error of a constraint, by its name, when the block violates it."""
    try:
        yield
    except IntegrityError as error:
        fault = faults.get(error.diag.constraint_name or "")
        if fault is None:
            raise
        raise fault from None
