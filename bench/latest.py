"""GET latest over the real ``pgsched api`` process, as every kind of caller, beside what others make of it.

A bare uvicorn answer of the same bytes is the limit; Flask, SQLAlchemy and jsonify is the plain way. All take
turns in one run, and the median of the turns counts.
"""

from __future__ import annotations

import asyncio
import os
import socket
import statistics
import sys
import urllib.request
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psutil

from bench.load import CONNECTIONS

if TYPE_CHECKING:
    from bench.stage import Stage

QUERY = "latest"
#: rows whose document is about 16 kB
SQL = "SELECT * FROM pgsched_bench ORDER BY id LIMIT 70"
#: seconds of load a turn, before which each server is warmed for one
SECONDS, TURNS = 2, 3
#: what browsers send, so that CORS has something to do
_BROWSER = "Origin: https://dashboard.example.com"
#: threads that the plain way answers with
_THREADS = 8


@dataclass(kw_only=True)
class Case:
    """A row of the table."""

    name: str
    url: str
    headers: tuple[str, ...] = ()
    #: the process that answers, its children included
    pid: int
    #: what it is beside, and what it must be at least
    beside: str = ""
    goal: float | None = None
    #: answers a second of each turn
    per_second: list[float] = field(default_factory=list)
    #: cores that the server took, and the driver, in the last turn
    busy: tuple[float, float] = (0.0, 0.0)

    @property
    def speed(self) -> float:
        """Answers a second."""
        return statistics.median(self.per_second)


async def report(where: Stage) -> None:
    """Measure and print the table."""
    where.measure("pgsched_way", SQL, QUERY)
    people = where.measure("people")
    ports = [_free_port() for _ in range(4)]
    path = f"/api/queries/{QUERY}/runs/latest"
    api, two, bare, flask = (f"http://127.0.0.1:{port}" for port in ports)
    async with AsyncExitStack() as stack:

        async def started(module: str, *arguments: object) -> int:
            return await stack.enter_async_context(process(where, module, *arguments))

        api_pid = await started("pgsched", "api", "--port", ports[0])
        two_pid = await started("pgsched", "api", "--port", ports[1], "--processes", 2)
        body, etag = await _answer(api + path)
        await _answer(two + path)
        (where.folder / "body").write_bytes(body)
        bare_pid = await started("bench.bare", ports[2], where.folder / "body")
        plain = ("-k", "gthread", "--threads", _THREADS, "--access-logfile", where.folder / "flask.log")
        plain += ("-b", f"127.0.0.1:{ports[3]}", "bench.flask_way:app")
        flask_pid = await started("gunicorn", "--log-level", "error", *plain)
        known = f"If-None-Match: {etag}"
        cookie, token = f"Cookie: sid={people['sid']}", f"Authorization: Bearer {people['token']}"
        same, unchanged, way = "bare uvicorn", "bare uvicorn, 304", "Flask, SQLAlchemy, jsonify"
        await _answer(bare)
        await _answer(flask + path)
        mine = {"pid": api_pid, "url": api + path}
        cases = [
            Case(name=same, url=bare, pid=bare_pid),
            Case(name=unchanged, url=bare, headers=(known,), pid=bare_pid),
            Case(name=way, url=flask + path, pid=flask_pid),
            Case(name="anonymous", headers=(_BROWSER,), beside=same, goal=0.6, **mine),
            Case(name="cookie", headers=(_BROWSER, cookie), beside=same, goal=0.6, **mine),
            Case(name="API token", headers=(_BROWSER, token), beside=same, goal=0.6, **mine),
            Case(name="304, anonymous", headers=(_BROWSER, known), beside=same, goal=0.8, **mine),
            Case(name="304, API token", headers=(_BROWSER, known, token), beside=same, goal=0.8, **mine),
            Case(name="two processes", url=two + path, headers=(_BROWSER,), pid=two_pid, beside="anonymous"),
        ]
        by = await asyncio.to_thread(_drive, where, cases)
    _print(cases, len(body), by)


def _drive(where: Stage, cases: list[Case]) -> str:
    """Let every case have its turns; return what drove them."""
    by = ""
    for _ in range(TURNS):
        for case in cases:
            where.measure("load", case.url, 1, *case.headers)
            before = _cpu_s(case.pid)
            found = where.measure("load", case.url, SECONDS, *case.headers)
            case.per_second.append(found["per_second"])
            # the driver's start is in neither
            case.busy = ((_cpu_s(case.pid) - before) / SECONDS, found["busy"])
            by = found["by"]
    return by


def _print(cases: list[Case], size: int, by: str) -> None:
    of = {case.name: case.speed for case in cases}
    print(f"GET latest, {size / 1000:.1f} kB, {CONNECTIONS} connections, driven by {by}; medians of {TURNS}")
    print("pgsched: one process unless told otherwise; permission, CORS, request id and access log on")
    print(f"{'':34}{'answers/s':>10}{'server':>8}{'driver':>8}  cores taken")
    for case in cases:
        beside = ""
        if case.beside:
            ratio = case.speed / of[case.beside]
            beside = f"{ratio:.2f} of {case.beside}"
            if case.goal is not None:
                beside += f" (at least {case.goal}: {'met' if ratio >= case.goal else 'MISSED'})"
        server, driver = case.busy
        print(f"{case.name:34}{case.speed:10,.0f}{server:8.2f}{driver:8.2f}  {beside}")
    times = of["anonymous"] / of["Flask, SQLAlchemy, jsonify"]
    print(f"anonymous is {times:.0f} times the plain way (at least 50: {'met' if times >= 50 else 'MISSED'})")
    stricter = of["304, anonymous"] / of["bare uvicorn, 304"]
    print(f"304 is {stricter:.2f} of a bare 304 without a body")
    cores = os.cpu_count() or 1
    if cores < 3:
        print(f"{cores} cores, which two processes and their driver share: too few to show more")


def _cpu_s(pid: int) -> float:
    """Seconds of CPU that a process and its children have taken."""
    parent = psutil.Process(pid)
    return sum(sum(each.cpu_times()[:2]) for each in (parent, *parent.children(recursive=True)))


@asynccontextmanager
async def process(where: Stage, module: str, *arguments: object) -> AsyncIterator[int]:
    """Run a server for the time of the block; gives its pid; what it says is shown when the block fails."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *map(str, arguments)),
        cwd=where.folder,
        env=dict(where.environment),
        stderr=asyncio.subprocess.PIPE,
    )
    failed = True
    try:
        yield process.pid
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


if __name__ == "__main__":
    from bench import stage

    with stage.throwaway() as where:
        asyncio.run(report(where))
