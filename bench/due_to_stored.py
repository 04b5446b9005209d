"""From a due query to its committed result: pgsched's own parts beside the plain pandas way.

``python -m bench.due_to_stored WAY ROWS REPEATS`` measures one way here (with the environment of the stage)
and prints a line of JSON; ``report`` runs both ways in processes of their own and prints the table.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
from collections.abc import Callable
from functools import partial

from bench import stage

#: rows of the result, how often each is measured after the cold run, and how many times as fast it shall be
SIZES = ((150, 100, 2.0), (100_000, 4, 4.0))
#: rows that a query may have by default
DEFAULT_ROWS = 10_000
#: rows of the result that memory is measured with, and the most MB it may add
MANY, MOST_ADDED_MB = 1_000_000, 96
#: MB that storing 100,000 rows may take in all
MOST_PEAK_MB = 160
#: each way is measured so often, in turns; the better median counts
ROUNDS = {150: 5, 100_000: 2}
NAMES = {
    "bare": "bare: psycopg, DataFrame, to_json, insert",
    "pandas": "plain: read_sql_query, to_json, insert, run noted",
    "pgsched": "pgsched: plan, claim, execute, finish",
}
WHAT_EACH_DOES = """\
  bare     a cursor's rows into a DataFrame, to_json(orient="table"), one insert; no fence, no note of the run
  plain    job locked and run noted; SQLAlchemy connection, read only with a timeout, pandas.read_sql_query;
           to_json(orient="table"); result and end of the run in one transaction; 3 commits and rollbacks
  pgsched  the production container without its loop: planned and claimed in one transaction; password, guard,
           fences (REPEATABLE READ READ ONLY, pins, cursor, DISCARD ALL); result and end in one transaction\
"""


def select(rows: int) -> str:
    """Return the statement that every way runs."""
    times = -(-rows // stage.ROWS)
    return f"SELECT b.* FROM pgsched_bench b, generate_series(1, {times}) LIMIT {rows}"


def report(where: stage.Stage) -> None:
    """Measure and print the tables."""
    print("due → stored, committed; 10 mixed columns, warm connections, median")
    print(WHAT_EACH_DOES)
    print(
        f"{'rows':>8}  {'way':52}{'warm':>10}{'cold':>9}{'peak':>8}{'added':>8}  {'bare ÷':>9}{'plain ÷':>11}"
    )
    peaks = {}
    for rows, repeats, goal in SIZES:
        found: dict[str, dict[str, float]] = {}
        for _ in range(ROUNDS[rows]):
            for way in NAMES:
                one = where.measure("due_to_stored", way, rows, repeats)
                if way not in found or one["warm_ms"] < found[way]["warm_ms"]:
                    found[way] = one
        peaks[rows] = found["pgsched"]["peak_mb"]
        for way, one in found.items():
            bare, plain = (found[other]["warm_ms"] / one["warm_ms"] for other in ("bare", "pandas"))
            aim = f" (goal ≥ {goal:g})" if way == "pgsched" else ""
            print(
                f"{rows:8,}  {NAMES[way]:52}{one['warm_ms']:7.1f} ms{one['cold_ms']:6.0f} ms"
                f"{one['peak_mb']:5.0f} MB{one['added_mb']:5.0f} MB  {bare:7.1f} ×{plain:9.1f} ×{aim}"
            )
    many = where.measure("due_to_stored", "pgsched", MANY, 0)
    print(
        f"{MANY:8,}  {NAMES['pgsched']:52}{'':10}{many['cold_ms']:6.0f} ms"
        f"{many['peak_mb']:5.0f} MB{many['added_mb']:5.0f} MB  {many['added_mb']:.0f} MB above idle"
        f" (goal ≤ {MOST_ADDED_MB}); 100,000 rows: {peaks[100_000]:.0f} MB in all (goal ≤ {MOST_PEAK_MB})"
    )


def peak_mb() -> float:
    """Return the most memory this process has held, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)


def main() -> None:
    """Measure one way; what it takes to be ready (imports, connections to the metadata) is not counted."""
    way, rows, repeats = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    measure: Callable[[str, int], tuple[list[float], float]]
    if way == "pgsched":
        from bench.pgsched_way import MUCH
        from bench.pgsched_way import measure as ours

        measure = partial(ours, limits=MUCH if rows > DEFAULT_ROWS else {})
    else:
        from bench.pandas_way import measure as plain

        measure = partial(plain, bare=way == "bare")
    seconds, before_mb = measure(select(rows), repeats + 1)
    cold, *warm = seconds
    found = {
        "cold_ms": cold * 1000,
        "warm_ms": statistics.median(warm or [cold]) * 1000,
        "peak_mb": peak_mb(),
        "added_mb": peak_mb() - before_mb,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
