"""A year of logs by four writing processes: rotated, gzipped, deleted, and no line lost or torn."""

from __future__ import annotations

import gzip
import logging
import multiprocessing
import os
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from strict_syslog import parse

from pgsched.adapters.logs import log_file
from pgsched.adapters.logs.log_file import LogFile
from pgsched.adapters.logs.redaction import Redactor
from pgsched.adapters.logs.rfc5424 import Rfc5424Formatter
from pgsched.adapters.logs.tidy import tidy

FIRST = date(2026, 1, 1)
DAYS = 365
WRITERS = 4
#: of one process on one day
LINES = 25
GZIP_AFTER, KEEP = 7, 200


def write_a_year(folder: Path, writer: int, midnight: object, evening: object) -> None:
    """Write the year's lines day by day; all processes begin a day at the same moment."""
    # a machine that is busy with other tests is no frozen process
    log_file._LOCK_TRIES = 20_000
    formatter = Rfc5424Formatter(app_name="app", enterprise_id=32473, max_bytes=4096, redactor=Redactor(()))

    def after_rotation(today: date) -> None:
        tidy(folder, "app", today=today, gzip_after_days=GZIP_AFTER, keep_days=KEEP)

    file = LogFile(folder=folder, app_name="app", formatter=formatter, after_rotation=after_rotation)
    for day in range(DAYS):
        at = datetime.combine(FIRST + timedelta(days=day), datetime.min.time(), UTC)
        midnight.wait(100)
        for number in range(LINES):
            file.handle(
                logging.makeLogRecord(
                    {
                        "msg": f"{writer}/{number} " + "ä" * (number * 40),
                        "name": "year",
                        "levelno": logging.INFO,
                        "created": (at + timedelta(seconds=number)).timestamp(),
                    }
                )
            )
        evening.wait(100)
    file.close()
    # a process that lost a line has told so here
    os._exit(1 if file.lost else 0)


def lines_in(content: bytes) -> Counter[str]:
    """Whose lines there are; each read strictly."""
    assert content.endswith(b"\n")
    read = [parse(line) for line in content.split(b"\n")[:-1]]
    return Counter(f"{line.at.date()} {(line.message or '').partition(' ')[0]}" for line in read)


def wanted(day: date) -> Counter[str]:
    return Counter(f"{day} {writer}/{number}" for writer in range(WRITERS) for number in range(LINES))


def test_a_year_of_four_processes_loses_and_tears_no_line(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    midnight, evening = (context.Barrier(WRITERS + 1) for _ in range(2))
    writers = [
        context.Process(target=write_a_year, args=(tmp_path, writer, midnight, evening))
        for writer in range(WRITERS)
    ]
    for process in writers:
        process.start()
    day = FIRST
    for number in range(DAYS):
        day = FIRST + timedelta(days=number)
        midnight.wait(100)
        evening.wait(100)
        # the day before was moved away by whoever wrote first today, whole
        if number:
            yesterday = day - timedelta(days=1)
            assert lines_in((tmp_path / f"app.log.{yesterday}").read_bytes()) == wanted(yesterday)
    for process in writers:
        process.join(60)
        assert process.exitcode == 0
    assert lines_in((tmp_path / "app.log").read_bytes()) == wanted(day)
    # what a thread that tidied was in the middle of when its process ended is done by the next
    tidy(tmp_path, "app", today=day + timedelta(days=2), gzip_after_days=GZIP_AFTER, keep_days=KEEP)
    tidy(tmp_path, "app", today=day, gzip_after_days=GZIP_AFTER, keep_days=KEEP)
    names = {path.name for path in tmp_path.iterdir()} - {"app.log"}
    kept = [day - timedelta(days=age) for age in range(1, KEEP - 1)]
    assert names == {f"app.log.{each}{'.gz' if (day - each).days > GZIP_AFTER - 2 else ''}" for each in kept}
    for each in kept:
        packed = tmp_path / f"app.log.{each}.gz"
        if packed.exists():
            assert lines_in(gzip.decompress(packed.read_bytes())) == wanted(each)
