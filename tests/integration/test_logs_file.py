from __future__ import annotations

import asyncio
import fcntl
import gzip
import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from strict_syslog import lines_of

from pgsched.adapters.logs.configure import configure, unconfigure
from pgsched.adapters.logs.log_file import LogFile
from pgsched.adapters.logs.redaction import Redactor
from pgsched.adapters.logs.rfc5424 import Rfc5424Formatter
from pgsched.adapters.logs.tidy import tidy

NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)
log = logging.getLogger("pgsched.test_logs_file")


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    level = logging.getLogger().level
    yield
    unconfigure()
    logging.captureWarnings(False)
    logging.getLogger().setLevel(level)


def handler(folder: Path) -> LogFile:
    formatter = Rfc5424Formatter(app_name="app", enterprise_id=32473, max_bytes=4096, redactor=Redactor(()))
    return LogFile(folder=folder, app_name="app", formatter=formatter)


def write(file: LogFile, message: str, at: datetime) -> None:
    record = logging.makeLogRecord(
        {"msg": message, "name": "x", "levelno": logging.INFO, "created": at.timestamp()}
    )
    file.handle(record)
    if file.path.exists():
        os.utime(file.path, (at.timestamp(), at.timestamp()))


def test_log_file_is_made_for_its_owner_and_group(tmp_path: Path) -> None:
    configure(app_name="pgsched-api", log_dir=tmp_path / "logs")
    log.info("hello", extra={"action": "test.hello", "run_id": 7})
    path = tmp_path / "logs" / "pgsched-api.log"
    text = path.read_text()
    assert text.count("\n") == 1
    assert ' test.hello [pgsched@32473 logger="pgsched.test_logs_file" run_id="7"] \ufeffhello\n' in text
    assert path.stat().st_mode & 0o137 == 0


def test_log_configured_again_replaces_its_handlers(tmp_path: Path) -> None:
    for name in ("one", "two"):
        configure(app_name=name, log_dir=tmp_path)
    log.info("hello")
    assert (tmp_path / "one.log").read_text() == ""
    assert "hello" in (tmp_path / "two.log").read_text()


def test_log_folder_that_cannot_be_written_warns_once_and_uses_stderr(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file where the folder should be")
    program = (
        "import logging, sys, pathlib; from pgsched.adapters.logs.configure import configure;"
        "configure(app_name='app', log_dir=pathlib.Path(sys.argv[1]));"
        "logging.info('one'); logging.info('two'); print('still here')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "logs")], capture_output=True, text=True, check=True
    )
    assert done.stdout == "still here\n"
    lines = done.stderr.splitlines()
    assert lines[0].startswith("Warning: cannot write the log file ")
    assert [entry.rpartition("\ufeff")[2] for entry in lines[1:]] == ["one", "two"]


def test_log_on_a_full_disk_goes_to_stderr_and_comes_back(tmp_path: Path) -> None:
    """A limit on the size of files stands for the full disk: the write fails, the program goes on."""
    program = (
        "import logging, pathlib, resource, sys\n"
        "from pgsched.adapters.logs import log_file\n"
        "from pgsched.adapters.logs.configure import configure\n"
        "log_file._TRY_AGAIN_S = 0.0\n"
        "configure(app_name='app', log_dir=pathlib.Path(sys.argv[1]))\n"
        "logging.info('one')\n"
        "_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))\n"
        "logging.info('two')\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))\n"
        "logging.info('three')\n"
        "print('still here')\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True)
    assert done.stdout == "still here\n", done.stderr
    told = done.stderr.splitlines()
    assert told[0].startswith("Warning: cannot write the log file ")
    assert [entry.rpartition("\ufeff")[2] for entry in told[1:]] == ["two"]
    kept = (tmp_path / "app.log").read_text().splitlines()
    assert [entry.rpartition("\ufeff")[2] for entry in kept] == ["one", "three"]


def test_log_line_that_the_disk_has_half_room_for_is_taken_back(tmp_path: Path) -> None:
    program = (
        "import logging, pathlib, resource, sys\n"
        "from pgsched.adapters.logs import log_file\n"
        "from pgsched.adapters.logs.configure import configure\n"
        "log_file._TRY_AGAIN_S = 0.0\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "configure(app_name='app', log_dir=folder)\n"
        "logging.info('one')\n"
        "_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)\n"
        "size = (folder / 'app.log').stat().st_size\n"
        "for more in (1, 40, 90):\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (size + more, hard))\n"
        "    logging.info('two %s', 'x' * 100)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))\n"
        "logging.info('three')\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("two xxx") == 3
    assert [line.message for line in lines_of(tmp_path / "app.log")] == ["one", "three"]


def test_log_does_not_wait_for_a_frozen_process_that_holds_the_file(tmp_path: Path) -> None:
    file = handler(tmp_path)
    write(file, "one", NOON)
    with file.path.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        write(file, "two", NOON)
        write(file, "three", NOON + timedelta(days=1))
        write(file, "four", NOON + timedelta(days=1))
        assert [line.message for line in lines_of(file.path)] == ["one", "two", "three", "four"]
    file.close()


def test_log_of_a_restored_file_is_rotated_by_the_day_of_its_lines(tmp_path: Path) -> None:
    file = handler(tmp_path)
    write(file, "one", NOON)
    file.close()
    # as cp leaves it
    os.utime(file.path)
    again = handler(tmp_path)
    write(again, "two", NOON + timedelta(days=1))
    again.close()
    assert [line.message for line in lines_of(tmp_path / "app.log.2026-03-10")] == ["one"]


def test_log_rotates_at_local_midnight_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        formatter = Rfc5424Formatter(
            app_name="app", enterprise_id=32473, max_bytes=4096, redactor=Redactor(())
        )
        file = LogFile(folder=tmp_path, app_name="app", formatter=formatter, utc=False)
        # 23:30 and 00:30 there
        write(file, "one", datetime(2026, 3, 10, 3, 30, tzinfo=UTC))
        write(file, "two", datetime(2026, 3, 10, 4, 30, tzinfo=UTC))
        file.close()
        assert [line.message for line in lines_of(tmp_path / "app.log.2026-03-09")] == ["one"]
        assert [line.message for line in lines_of(file.path)] == ["two"]
    finally:
        monkeypatch.undo()
        time.tzset()


def test_log_file_moved_away_is_followed(tmp_path: Path) -> None:
    file = handler(tmp_path)
    write(file, "one", NOON)
    file.path.rename(tmp_path / "moved")
    write(file, "two", NOON)
    assert "two" in file.path.read_text()
    assert "two" not in (tmp_path / "moved").read_text()
    file.close()


def test_log_rotates_at_the_first_record_of_a_new_day(tmp_path: Path) -> None:
    file = handler(tmp_path)
    write(file, "one", NOON)
    write(file, "two", NOON + timedelta(hours=11, minutes=59))
    write(file, "three", NOON + timedelta(hours=12))
    write(file, "four", NOON + timedelta(hours=13))
    file.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["app.log", "app.log.2026-03-10"]
    assert [text.rpartition("\ufeff")[2] for text in file.path.read_text().splitlines()] == ["three", "four"]
    assert (tmp_path / "app.log.2026-03-10").read_text().count("\n") == 2


def messages(path: Path) -> list[str]:
    return [text.rpartition("\ufeff")[2] for text in path.read_text().splitlines()]


async def test_lines_of_a_loop_are_written_together_and_a_warning_at_once(tmp_path: Path) -> None:
    configure(app_name="app", log_dir=tmp_path)
    path = tmp_path / "app.log"
    log.info("one")
    log.info("two")
    assert messages(path) == []
    log.warning("three")
    assert messages(path) == ["one", "two", "three"]
    log.info("four")
    await asyncio.sleep(0.2)
    log.info("five")
    assert messages(path) == ["one", "two", "three", "four"]
    unconfigure()
    assert messages(path) == ["one", "two", "three", "four", "five"]


async def test_threads_beside_a_loop_keep_the_order_and_wait_for_nobody(tmp_path: Path) -> None:
    configure(app_name="app", log_dir=tmp_path)
    log.info("from the loop")
    await asyncio.to_thread(log.info, "from a thread")
    # the loop had promised to write before the thread came
    await asyncio.sleep(0.2)
    await asyncio.to_thread(log.info, "alone")
    assert messages(tmp_path / "app.log") == ["from the loop", "from a thread", "alone"]


async def test_many_lines_do_not_wait_in_memory(tmp_path: Path) -> None:
    configure(app_name="app", log_dir=tmp_path)
    for number in range(1000):
        log.info("line %d", number)
    written = messages(tmp_path / "app.log")
    assert 700 < len(written) <= 1000
    assert written == [f"line {number}" for number in range(len(written))]


async def test_a_batch_with_lines_of_two_days_is_parted_at_midnight(tmp_path: Path) -> None:
    file = handler(tmp_path)
    midnight = (NOON + timedelta(hours=12)).timestamp()
    formatter = Rfc5424Formatter(app_name="app", enterprise_id=1, max_bytes=4096, redactor=Redactor(()))

    def line(message: str, created: float) -> tuple[float, bytes]:
        return created, formatter.line(record(message, created))

    def record(message: str, created: float) -> logging.LogRecord:
        return logging.makeLogRecord(
            {"msg": message, "name": "x", "levelno": logging.INFO, "created": created}
        )

    file.write_lines([line("one", midnight - 1)])
    file.handle(record("two", midnight - 0.03))
    file.write_lines([line("three", midnight - 0.02), line("four", midnight + 0.01)])
    # Regression: a file that began with a line of the day before was never rotated again
    file.write_lines([line("five", midnight + 86_400)])
    file.close()
    assert messages(tmp_path / "app.log.2026-03-10") == ["one", "two", "three"]
    assert messages(tmp_path / "app.log.2026-03-11") == ["four"]
    assert messages(file.path) == ["five"]


async def test_lines_of_two_days_are_not_written_together(tmp_path: Path) -> None:
    file = handler(tmp_path)
    midnight = NOON + timedelta(hours=12)
    for message, at in (("one", midnight - timedelta(seconds=0.01)), ("two", midnight)):
        write(file, message, at)
    file.close()
    assert messages(tmp_path / "app.log.2026-03-10") == ["one"]
    assert messages(file.path) == ["two"]


def test_log_of_an_earlier_day_is_rotated_after_a_restart(tmp_path: Path) -> None:
    first = handler(tmp_path)
    write(first, "one", NOON)
    first.close()
    second = handler(tmp_path)
    write(second, "two", NOON + timedelta(days=3))
    second.close()
    assert "one" in (tmp_path / "app.log.2026-03-10").read_text()
    assert "one" not in second.path.read_text()


def test_log_never_overwrites_a_rotated_file(tmp_path: Path) -> None:
    (tmp_path / "app.log.2026-03-10").write_text("kept\n")
    file = handler(tmp_path)
    write(file, "one", NOON)
    write(file, "two", NOON + timedelta(days=1))
    file.close()
    assert (tmp_path / "app.log.2026-03-10").read_text() == "kept\n"
    assert file.path.read_text().count("\n") == 2


def test_log_shared_by_two_handlers_loses_no_line_at_midnight(tmp_path: Path) -> None:
    files = [handler(tmp_path) for _ in range(2)]
    for file in files:
        write(file, "before", NOON)

    def many(file: LogFile) -> None:
        for number in range(200):
            at = NOON + timedelta(days=number // 100)
            file.handle(
                logging.makeLogRecord(
                    {"msg": f"line {number}", "name": "x", "levelno": logging.INFO, "created": at.timestamp()}
                )
            )

    threads = [threading.Thread(target=many, args=(file,)) for file in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for file in files:
        file.close()
    lines = [text for path in tmp_path.iterdir() for text in path.read_text().splitlines()]
    assert len(lines) == 402


def test_tidy_gzips_and_deletes_by_the_day_in_the_name(tmp_path: Path) -> None:
    today = date(2026, 3, 10)
    for age in (0, 7, 8, 20, 21):
        (tmp_path / f"app.log.{today - timedelta(days=age)}").write_text(f"{age}\n")
    others = [
        "app.log",
        "app.log.2020-01-01.bak",
        "app.log.2020-13-01",
        "other.log.2020-01-01",
        "xapp.log.2020-01-01",
    ]
    for name in others:
        (tmp_path / name).write_text("kept")
    tidy(tmp_path, "app", today=today, gzip_after_days=7, keep_days=20)
    names = {path.name for path in tmp_path.iterdir()} - set(others)
    assert names == {
        "app.log.2026-03-10",
        "app.log.2026-03-03",
        "app.log.2026-03-02.gz",
        "app.log.2026-02-18.gz",
    }
    assert gzip.decompress((tmp_path / "app.log.2026-03-02.gz").read_bytes()) == b"8\n"
    tidy(tmp_path, "app", today=today + timedelta(days=300), gzip_after_days=7, keep_days=20)
    assert {path.name for path in tmp_path.iterdir()} == set(others)


def test_tidy_takes_up_what_a_killed_process_left_half_compressed(tmp_path: Path) -> None:
    today = date(2026, 3, 10)
    (tmp_path / "app.log.2026-03-01").write_text("whole\n")
    half = tmp_path / "app.log.2026-03-01.gz.new"
    half.write_bytes(b"half")
    with half.open("rb") as at_work:
        fcntl.flock(at_work, fcntl.LOCK_EX)
        # however late it is by the clock, whoever holds it is at work
        tidy(tmp_path, "app", today=today + timedelta(days=8), gzip_after_days=7, keep_days=20)
        assert half.read_bytes() == b"half"
    tidy(tmp_path, "app", today=today, gzip_after_days=7, keep_days=20)
    assert [path.name for path in tmp_path.iterdir()] == ["app.log.2026-03-01.gz"]
    assert gzip.decompress((tmp_path / "app.log.2026-03-01.gz").read_bytes()) == b"whole\n"
