"""What a session at a source is pinned to before the user's text is parsed.

Each run sets all of it inside its transaction, so that the ROLLBACK at its end takes it back.

- REPEATABLE READ: everything a run reads, user-defined functions included, is of one instant.
- standard_conforming_strings, backslash_quote: one statement to the guard is one statement to the server.
- search_path: pg_catalog, then what the role or database has set, so that no one shadows a built-in name.
- cursor_tuple_fraction 1: a cursor is planned for its first rows otherwise, and every row is fetched.
- client_connection_check_interval: a backend whose client has left ends, even one whose function catches
  every cancel request. Postgres 14 and later have it, and not on every system.
- client_min_messages error: notices are read by nobody here, and a loop can send millions.
- IntervalStyle postgres, DateStyle ISO (the role's order of day and month stays), bytea as hex, floats
  with the fewest digits that are exact: the text forms that stored results rely on.
"""

from __future__ import annotations

from functools import lru_cache

from pgsched.adapters.source.session import Command, Defaults
from pgsched.application.ports.execution import Statement

#: milliseconds a statement waits for a lock before it fails with 55P03, which may be tried again
LOCK_TIMEOUT_MS = 10_000
#: milliseconds the server waits for us inside the transaction
IDLE_TIMEOUT_MS = 60_000

BEGIN = Command(sql=b"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
ROLLBACK = Command(sql=b"ROLLBACK")
DISCARD = Command(sql=b"DISCARD ALL")

#: milliseconds between a busy server's looks at whether we are still there
LOOK_FOR_US_MS = 1_000

#: characters of a source's search_path up to which the pins are remembered: a source may say anything
_MOST_REMEMBERED = 1000

# A SELECT, so that the transaction has its snapshot and can no longer be made READ WRITE. One call for all of
# them: looking up set_config sixteen times took the source longer than a small query.
_PIN = b"""SELECT pg_catalog.count(pg_catalog.set_config(name, value, false))
  FROM ROWS FROM (pg_catalog.unnest($1::pg_catalog.text[]), pg_catalog.unnest($2::pg_catalog.text[]))
    AS pin (name, value)"""
_ALWAYS = {
    "standard_conforming_strings": "on",
    "backslash_quote": "safe_encoding",
    "default_transaction_read_only": "on",
    "cursor_tuple_fraction": "1",
    "client_min_messages": "error",
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "lock_timeout": str(LOCK_TIMEOUT_MS),
    "idle_in_transaction_session_timeout": str(IDLE_TIMEOUT_MS),
}


def pins(defaults: Defaults, *, timezone: str, timeout_ms: int, application_name: str) -> Command:
    """Return the statement that pins a session for one run."""
    lasting = _lasting if len(defaults.search_path) <= _MOST_REMEMBERED else _lasting.__wrapped__
    names, values = lasting(defaults, timezone, timeout_ms)
    return Command(sql=_PIN, params=(names, values + _element(application_name) + b"}"))


def pins_for(statement: Statement, defaults: Defaults) -> Command:
    """Return the statement that pins a session for this statement."""
    return pins(
        defaults,
        timezone=statement.timezone,
        timeout_ms=statement.timeout_ms,
        application_name=statement.application_name,
    )


@lru_cache(maxsize=256)
def _lasting(defaults: Defaults, timezone: str, timeout_ms: int) -> tuple[bytes, bytes]:
    """Return the array of names, and that of values left open for application_name, which each run brings."""
    path = defaults.search_path
    settings = {
        **_ALWAYS,
        "search_path": f"pg_catalog, {path}" if path else "pg_catalog",
        "statement_timeout": str(max(1, timeout_ms)),
        "TimeZone": timezone,
    }
    if defaults.can_look_for_client:
        settings["client_connection_check_interval"] = str(LOOK_FOR_US_MS)
    names = b",".join(map(_element, (*settings, "application_name")))
    return b"{" + names + b"}", b"{" + b"".join(_element(value) + b"," for value in settings.values())


def _element(text: str) -> bytes:
    """Write an element of a text array (manual, "Array Input and Output Syntax")."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'.encode()
