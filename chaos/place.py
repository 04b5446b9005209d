"""Where the chaos happens: a metadata server, a source that logs every statement, keys and settings."""

from __future__ import annotations

import asyncio
import base64
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from pgsched.adapters.crypto.keygen import generate_pair, write_pair
from pgsched.adapters.embedded.cluster import EmbeddedCluster
from pgsched.adapters.embedded.connection import ConnectionInfo
from pgsched.adapters.postgres.schema import upgrade

ROOT = Path(__file__).parents[1]
#: what every run at the source is seen by: time, backend, application_name, SQLSTATE
LOG_PREFIX = "%m|%p|%a|%e|"
#: what a kill -9 of the server and its backends does not lose: commits reach the kernel, not the disk
META_SETTINGS = {
    "synchronous_commit": "on",
    "shared_buffers": "32MB",
    "max_connections": "120",
    "min_wal_size": "32MB",
    "max_wal_size": "64MB",
}
SOURCE_SETTINGS = {
    "log_statement": "all",
    "log_min_duration_statement": "0",
    "log_min_error_statement": "error",
    "log_disconnections": "on",
    "log_line_prefix": LOG_PREFIX,
    "max_connections": "200",
    "shared_buffers": "32MB",
}
#: megabytes of the disk that the metadata server gets
DISK_MB = 500
READER = "reader"

_SOURCE = """
create function flaky(share float8) returns integer language plpgsql volatile as $$
begin
    if random() < share then
        raise exception 'come back later' using errcode = 'serialization_failure';
    end if;
    return 1;
end $$;
"""


@dataclass(kw_only=True)
class Place:
    """Both servers, and what every process of the fleet is started with."""

    folder: Path
    meta: EmbeddedCluster
    source: EmbeddedCluster
    #: the application's way to the metadata database, past every proxy
    direct: ConnectionInfo
    reader_password: str
    environment: dict[str, str]
    #: a file system of its own under the metadata server, None where none can be mounted
    disk: Path | None
    _notes: list[str] = field(default_factory=list)

    @property
    def meta_admin(self) -> str:
        """The superuser's conninfo of the metadata database."""
        return make_conninfo(**self.meta.superuser.on(self.direct.dbname).keywords())

    @property
    def source_admin(self) -> str:
        """The superuser's conninfo of the source."""
        return make_conninfo(**self.source.superuser.on("shop").keywords())

    @property
    def source_log(self) -> Path:
        """What the source was asked, line by line."""
        return self.source.layout.log

    def dsn_through(self, host: str, port: int) -> str:
        """The application's conninfo through a proxy."""
        return make_conninfo(**{**self.direct.keywords(), "host": host, "hostaddr": host, "port": port})


@asynccontextmanager
async def place(*, own_disk: bool) -> AsyncIterator[Place]:
    """Make everything, and take it away afterwards."""
    parent = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else Path(tempfile.gettempdir())
    folder = Path(tempfile.mkdtemp(prefix="pgsched-chaos-", dir=parent))
    disk = _mounted(folder / "disk") if own_disk else None
    meta_home = (disk or folder) / "meta"
    meta = EmbeddedCluster(meta_home, durable=False, settings=META_SETTINGS)
    source = EmbeddedCluster(folder / "source", durable=False, settings=SOURCE_SETTINGS)
    try:
        direct = await meta.start()
        await source.start()
        await upgrade(make_conninfo(**direct.keywords()))
        password = secrets.token_hex(12)
        with psycopg.connect(source.superuser.dsn(), autocommit=True) as server:
            server.execute("create database shop")
            server.execute(f"create role {READER} login password '{password}'")
        with psycopg.connect(source.superuser.on("shop").dsn(), autocommit=True) as database:
            database.execute(_SOURCE)
        write_pair(generate_pair(), public=folder / "public", private=folder / "private")
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LD_LIBRARY_PATH") if name in os.environ}
        yield Place(
            folder=folder,
            meta=meta,
            source=source,
            direct=direct,
            reader_password=password,
            environment={
                **kept,
                "LANG": "C.UTF-8",
                "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}",
                "PGSCHED_HOME": str(folder / "home"),
                "LOG_DIR": str(folder / "logs"),
                "PUBLIC_KEY_B64_PATH": str(folder / "public"),
                "APP_PRIVATE_KEY_B64_PATH": str(folder / "private"),
                "ARGON2_SECRET_KEY_B64": base64.b64encode(secrets.token_bytes(32)).decode(),
                "CHAOS_FOLDER": str(folder),
            },
            disk=disk,
        )
    finally:
        await meta.stop()
        await source.stop()
        if disk is not None:
            await asyncio.to_thread(
                subprocess.run, ["umount", "-l", str(disk)], check=False, capture_output=True
            )
        if os.environ.get("CHAOS_KEEP") != "1":
            shutil.rmtree(folder, ignore_errors=True)


def _mounted(at: Path) -> Path | None:
    """A small tmpfs, where this user may mount one."""
    at.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m,mode=0755", "pgsched-chaos", str(at)]
    try:
        done = subprocess.run(command, check=False, capture_output=True)
    except OSError:
        return None
    return at if done.returncode == 0 else None
