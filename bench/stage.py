"""What every measurement stands on: a throw-away server, a source with rows, and pgsched set up on it."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.row_encoding import TABLE

ROOT = Path(__file__).parents[1]
#: rows of the table that the measurements select from
ROWS = 100_000
SOURCE = "bench"
READER = "bench_reader"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Where to measure."""

    #: working directory of every process
    folder: Path
    #: environment of every process: pgsched's settings, and what the plain way needs
    environment: Mapping[str, str]
    #: the server's version
    postgres: str
    #: folder of the server's programs
    programs: Path

    def measure(self, module: str, *arguments: object) -> dict[str, Any]:
        """Run a module of this package in a process of its own and return the JSON it prints last."""
        done = subprocess.run(
            [sys.executable, "-m", f"bench.{module}", *map(str, arguments)],
            cwd=self.folder,
            env=dict(self.environment),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found


@contextmanager
def throwaway() -> Iterator[Stage]:
    """Set the stage and clear it away."""
    from pgsched.adapters.embedded.cluster import EmbeddedCluster

    parent = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="pgsched-bench-", dir=parent) as name:
        folder = Path(name)
        # Compression and memory as a small production server has them.
        cluster = EmbeddedCluster(folder / "home", durable=False, settings={"shared_buffers": "128MB"})
        asyncio.run(cluster.start())
        try:
            yield asyncio.run(_furnish(cluster, folder))
        finally:
            asyncio.run(cluster.stop())


async def _furnish(cluster: Any, folder: Path) -> Stage:
    """Make the source and its rows, keys and pepper, and pgsched's schema."""
    import psycopg
    from psycopg.conninfo import make_conninfo

    from pgsched.adapters.crypto.keygen import generate_pair, write_pair
    from pgsched.adapters.postgres.schema import upgrade

    password = secrets.token_hex(16)
    admin = cluster.superuser
    with psycopg.connect(admin.dsn(), autocommit=True) as server:
        server.execute("create database bench")
        server.execute(f"create role {READER} login password '{password}'")
        server.execute(f"grant connect on database bench to {READER}")
        version = server.info.parameter_status("server_version")
    with psycopg.connect(admin.on("bench").dsn(), autocommit=True) as source:
        source.execute(TABLE.format(rows=ROWS))
        source.execute(f"grant select on pgsched_bench to {READER}")
        source.execute("vacuum analyze pgsched_bench")
    await upgrade(cluster.application.dsn())
    public, private = folder / "public_key.base64", folder / "private_key.base64"
    write_pair(generate_pair(), public=public, private=private)
    environment = {
        **os.environ,
        "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
        "PG_DSN_APP": cluster.application.dsn(),
        "PUBLIC_KEY_B64_PATH": str(public),
        "APP_PRIVATE_KEY_B64_PATH": str(private),
        "ARGON2_SECRET_KEY_B64": base64.b64encode(secrets.token_bytes(32)).decode(),
        "BENCH_SOURCE": make_conninfo(
            host=admin.host, port=admin.port, dbname="bench", user=READER, password=password
        ),
    }
    return Stage(
        folder=folder,
        environment=environment,
        postgres=str(version).split(" ")[0],
        programs=cluster.programs.bindir,
    )
