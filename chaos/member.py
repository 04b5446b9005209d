"""A worker or API process of the chaos: pgsched's own command, with failpoints and maybe a defect.

Run as ``python -m chaos.member worker …``. What is changed is changed before anything of pgsched is imported
that copies it: the lease (so that a short test sees many of them) and the schema's version (so that a newer
release can be played).
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Change what the driver ordered and become the command."""
    from pgsched.domain import runs

    lease = float(os.environ.get("CHAOS_LEASE", runs.LEASE_S))
    share = lease / runs.LEASE_S
    runs.LEASE_S, runs.RENEW_EVERY_S, runs.SELF_KILL_S = (
        lease,
        runs.RENEW_EVERY_S * share,
        runs.SELF_KILL_S * share,
    )
    from pgsched.adapters.postgres import schema

    schema.EXPECTED = schema.EXPECTED + int(os.environ.get("CHAOS_NEWER", "0"))  # type: ignore[misc]
    if sys.argv[1] == "worker":
        from chaos import failpoints, mutants, wall_clock
        from pgsched.application.work import Worker

        failpoints.install()
        wall_clock.install()
        # What outlasts the drain is handed back; in a short test that shall happen too.
        Worker.__init__.__kwdefaults__["drain_s"] *= share  # type: ignore[index]
        mutants.plant(os.environ.get("CHAOS_MUTANT", ""))
    from pgsched.entrypoints.cli.main import main as command

    command()


if __name__ == "__main__":
    main()
