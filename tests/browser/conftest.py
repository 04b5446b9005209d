"""The servers and databases of the integration tests, for pages in a real browser."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))

from postgres_fixtures import Database  # noqa: E402
