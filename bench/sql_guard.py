"""Measure how many statements a second the guard judges: ``python bench/sql_guard.py [SECONDS]``."""

from __future__ import annotations

import json
import subprocess
import sys
import time

from pgsched.adapters.guard.grammar import PostgresGrammarGuard

SMALL = "SELECT count(*) FROM orders WHERE created_at >= now() - interval '1 hour'"
USUAL = """
WITH hourly AS (
    SELECT date_trunc('hour', o.created_at) AS hour, p.category, sum(i.quantity * i.unit_price) AS revenue
    FROM orders AS o JOIN order_items AS i ON i.order_id = o.id JOIN products AS p ON p.id = i.product_id
    WHERE o.created_at >= now() - interval '7 days' AND o.status <> 'cancelled'
    GROUP BY 1, 2)
SELECT hour, category, revenue, round(revenue / sum(revenue) OVER (PARTITION BY hour) * 100, 2) AS share,
       lag(revenue) OVER (PARTITION BY category ORDER BY hour) AS before
FROM hourly ORDER BY hour DESC, revenue DESC LIMIT 200
"""
#: statements a second, of whatever kind
GOAL = 1000
REFUSED = USUAL.replace("round(", "nextval('s') + round(")


def report(count: int = 3000) -> None:
    """Print statements a second through ``pgsched sql check --jsonl``, its start and the pipes included."""
    print(f"sql check --jsonl                          statements/s (goal ≥ {GOAL:,})")
    for name, sql in (("small", SMALL), ("usual", USUAL), ("usual, refused", REFUSED)):
        lines = (json.dumps({"sql": sql}) + "\n") * count
        start = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "pgsched", "sql", "check", "--jsonl"],
            input=lines,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        rate = count / (time.monotonic() - start)
        assert done.stdout.count("\n") == count
        print(f"  {name:16} {len(sql):6} characters {rate:22,.0f}")


def main(seconds: float) -> None:
    """Print statements a second for a small, a usual and a refused statement."""
    guard = PostgresGrammarGuard()
    guard.check(SMALL)
    for name, sql in (("small", SMALL), ("usual", USUAL), ("usual, refused", REFUSED)):
        done, start = 0, time.monotonic()
        while time.monotonic() - start < seconds:
            guard.check(sql)
            done += 1
        rate = done / (time.monotonic() - start)
        print(f"{name:16}{len(sql):6} characters {rate:10,.0f} statements/s")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 2.0)
