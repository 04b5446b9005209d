"""``python -m pgsched`` is the command ``pgsched``."""

from __future__ import annotations

from pgsched.entrypoints.cli.start import main

if __name__ == "__main__":
    main()
