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

from pgsched.adapters.source.session import Command
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

# a SELECT, so that the transaction has its snapshot and can no longer be made READ WRITE
_PINS = b"""SELECT pg_catalog.set_config('standard_conforming_strings', 'on', false),
  pg_catalog.set_config('backslash_quote', 'safe_encoding', false),
  pg_catalog.set_config('search_path', pg_catalog.concat('pg_catalog',
    CASE WHEN pg_catalog.current_setting('search_path') OPERATOR(pg_catalog.=) '' THEN '' ELSE ', ' END,
    pg_catalog.current_setting('search_path')), false),
  pg_catalog.set_config('default_transaction_read_only', 'on', false),
  pg_catalog.set_config('cursor_tuple_fraction', '1', false),
  CASE WHEN pg_catalog.version() OPERATOR(pg_catalog.~~) '%linux%'
    AND pg_catalog.current_setting('client_connection_check_interval', true) IS NOT NULL
    THEN pg_catalog.set_config('client_connection_check_interval', $6, false) END,
  pg_catalog.set_config('client_min_messages', 'error', false),
  pg_catalog.set_config('DateStyle', 'ISO', false),
  pg_catalog.set_config('IntervalStyle', 'postgres', false),
  pg_catalog.set_config('bytea_output', 'hex', false),
  pg_catalog.set_config('extra_float_digits', '1', false),
  pg_catalog.set_config('lock_timeout', $1, false),
  pg_catalog.set_config('idle_in_transaction_session_timeout', $2, false),
  pg_catalog.set_config('statement_timeout', $3, false),
  pg_catalog.set_config('application_name', $4, false),
  pg_catalog.set_config('TimeZone', $5, false)"""


def pins(*, timezone: str, timeout_ms: int, application_name: str) -> Command:
    """Return the statement that pins a session for one run."""
    return Command(
        sql=_PINS,
        params=(
            str(LOCK_TIMEOUT_MS).encode(),
            str(IDLE_TIMEOUT_MS).encode(),
            str(max(1, timeout_ms)).encode(),
            application_name.encode(),
            timezone.encode(),
            str(LOOK_FOR_US_MS).encode(),
        ),
    )


def pins_for(statement: Statement) -> Command:
    """Return the statement that pins a session for this statement."""
    return pins(
        timezone=statement.timezone,
        timeout_ms=statement.timeout_ms,
        application_name=statement.application_name,
    )
