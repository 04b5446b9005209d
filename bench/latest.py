"""GET latest over the real ``pgsched api`` process, beside a bare uvicorn answer of the same bytes."""

from __future__ import annotations

import asyncio
import socket
import sys
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from bench.load import CONNECTIONS

if TYPE_CHECKING:
    from bench.stage import Stage

QUERY = "latest"
#: rows whose document is about 16 kB
SQL = "SELECT * FROM pgsched_bench ORDER BY id LIMIT 70"
#: seconds of load a turn; each server gets so many turns, the best counts
SECONDS, TURNS = 4, 2


async def report(where: Stage) -> None:
    """Measure and print the table."""
    where.measure("pgsched_way", SQL, QUERY)
    api_port, bare_port = _free_port(), _free_port()
    url = f"http://127.0.0.1:{api_port}/api/queries/{QUERY}/runs/latest"
    async with process(where, "pgsched", "api", "--port", api_port):
        body, etag = await _answer(url)
        (where.folder / "body").write_bytes(body)
        async with process(where, "bench.bare", bare_port, where.folder / "body"):
            bare_url = f"http://127.0.0.1:{bare_port}/"
            await _answer(bare_url)
            cases = {
                "bare uvicorn": (bare_url,),
                "pgsched api": (url,),
                "pgsched api, If-None-Match (304)": (url, etag),
            }
            best, by = dict.fromkeys(cases, 0.0), ""
            for _ in range(TURNS):
                for name, (target, *known) in cases.items():
                    where.measure("load", target, 1, *known)
                    found = where.measure("load", target, SECONDS, *known)
                    best[name], by = max(best[name], found["per_second"]), found["by"]
    print(f"GET latest, {len(body) / 1000:.1f} kB, one process, {CONNECTIONS} connections, driven by {by}")
    print(f"{'server':40}{'answers/s':>10}  beside bare uvicorn")
    for name, per_second in best.items():
        print(f"{name:40}{per_second:10,.0f}  1/{best['bare uvicorn'] / per_second:.1f}")


@asynccontextmanager
async def process(where: Stage, module: str, *arguments: object) -> AsyncIterator[None]:
    """Run a server for the time of the block; what it says is shown when the block fails."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *map(str, arguments)),
        cwd=where.folder,
        env=dict(where.environment),
        stderr=asyncio.subprocess.PIPE,
    )
    failed = True
    try:
        yield
        failed = False
    finally:
        process.terminate()
        _, said = await process.communicate()
        if failed:
            sys.stderr.write(said.decode())


async def _answer(url: str) -> tuple[bytes, str]:
    """Wait for a server's first answer; return its body and ETag."""
    for _ in range(300):
        try:
            return await asyncio.to_thread(_get, url)
        except OSError:
            await asyncio.sleep(0.1)
    raise TimeoutError(f"{url} did not answer")


def _get(url: str) -> tuple[bytes, str]:
    with urllib.request.urlopen(url, timeout=5) as answer:
        return answer.read(), answer.headers.get("ETag") or ""


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
