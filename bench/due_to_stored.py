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
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.stage import Stage

#: rows of the result, and how often each is measured after the cold run
SIZES = ((150, 200), (100_000, 4))
#: each way is measured so often, in turns; the better median counts
ROUNDS = 2
NAMES = {"pandas": "fetchall, DataFrame, to_json, insert", "pgsched": "plan, claim, execute, finish"}


def select(rows: int) -> str:
    """Return the statement both ways run."""
    return f"SELECT * FROM pgsched_bench LIMIT {rows}"


def report(where: Stage) -> None:
    """Measure and print the table."""
    print("due → stored, committed; 10 mixed columns, warm connections, median")
    print("(the plain way plans and claims nothing, and reads unfenced with whatever its role may)")
    print(f"{'rows':>8}  {'way':40}{'warm':>10}{'cold':>10}{'peak':>9}{'added':>9}  beside pandas")
    for rows, repeats in SIZES:
        found: dict[str, dict[str, float]] = {}
        for _ in range(ROUNDS):
            for way in NAMES:
                one = where.measure("due_to_stored", way, rows, repeats)
                if way not in found or one["warm_ms"] < found[way]["warm_ms"]:
                    found[way] = one
        for way, one in found.items():
            times = found["pandas"]["warm_ms"] / one["warm_ms"]
            less = found["pandas"]["added_mb"] / max(one["added_mb"], 0.1)
            ratio = f"{times:4.1f} × as fast, 1/{less:.1f} of the memory" if way == "pgsched" else "1"
            print(
                f"{rows:8,}  {NAMES[way]:40}{one['warm_ms']:7.1f} ms{one['cold_ms']:7.0f} ms"
                f"{one['peak_mb']:6.0f} MB{one['added_mb']:6.0f} MB  {ratio}"
            )


def peak_mb() -> float:
    """Return the most memory this process has held, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024 * 1024 if sys.platform == "darwin" else 1024)


def main() -> None:
    """Measure one way; what it takes to be ready (imports, connections to the metadata) is not counted."""
    way, rows, repeats = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    measure: Callable[[str, int], tuple[list[float], float]]
    if way == "pandas":
        from bench.pandas_way import measure
    else:
        from bench.pgsched_way import measure
    seconds, before_mb = measure(select(rows), repeats + 1)
    cold, *warm = seconds
    found = {
        "cold_ms": cold * 1000,
        "warm_ms": statistics.median(warm) * 1000,
        "peak_mb": peak_mb(),
        "added_mb": peak_mb() - before_mb,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
