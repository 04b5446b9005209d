"""Print pgsched's speeds beside the plain way, measured in the same run: ``python -m bench``.

Starts a throw-away Postgres of its own, with fsync off: the figures are about computing, not about the disk.
Ratios hold from machine to machine better than figures do. Takes about four minutes.
"""

from __future__ import annotations

import asyncio
import os

from bench import dry_run, due_to_stored, latest, pages, soon, sql_guard, stage, throughput


def main() -> None:
    """Set the stage, run each measurement, print its table."""
    with stage.throwaway() as where:
        print(f"{os.cpu_count()} cores, Postgres {where.postgres}, loopback, fsync off\n")
        due_to_stored.report(where)
        print()
        asyncio.run(throughput.report(where))
        print()
        asyncio.run(latest.report(where))
        print()
        asyncio.run(soon.report(where))
        print()
        asyncio.run(pages.report(where))
        print()
        asyncio.run(dry_run.report(where))
    print()
    sql_guard.report()


if __name__ == "__main__":
    main()
