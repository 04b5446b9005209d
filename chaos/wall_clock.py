"""A process whose wall clock is wrong and is set while it runs.

libfaketime breaks Python from 3.11 on, so the two ways in which a process asks what time it is are led
astray in Python: ``time.time`` and ``datetime.now``. The clock for durations is the kernel's and stays right,
as it does on a machine whose clock somebody sets.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

_true_time = time.time


def place_of(folder: Path, name: str) -> Path:
    """Where the seconds stand by which the clock of a process is wrong."""
    return folder / "clock" / name


def install() -> None:
    """Lead this process astray by what stands in its file, whenever it asks."""
    place = place_of(Path(os.environ["CHAOS_FOLDER"]), os.environ["APP_NAME"])

    def wrong_by() -> float:
        with suppress(OSError, ValueError):
            return float(place.read_text())
        return 0.0

    class Every(type):
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, datetime)

    class WrongDatetime(datetime, metaclass=Every):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return datetime.now(tz) + timedelta(seconds=wrong_by())

    time.time = lambda: _true_time() + wrong_by()
    from pgsched.adapters.alarms import apscheduler as _  # noqa: F401 (so that it is there to be changed)

    for module in list(sys.modules.values()):
        asks = module.__name__.startswith(("apscheduler", "pgsched."))
        if asks and vars(module).get("datetime") is datetime:
            vars(module)["datetime"] = WrongDatetime
