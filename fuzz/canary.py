"""A database whose every change shows: the canary."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

DBNAME = "canary"
#: may read and nothing else, as the documentation asks for
READER = "canary_reader"
#: may write to every table and use every sequence
WRITER = "canary_writer"

_SCHEMA = f"""
create table customers (id int primary key, name text, email text, born date, tags text[]);
insert into customers select g, 'name ' || g, g || '@example.org', date '1970-01-01' + g, array['a', g::text]
  from generate_series(1, 20) g;
create table orders (id int primary key, customer_id int references customers, amount numeric(10, 2),
  at timestamptz, doc jsonb, note xml, span int4range, place point, search tsvector);
insert into orders select g, g % 20 + 1, g * 1.5, timestamptz '2026-01-01 00:00Z' + g * interval '1 hour',
  jsonb_build_object('a', g, 'b', array[g, g + 1]), ('<r><a>' || g || '</a></r>')::xml, int4range(g, g + 5),
  point(g, g), to_tsvector('english', 'order number ' || g) from generate_series(1, 50) g;
create sequence canary_seq;
create view order_totals as select customer_id, sum(amount) as total from orders group by 1;
create index orders_at on orders using brin (at);
create index orders_search on orders using gin (search);
create function sneak() returns int language sql volatile as 'delete from orders returning id';
create function shout(text) returns text language sql immutable as 'select upper($1)';
select lo_from_bytea(4242, 'canary');
grant usage on schema public to {READER}, {WRITER};
grant select on all tables in schema public to {READER};
grant all on all tables in schema public to {WRITER};
grant all on all sequences in schema public to {WRITER};
grant create on schema public to {WRITER};
alter table orders enable row level security;
create policy everyone on orders using (true) with check (true);
analyze;
"""

# Everything that a statement could leave behind, by name. Catalogs are looked at whole, so that a new object
# of any kind shows.
_CONTENT = """
select 'tables', md5((select string_agg(c::text, '|' order by id) from customers c)
    || (select string_agg(o::text, '|' order by id) from orders o))
union all select 'sequences', (select last_value || is_called::text from canary_seq)
union all select 'objects', (select md5(string_agg(relname || relfilenode || coalesce(relacl::text, ''), '|'
    order by oid)) from pg_class where relpersistence <> 't')
union all select 'functions', (select md5(string_agg(p.oid || prosrc || coalesce(proacl::text, ''), '|'
    order by oid)) from pg_proc p)
union all select 'roles', (select md5(string_agg(a::text, '|' order by oid)) from pg_authid a)
union all select 'databases', (select md5(string_agg(d.oid || datname || coalesce(datacl::text, ''), '|'
    order by oid)) from pg_database d)
union all select 'schemas', (select string_agg(nspname, ' ' order by oid) from pg_namespace
    where nspname !~ '^pg_(toast_)?temp')
union all select 'types and operators', (select (select count(*) from pg_type)
    + (select count(*) from pg_operator) + (select count(*) from pg_extension)
    + (select count(*) from pg_collation) + (select count(*) from pg_cast)
    + (select count(*) from pg_trigger) + (select count(*) from pg_rewrite))::text"""
_REST = """
select 'large objects', (select count(*) from pg_largeobject_metadata) || md5((
    select string_agg(data, '' order by loid, pageno) from pg_largeobject))
union all select 'transaction ids', pg_snapshot_xmax(pg_current_snapshot())::text
union all select 'advisory locks', (select count(*) from pg_locks where locktype = 'advisory')::text
union all select 'victims', (select string_agg(pid::text, ' ' order by pid) from pg_stat_activity
    where application_name = 'victim')
union all select 'server', pg_postmaster_start_time() || pg_conf_load_time()::text || pg_is_in_recovery()
union all select 'WAL', pg_walfile_name(pg_current_wal_insert_lsn())
union all select 'replication', (select count(*) from pg_replication_slots)
    || ' ' || (select count(*) from pg_replication_origin)
union all select 'stored settings',
    (select md5(coalesce(string_agg(s::text, '|'), '')) from pg_db_role_setting s)
    || (select md5(string_agg(name || coalesce(setting, ''), '|' order by seqno)) from pg_file_settings)
union all select 'statistics', (select string_agg(stats_reset::text, ' ' order by name) from pg_stat_slru)
    || coalesce((select stats_reset::text from pg_stat_database where datname = current_database()), '')
    || (select stats_reset from pg_stat_bgwriter) || (select stats_reset from pg_stat_archiver)
union all select 'planner statistics', (select md5(string_agg(s::text, '|'
    order by starelid, staattnum)) from pg_statistic s where starelid = 'orders'::regclass)"""


# What is stored is in the WAL first; the rest of this is what a signal, a lock or a reload changes.
_GLANCE = """
select pg_current_wal_insert_lsn(), pg_snapshot_xmax(pg_current_snapshot()), pg_conf_load_time(),
  (select count(*) from pg_locks where locktype = 'advisory'),
  (select count(*) from pg_stat_activity where application_name = 'victim')"""


@dataclass(kw_only=True)
class Canary:
    """The database and who may come in."""

    #: the superuser's way in, as a libpq string
    admin: str
    #: host, port and passwords by role
    host: str
    port: int
    passwords: dict[str, str]
    #: the server's version
    version: str
    #: folder of files that statements try to read and write
    folder: Path
    data: Path

    def conninfo(self, role: str) -> str:
        """A role's way in, as a libpq string."""
        return psycopg.conninfo.make_conninfo(
            host=self.host, port=self.port, dbname=DBNAME, user=role, password=self.passwords[role]
        )


class Watch:
    """Looks at the canary over connections of its own, one of which listens and one of which only waits."""

    def __init__(self, canary: Canary) -> None:
        self._canary = canary
        self._eye = psycopg.connect(canary.admin, autocommit=True)
        self._victim = psycopg.connect(canary.admin, autocommit=True, application_name="victim")
        self._victim.execute("listen canary")

    def close(self) -> None:
        self._eye.close()
        self._victim.close()

    def glance(self) -> tuple[object, ...]:
        """What changes with nearly every write, and is soon looked at."""
        [row] = self._eye.execute(_GLANCE).fetchall()
        return row

    def look(self) -> dict[str, str]:
        """Everything that must not change, by name."""
        seen = dict(self._eye.execute(_CONTENT).fetchall() + self._eye.execute(_REST).fetchall())
        seen["notifications"] = str(len(list(self._victim.notifies(timeout=0))))
        seen["files"] = self._files()
        return seen

    def _files(self) -> str:
        digest = hashlib.sha256()
        for path in sorted(self._canary.folder.rglob("*")):
            digest.update(str(path).encode() + path.read_bytes())
        for name in ("", "pg_replslot", "pg_logical", "pg_tblspc", "pg_logical/snapshots"):
            folder = self._canary.data / name
            kept = sorted(entry for entry in os.listdir(folder) if not entry.startswith("pg_internal"))
            digest.update(repr((name, kept)).encode())
        return digest.hexdigest()


@asynccontextmanager
async def furnished(pg_bin: Path | None) -> AsyncIterator[Canary]:
    """Start a throw-away server with a canary on it, and clear it away afterwards."""
    from pgsched.adapters.embedded.cluster import EmbeddedCluster

    parent = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    home = Path(tempfile.mkdtemp(prefix="pgsched-fuzz-", dir=parent))
    # nothing moves by itself: what changes was changed by a statement
    quiet = {"autovacuum": "off", "checkpoint_timeout": "1d", "temp_file_limit": "64MB", "work_mem": "4MB",
             "max_parallel_workers_per_gather": "0", "jit": "off"}  # fmt: skip
    cluster = EmbeddedCluster(home / "server", pg_bin=pg_bin, durable=False, settings=quiet)
    try:
        await cluster.start()
        try:
            yield _hatch(cluster, home)
        finally:
            await cluster.stop()
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _hatch(cluster: object, home: Path) -> Canary:
    admin = cluster.superuser  # type: ignore[attr-defined]
    passwords = {role: secrets.token_hex(16) for role in (READER, WRITER)}
    folder = home / "files"
    folder.mkdir()
    (folder / "secret").write_text("canary")
    with psycopg.connect(admin.dsn(), autocommit=True) as server:
        for role, password in passwords.items():
            server.execute(f"create role {role} login password '{password}'")
        server.execute(f"create database {DBNAME}")
        [(data,)] = server.execute("show data_directory").fetchall()
    conninfo = psycopg.conninfo.make_conninfo(**admin.on(DBNAME).keywords())
    with psycopg.connect(conninfo, autocommit=True) as source:
        try:
            source.execute("select '<r/>'::xml")
            source.execute(_SCHEMA)
        except psycopg.errors.FeatureNotSupported:
            # a server built without libxml
            source.execute(_SCHEMA.replace("xml", "text"))
        version = source.info.parameter_status("server_version") or ""
    return Canary(
        admin=conninfo, host=admin.host, port=admin.port, passwords=passwords, version=version,
        folder=folder, data=Path(data),
    )  # fmt: skip
