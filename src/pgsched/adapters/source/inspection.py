"""A look at a source for ``dsn test``: whether it answers, how fast, and what its role could do."""

from __future__ import annotations

import ipaddress
import time

from pgsched.adapters.source.pins import BEGIN, ROLLBACK, pins
from pgsched.adapters.source.session import Command, Session, row_of
from pgsched.application.ports.execution import SourceAddress, SourceReport

#: each line is a sentence's condition, in the order of _SENTENCES
_LOOK = b"""
WITH me AS (SELECT * FROM pg_catalog.pg_roles WHERE rolname = current_user),
roles AS (  -- those whose rights it has, and those that it could take on with SET ROLE
  SELECT r.oid, r.rolname FROM pg_catalog.pg_roles r WHERE pg_catalog.pg_has_role(r.oid, 'MEMBER')),
mine AS (
  SELECT c.oid, c.relkind, c.relowner FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
    AND n.nspname NOT LIKE 'pg\\_%')
SELECT pg_catalog.current_setting('server_version'),
  me.rolsuper,
  EXISTS (SELECT FROM mine, roles WHERE mine.relkind <> 'S' AND (
            pg_catalog.has_table_privilege(roles.oid, mine.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
            OR pg_catalog.has_any_column_privilege(roles.oid, mine.oid, 'INSERT, UPDATE'))),
  EXISTS (SELECT FROM mine, roles
          WHERE mine.relkind = 'S'
            AND pg_catalog.has_sequence_privilege(roles.oid, mine.oid, 'USAGE, UPDATE')),
  EXISTS (SELECT FROM mine, roles WHERE mine.relowner = roles.oid)
    OR EXISTS (SELECT FROM pg_catalog.pg_database d, roles
               WHERE d.datname = pg_catalog.current_database() AND d.datdba = roles.oid),
  EXISTS (SELECT FROM pg_catalog.pg_namespace n, roles
          WHERE n.nspname NOT LIKE 'pg\\_%' AND pg_catalog.has_schema_privilege(roles.oid, n.oid, 'CREATE')),
  EXISTS (SELECT FROM roles
          WHERE pg_catalog.has_database_privilege(roles.oid, pg_catalog.current_database(), 'CREATE')),
  me.rolcreaterole OR me.rolcreatedb,
  me.rolreplication OR me.rolbypassrls,
  EXISTS (SELECT FROM pg_catalog.pg_proc p, roles
          WHERE p.pronamespace = 'pg_catalog'::pg_catalog.regnamespace
            AND p.proname IN ('pg_read_file', 'pg_read_binary_file', 'pg_ls_dir', 'pg_stat_file', 'lo_import',
                              'lo_export')
            AND pg_catalog.has_function_privilege(roles.oid, p.oid, 'EXECUTE')),
  (SELECT pg_catalog.string_agg(roles.rolname, ', ' ORDER BY roles.rolname) FROM roles
   WHERE roles.rolname IN ('pg_write_all_data', 'pg_read_server_files', 'pg_write_server_files',
                           'pg_execute_server_program', 'pg_signal_backend', 'pg_maintain', 'pg_checkpoint',
                           'pg_create_subscription', 'pg_signal_autovacuum_worker')
     AND NOT me.rolsuper)
FROM me
"""
_SENTENCES = (
    "The role is a superuser: give pgsched a role that can only read.",
    "The role may write to tables (INSERT, UPDATE, DELETE or TRUNCATE): grant it SELECT alone.",
    "The role may advance or set sequences: revoke USAGE and UPDATE on them, SELECT is enough.",
    "The role owns tables, views or the database, so it may change and drop them: let another role own them.",
    "The role may create objects in a schema: revoke CREATE on it.",
    "The role may create schemas in the database: revoke CREATE on it.",
    "The role may create roles or databases: alter it to NOCREATEROLE NOCREATEDB.",
    "The role may replicate or bypass row security: alter it to NOREPLICATION NOBYPASSRLS.",
    "The role may read or write files of the server: revoke EXECUTE on pg_read_file and its kin.",
)


async def report(session: Session, address: SourceAddress, *, timeout_ms: int) -> SourceReport:
    """Report on a source that answers; the latency is one round trip of an empty statement.

    Raises:
        CommandFailed: the source refused a statement of ours.
        SourceUnreachable: the connection broke.
    """
    # a loop's own clock may stand still while callbacks run, and count whole milliseconds
    started = time.perf_counter()
    await session.ask(Command(sql=b"SELECT 1"))
    latency_ms = round((time.perf_counter() - started) * 1000, 3)
    pinned = pins(session.defaults, timezone="UTC", timeout_ms=timeout_ms, application_name="pgsched:test")
    result = (await session.ask(BEGIN, pinned, Command(sql=_LOOK), ROLLBACK))[2]
    version, *answers, groups = row_of(result, len(_SENTENCES) + 2)
    is_superuser = answers[0] == "t"
    # a superuser may do all of it; saying so once is enough
    asked = zip(_SENTENCES[:1] if is_superuser else _SENTENCES, answers, strict=False)
    warnings = [sentence for sentence, answer in asked if answer == "t"]
    if groups:
        warnings.append(f"The role is a member of {groups}: revoke that, a reader needs none of it.")
    is_remote = not _is_loopback(session)
    if is_remote and not session.pgconn.ssl_in_use:
        warnings.append(
            "The connection is not encrypted: let the server offer TLS and set sslmode to verify-full."
        )
    elif is_remote and address.sslmode not in ("verify-ca", "verify-full"):
        warnings.append(
            "The server's certificate is not verified: set sslmode to verify-full with its root certificate."
        )
    return SourceReport(
        ok=True,
        latency_ms=latency_ms,
        server_version=version.split(" ")[0],
        warnings=tuple(warnings),
    )


def _is_loopback(session: Session) -> bool:
    try:
        return ipaddress.ip_address(session.pgconn.hostaddr.decode()).is_loopback
    except ValueError:
        return False
