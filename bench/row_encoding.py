"""From a source's rows to the stored document: pgsched beside psycopg, DataFrame, to_json.

Usage: ``python bench/row_encoding.py CONNINFO [ROWS]`` with any Postgres one may create a table in. Each way
runs in a process of its own three times; printed are the best wall time and the peak memory it added.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import subprocess
import sys
import time

TABLE = """
CREATE TABLE pgsched_bench AS
SELECT g::int AS id, g * 1000000007::bigint AS big, (g::numeric / 7)::numeric(38, 10) AS num, g / 3.0::float8 AS dbl,
  g % 2 = 0 AS flag, 'customer number ' || g AS txt, timestamptz '2026-01-01 00:00Z' + g * interval '1.001 s' AS ts,
  date '2026-01-01' + g % 365 AS d, md5(g::text)::uuid AS u, CASE WHEN g % 10 > 0 THEN g END AS n
FROM generate_series(1, {rows}) AS g
"""  # noqa: E501
SELECT = "SELECT * FROM pgsched_bench"


def pandas_way(conninfo: str) -> int:
    """Fetch all, build a frame, write it: the plain way."""
    import pandas
    import psycopg

    with psycopg.connect(conninfo) as connection:
        cursor = connection.execute(SELECT)
        rows = cursor.fetchall()
        assert cursor.description is not None
        frame = pandas.DataFrame(rows, columns=[column.name for column in cursor.description])
    frame["u"] = frame["u"].astype(str)  # to_json would dump the attributes of each UUID
    return len(frame.to_json(orient="table", index=False))


def pgsched_way(conninfo: str) -> int:
    """Run it as a worker would, on a new connection."""
    from psycopg.conninfo import conninfo_to_dict

    from pgsched.adapters.source.sources import PsycopgSources
    from pgsched.application.ports.execution import SourceAddress, Statement
    from pgsched.domain.results import OnLimit

    given = conninfo_to_dict(conninfo)
    address = SourceAddress(
        host=str(given["host"]),
        port=int(given.get("port", 5432)),
        dbname=str(given["dbname"]),
        username=str(given["user"]),
        password=str(given["password"]) if "password" in given else None,
    )
    statement = Statement(
        sql=SELECT,
        timezone="UTC",
        timeout_ms=300_000,
        max_rows=10_000_000,
        max_bytes=1 << 32,
        on_limit=OnLimit.ERROR,
        application_name="pgsched:bench",
    )

    async def run() -> int:
        sources = PsycopgSources()
        size = 0
        async with sources.execute(address, statement) as stream:
            async for batch in stream:
                size += len(batch.data)
        await sources.close()
        return size + len(stream.table_schema())

    return asyncio.run(run())


WAYS = {"pandas": pandas_way, "pgsched": pgsched_way}


def measure(way: str, conninfo: str) -> None:
    """Print wall seconds, megabytes added at the peak, and megabytes written; imports are not counted."""
    import pandas  # noqa: F401 - so that both ways start from the same memory
    import psycopg

    import pgsched.adapters.source.sources  # noqa: F401

    psycopg.connect(conninfo).close()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    size = WAYS[way](conninfo)
    wall = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(wall, peak / 1024, size / 1e6)


def main() -> None:
    """Make the table, run both ways, print the comparison, drop the table."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("conninfo")
    arguments.add_argument("rows", type=int, nargs="?", default=100_000)
    arguments.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.way:
        measure(given.way, given.conninfo)
        return
    import psycopg

    with psycopg.connect(given.conninfo, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS pgsched_bench")
        connection.execute(TABLE.format(rows=given.rows))
        connection.execute("VACUUM ANALYZE pgsched_bench")
        try:
            best: dict[str, tuple[float, float, float]] = {}
            for _ in range(3):
                for way in WAYS:
                    command = [sys.executable, __file__, given.conninfo, str(given.rows), "--way", way]
                    done = subprocess.run(command, capture_output=True, text=True, check=True)
                    wall, peak, size = (float(word) for word in done.stdout.split())
                    best[way] = min(best.get(way, (wall, peak, size)), (wall, peak, size))
        finally:
            connection.execute("DROP TABLE pgsched_bench")
    print(f"{given.rows} rows × 10 columns, from the source to the document, best of 3")
    for way, (wall, peak, size) in best.items():
        ratio = best["pandas"][0] / wall
        print(f"{way:8} {wall:6.2f} s  {peak:6.0f} MB more memory  {size:5.1f} MB written  {ratio:4.1f} x")


if __name__ == "__main__":
    main()
