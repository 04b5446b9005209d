"""Reading a large stored result over HTTP: pages out of it, and the whole of it in every format."""

from __future__ import annotations

import asyncio
import http.client
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from bench.latest import _answer, _free_port, process
from bench.stage import ROWS

if TYPE_CHECKING:
    from bench.stage import Stage

QUERY = "pages"
SQL = "SELECT * FROM pgsched_bench ORDER BY id"
#: pages read of each kind, and rows of a page
PAGES, PAGE = 200, 1000
#: milliseconds that a page may take
GOAL_MS = 10


async def report(where: Stage) -> None:
    """Measure and print the table."""
    where.measure("pgsched_way", SQL, QUERY)
    port = _free_port()
    path = f"/api/queries/{QUERY}/runs/latest"
    async with process(where, "pgsched", "api", "--port", port):
        await _answer(f"http://127.0.0.1:{port}{path}?rows=0,1")
        await asyncio.to_thread(_report, port, path)


def _report(port: int, path: str) -> None:
    print(f"A page of {PAGE:,} rows out of a stored run of {ROWS:,} × 10 (at most {GOAL_MS} ms)")
    print(f"{'':40}{'median ms':>10}{'p95 ms':>10}")
    random = Random(1)
    for name, last, asked in (
        ("first pages, records", PAGE * 5, "format=records"),
        ("anywhere, records", ROWS - PAGE, "format=records"),
        ("anywhere, table", ROWS - PAGE, "format=table"),
        ("anywhere, two columns", ROWS - PAGE, "format=records&columns=id,txt"),
        ("anywhere, csv", ROWS - PAGE, "format=csv"),
    ):
        connection = http.client.HTTPConnection("127.0.0.1", port)
        took = []
        for _ in range(PAGES):
            offset = random.randrange(last)
            took.append(_timed(connection, f"{path}?{asked}&rows={offset},{PAGE}")[0] * 1000)
        p95 = statistics.quantiles(took, n=20)[-1]
        print(f"{name:40}{statistics.median(took):10.1f}{p95:10.1f}")
    print()
    print(f"{f'All {ROWS:,} rows':40}{'s':>10}{'MB':>10}  most memory of the process so far, MB")
    connection = http.client.HTTPConnection("127.0.0.1", port)
    for format_ in ("records", "table", "ndjson", "columns", "csv", "arrow", "parquet"):
        seconds, size = _timed(connection, f"{path}?format={format_}")
        print(f"{format_:40}{seconds:10.2f}{size / 1e6:10.1f}  {max(_peaks_mb(port)):.0f}")


def _timed(connection: http.client.HTTPConnection, path: str) -> tuple[float, int]:
    started = time.perf_counter()
    connection.request("GET", path)
    answer = connection.getresponse()
    size = 0
    while piece := answer.read(1 << 16):
        size += len(piece)
    assert answer.status == 200, answer.status
    return time.perf_counter() - started, size


def _peaks_mb(port: int) -> Iterator[float]:
    """The most memory that each process with this port in its command line has held, MB (proc(5), VmHWM)."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if str(port) in (folder / "cmdline").read_text().split("\0"):
                status = (folder / "status").read_text()
                yield int(status.partition("VmHWM:")[2].split()[0]) / 1024
        except (OSError, IndexError):
            continue


if __name__ == "__main__":
    from bench import stage

    with stage.throwaway() as where:
        asyncio.run(report(where))
