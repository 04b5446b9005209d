"""A look at a source for ``dsn test``: whether it answers, how fast, and what its role could do."""

from __future__ import annotations

import ipaddress
import re
import time
from collections.abc import Sequence

from pgsched.adapters.source.pins import BEGIN, ROLLBACK, pins
from pgsched.adapters.source.session import Command, Session, row_of
from pgsched.application.ports.execution import SourceAddress, SourceReport

# Rights are read out of the catalogs once instead of asking about each table. What an owner has by itself is
# told as owning. Each line of the last SELECT is a sentence's condition, in the order of _SENTENCES, or the
# names in one of _NAMED.
_LOOK = r"""
WITH me AS (SELECT * FROM pg_catalog.pg_roles WHERE rolname = current_user),
roles AS (  -- those whose rights it has, and those that it could take on with SET ROLE
  SELECT r.oid, r.rolname, r.rolsuper, r.rolname LIKE 'pg\_%' AS predefined
  FROM pg_catalog.pg_roles r WHERE pg_catalog.pg_has_role(r.oid, 'MEMBER')),
files (name) AS (VALUES ('pg_read_file'), ('pg_read_binary_file'), ('pg_ls_dir'), ('pg_stat_file'),
                        ('lo_import'), ('lo_export')),
granted AS (  -- to them, or to everybody
  SELECT oid, predefined FROM roles UNION ALL SELECT 0, false),
mine AS (
  SELECT c.oid, c.relkind = 'S' AS is_sequence, c.relowner, c.relacl FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
    AND n.nspname NOT LIKE 'pg\_%'),
rights AS (  -- on tables or on sequences, on the whole or on a column
  SELECT mine.is_sequence, acl.privilege_type FROM mine, pg_catalog.aclexplode(mine.relacl) acl
  WHERE acl.grantee IN (SELECT oid FROM granted) AND acl.grantee <> mine.relowner
  UNION
  SELECT false, acl.privilege_type
  FROM pg_catalog.pg_attribute a JOIN mine ON mine.oid = a.attrelid, pg_catalog.aclexplode(a.attacl) acl
  WHERE a.attacl IS NOT NULL AND NOT a.attisdropped
    AND acl.grantee IN (SELECT oid FROM granted) AND acl.grantee <> mine.relowner)
SELECT pg_catalog.current_setting('server_version'),
  EXISTS (SELECT FROM roles WHERE rolsuper),
  EXISTS (SELECT FROM rights WHERE NOT is_sequence
            AND privilege_type IN ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE'))
    OR EXISTS (SELECT FROM roles WHERE rolname = 'pg_write_all_data'),
  EXISTS (SELECT FROM rights WHERE NOT is_sequence AND privilege_type IN ('TRIGGER', 'REFERENCES')),
  EXISTS (SELECT FROM rights WHERE NOT is_sequence AND privilege_type = 'MAINTAIN'),
  EXISTS (SELECT FROM rights WHERE is_sequence AND privilege_type IN ('USAGE', 'UPDATE')),
  EXISTS (SELECT FROM mine, roles WHERE mine.relowner = roles.oid)
    OR EXISTS (SELECT FROM pg_catalog.pg_database d, roles
               WHERE d.datname = pg_catalog.current_database() AND d.datdba = roles.oid),
  EXISTS (SELECT FROM pg_catalog.pg_shdepend d, roles
          WHERE d.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND d.refobjid = roles.oid
            AND d.deptype = 'o'
            AND d.dbid = (SELECT oid FROM pg_catalog.pg_database
                          WHERE datname = pg_catalog.current_database())
            AND d.classid IN ('pg_catalog.pg_proc'::pg_catalog.regclass,
                              'pg_catalog.pg_largeobject'::pg_catalog.regclass)),
  EXISTS (SELECT FROM pg_catalog.pg_namespace n, roles
          WHERE n.nspname NOT LIKE 'pg\_%' AND pg_catalog.has_schema_privilege(roles.oid, n.oid, 'CREATE')),
  EXISTS (SELECT FROM roles
          WHERE pg_catalog.has_database_privilege(roles.oid, pg_catalog.current_database(), 'CREATE')),
  me.rolcreaterole OR me.rolcreatedb,
  me.rolreplication OR me.rolbypassrls,
  EXISTS (SELECT FROM pg_catalog.pg_proc p, roles
          WHERE p.pronamespace = 'pg_catalog'::pg_catalog.regnamespace AND p.proname IN (TABLE files)
            AND pg_catalog.has_function_privilege(roles.oid, p.oid, 'EXECUTE')),
  (SELECT pg_catalog.string_agg(roles.rolname, ' ' ORDER BY roles.rolname) FROM roles
   WHERE roles.rolname IN ('pg_write_all_data', 'pg_read_server_files', 'pg_write_server_files',
                           'pg_execute_server_program', 'pg_signal_backend', 'pg_maintain', 'pg_checkpoint',
                           'pg_create_subscription', 'pg_signal_autovacuum_worker')),
  -- not for everybody when they were made; what a predefined role brings is said by that role's name
  (SELECT pg_catalog.string_agg(DISTINCT p.proname, ' ' ORDER BY p.proname)
   FROM pg_catalog.pg_init_privs i JOIN pg_catalog.pg_proc p ON p.oid = i.objoid,
     pg_catalog.aclexplode(coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) acl
   WHERE i.classoid = 'pg_catalog.pg_proc'::pg_catalog.regclass
     AND NOT EXISTS (SELECT FROM pg_catalog.aclexplode(i.initprivs) first WHERE first.grantee = 0)
     AND p.proname NOT IN (TABLE files)
     AND acl.grantee IN (SELECT oid FROM granted WHERE NOT predefined) AND acl.grantee <> p.proowner),
  """
_PARAMETERS = """
  (SELECT pg_catalog.string_agg(DISTINCT p.parname, ' ' ORDER BY p.parname)
   FROM pg_catalog.pg_parameter_acl p, pg_catalog.aclexplode(p.paracl) acl
   WHERE acl.grantee IN (SELECT oid FROM granted))"""
#: oldest server that grants parameters, as in server_version_num
_GRANTS_PARAMETERS = 150_000
_SENTENCES = (
    "The role is a superuser or a member of one: give pgsched a role that can only read.",
    "The role may write to tables (INSERT, UPDATE, DELETE or TRUNCATE): grant it SELECT alone.",
    "The role may put triggers or foreign keys on tables: revoke TRIGGER and REFERENCES on them.",
    "The role may vacuum, reindex, refresh and lock tables: revoke MAINTAIN on them.",
    "The role may advance or set sequences: revoke USAGE and UPDATE on them, SELECT is enough.",
    "The role owns tables, views or the database, so it may change and drop them: let another role own them.",
    "The role owns functions or large objects, so it may change and drop them: let another role own them.",
    "The role may create objects in a schema: revoke CREATE on it.",
    "The role may create schemas in the database: revoke CREATE on it.",
    "The role may create roles or databases: alter it to NOCREATEROLE NOCREATEDB.",
    "The role may replicate or bypass row security: alter it to NOREPLICATION NOBYPASSRLS.",
    "The role may read or write files of the server: revoke EXECUTE on pg_read_file and its kin.",
)
_NAMED = (
    "The role is a member of {}: revoke that, a reader needs none of it.",
    "The role may call {}, which Postgres keeps from most roles: revoke EXECUTE on that.",
    "The role holds SET or ALTER SYSTEM on the parameters {}: revoke that, a reader needs none of it.",
)
#: names in a sentence before the rest is counted
_MOST_NAMES = 9


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
    look = Command(sql=_look(session.pgconn.server_version))
    result = (await session.ask(BEGIN, pinned, look, ROLLBACK))[2]
    version, *answers = row_of(result, 1 + len(_SENTENCES) + len(_NAMED))
    warnings = _warnings(answers[: len(_SENTENCES)], answers[len(_SENTENCES) :])
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


def _look(server_version: int) -> bytes:
    return (_LOOK + (_PARAMETERS if server_version >= _GRANTS_PARAMETERS else "NULL") + "\nFROM me").encode()


def _warnings(answers: Sequence[str], named: Sequence[str]) -> list[str]:
    if answers[0] == "t":
        # a superuser may do all of it; saying so once is enough
        return [_SENTENCES[0]]
    told = [sentence for sentence, answer in zip(_SENTENCES, answers, strict=True) if answer == "t"]
    for sentence, answer in zip(_NAMED, named, strict=True):
        # a name with anything else in it is none that Postgres gave
        names = re.findall(r"[\w.]+", answer, re.ASCII)
        if len(names) > _MOST_NAMES:
            names[_MOST_NAMES:] = [f"{len(names) - _MOST_NAMES} more"]
        if names:
            told.append(sentence.format(", ".join(names)))
    return told


def _is_loopback(session: Session) -> bool:
    try:
        return ipaddress.ip_address(session.pgconn.hostaddr.decode()).is_loopback
    except ValueError:
        return False
