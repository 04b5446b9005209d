"""A real streaming replica is promoted under a worker and an API: the how-to's settings, tried."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest
from postgres_fixtures import (
    PREFIX,
    Database,
    Server,
    fresh_source,
    new_name,
    run_loop,
    template_of,
    throwaway,
)
from processes import eventually, installation

from pgsched.adapters.embedded import home as homes
from pgsched.adapters.embedded.cluster import EmbeddedCluster


@contextmanager
def standby_of(primary: Server) -> Iterator[EmbeddedCluster]:
    """A server that follows another one; its port is its superuser's."""
    home = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=primary.cluster.layout.home.parent))
    cluster = EmbeddedCluster(home, durable=False, settings={"hot_standby": "on"})
    layout = cluster.layout
    homes.ensure_folder(layout.folder)
    shutil.copy(primary.cluster.layout.superuser_password, layout.superuser_password)
    # the server's own programs may have an older libpq than psycopg's
    way = f"host={primary.host} port={primary.port} user={primary.user} password={primary.password}"
    backup = primary.cluster.programs.postgres.with_name("pg_basebackup")
    subprocess.run([backup, "-D", layout.data, "-R", "-c", "fast", "-d", way], check=True)
    shutil.chown(layout.data, *_owner(primary.cluster.layout.data))

    async def start() -> None:
        # as ``start`` does, without what it writes into a database of its own
        await cluster._launch(*await cluster._prepare())

    try:
        run_loop(start())
        yield cluster
    finally:
        run_loop(cluster.stop())
        shutil.rmtree(home, ignore_errors=True)


def _owner(path: Path) -> tuple[int, int]:
    return path.stat().st_uid, path.stat().st_gid


def kill(cluster: EmbeddedCluster) -> None:
    """End a server and its backends as a power cut would."""
    server = psutil.Process(cluster.pid)
    for process in (server, *server.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            process.kill()


@pytest.mark.slow
def test_promoted_standby_takes_over(pg_server, tmp_path):
    with (
        throwaway() as primary,
        fresh_source(pg_server) as source,
        standby_of(primary) as standby,
    ):
        # not dropped: its server is dead by then
        database = Database(server=primary, dbname=new_name("meta"))
        primary.create(database.dbname, template=template_of(primary))
        primary.execute(f"alter database {database.dbname} set synchronous_commit = on")
        primary.execute("alter system set synchronous_standby_names = '*'")
        primary.execute("select pg_reload_conf()")
        ways = psycopg.conninfo.conninfo_to_dict(database.conninfo)
        there = f"127.0.0.1:{primary.port},127.0.0.1:{standby.superuser.port}/{database.dbname}"
        dsn = f"postgresql://{ways['user']}:{ways['password']}@{there}?target_session_attrs=read-write"
        with installation(tmp_path / "place", dsn) as place:
            place.add_source(source)
            place.add_query("tick", "select 1 as one", schedule_expr="PT1S")
            worker = place.worker()
            api, url = place.api()
            eventually(lambda: httpx.get(f"{url}/api/queries/tick/runs/latest").status_code == 200)

            kill(primary.cluster)
            eventually(lambda: httpx.get(f"{url}/readyz").status_code == 503)
            admin = standby.superuser.on(database.dbname).dsn()
            with psycopg.connect(admin, autocommit=True) as connection:
                ((promoted,),) = connection.execute("select pg_promote()").fetchall()
                assert promoted
                ((at,),) = connection.execute("select clock_timestamp()").fetchall()
                after = "select 1 from query_run where status = 'success' and run_started_at > %s"
                eventually(lambda: connection.execute(after, [at]).fetchall())
                eventually(lambda: httpx.get(f"{url}/readyz").status_code == 200)
                steps = connection.execute(
                    "select extract(epoch from scheduled_at - lag(scheduled_at) over (order by scheduled_at))"
                    "::int from query_run"
                ).fetchall()
            # no instant of the failover is without an outcome, none has two
            assert [step for (step,) in steps] == [None, *[1] * (len(steps) - 1)]
            assert worker.process.poll() is None
            assert api.process.poll() is None
