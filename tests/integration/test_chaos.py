"""A seeded slice of the chaos test; ``make chaos`` is the long one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def chaos(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "chaos", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=240
    )


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_fleet_under_faults_misses_nothing():
    # a lease of 6 s instead of 30, so that many end
    done = chaos("--seconds", "35", "--seed", "5", "--lease", "6")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no stale write landed" in done.stdout


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_checker_catches_a_planted_defect():
    done = chaos("--mutants", "finish_by_id")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("finish_by_id: caught: stale")
