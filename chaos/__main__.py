"""``python -m chaos``: throw faults at a fleet for a while and judge what it recorded.

Exit code 0: nothing was missed, duplicated, stuck or torn, no stale write landed, and some were tried.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time

from chaos import scenarios
from chaos.run import run


def main() -> None:
    """Read the arguments and begin."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="how long faults are thrown")
    parser.add_argument("--seed", type=int, default=None, help="what makes the order of the faults")
    parser.add_argument(
        "--lease", type=float, default=30, help="seconds a lease lasts, renewals in proportion"
    )
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--apis", type=int, default=1)
    parser.add_argument("--at-once", type=int, default=2, help="faults at the same time")
    parser.add_argument(
        "--control", action="store_true", help="play the mutants' scenarios without the defects"
    )
    parser.add_argument("--mutants", nargs="*", metavar="NAME", help="plant defects instead: these, or all")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else int(time.time()) % 1_000_000
    if options.mutants is not None or options.control:
        sys.exit(asyncio.run(scenarios.catch(options.mutants or None, control=options.control)))
    sys.exit(
        asyncio.run(
            run(
                seconds=options.seconds,
                rng=random.Random(seed),
                seed=seed,
                lease_s=options.lease,
                workers=options.workers,
                apis=options.apis,
                at_once=options.at_once,
            )
        )
    )


if __name__ == "__main__":
    main()
