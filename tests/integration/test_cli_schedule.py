"""``pgsched schedule next``: options, output, and lines of requests, good and hostile."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pgsched.domain.errors import BadSchedule, BadTimezone, InvalidInput
from pgsched.entrypoints.cli.schedule import group

COMMAND = [sys.executable, "-c", "from pgsched.entrypoints.cli.main import main; main()", "schedule", "next"]


def ask(*arguments: str) -> Result:
    return CliRunner().invoke(group, ["next", *arguments])


def cron(expr: str, *arguments: str) -> Result:
    return ask("--type", "cron", "--expr", expr, *arguments)


def interval(expr: str, *arguments: str) -> Result:
    return ask("--type", "interval", "--expr", expr, *arguments)


def answers(*requests: object) -> list[dict[str, Any]]:
    """Send lines (bytes as they are, anything else as JSON) and return the answers; none may be missing."""
    lines = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in requests]
    done = CliRunner().invoke(group, ["next", "--jsonl"], input=b"".join(line + b"\n" for line in lines))
    assert done.exception is None
    assert done.exit_code == 0
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == len(lines)
    return found


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=60)


def test_cron_prints_local_times_with_their_offset() -> None:
    done = cron("30 2 * * *", "--timezone", "Europe/Berlin", "--after", "2026-03-28T00:00:00Z", "-n", "3")
    assert done.exit_code == 0
    assert done.output.splitlines() == [
        "2026-03-28T02:30:00+01:00",
        "2026-03-29T03:00:00+02:00",
        "2026-03-30T02:30:00+02:00",
    ]


def test_five_are_shown_in_utc_by_default() -> None:
    done = cron("0 * * * *", "--after", "2026-01-01T00:00:00Z")
    assert done.output.splitlines() == [f"2026-01-01T0{hour}:00:00+00:00" for hour in range(1, 6)]


def test_without_after_the_instants_are_ahead() -> None:
    now = datetime.now(UTC)  # noqa: TID251 - the command asks the same clock
    first = datetime.fromisoformat(cron("* * * * *", "-n", "1").output.strip())
    assert timedelta() < first - now <= timedelta(seconds=61)
    second = datetime.fromisoformat(interval("PT1H", "-n", "1").output.strip())
    assert timedelta() < second - now <= timedelta(hours=1, seconds=5)


def test_an_interval_without_anchor_starts_at_after_and_shows_what_is_later() -> None:
    done = interval("PT6H", "--after", "2026-01-01T00:00:00Z", "-n", "2")
    assert done.output.splitlines() == ["2026-01-01T06:00:00+00:00", "2026-01-01T12:00:00+00:00"]


def test_an_anchor_is_itself_the_first_instant() -> None:
    done = interval(
        "P1M", "--anchor", "2026-01-31T08:00:00+01:00", "--after", "2026-01-01T00:00:00Z", "-n", "3",
        "--timezone", "Europe/Berlin", "--json",
    )  # fmt: skip
    assert done.output.count("\n") == 1
    assert json.loads(done.output) == {
        "next": ["2026-01-31T08:00:00+01:00", "2026-02-28T08:00:00+01:00", "2026-03-31T08:00:00+02:00"]
    }


@pytest.mark.parametrize(
    ("after", "first"),
    [
        ("2026-07-01T00:00", "2026-07-01T01:00:00+02:00"),
        ("2026-07-01 00:00:00.5", "2026-07-01T01:00:00+02:00"),
        ("2026-07-01", "2026-07-01T01:00:00+02:00"),
        ("2026-07-01T00:00:00z", "2026-07-01T03:00:00+02:00"),
        ("20260701T000000+0200", "2026-07-01T01:00:00+02:00"),
        ("2026-06-30T23:59:59.999999-05:30", "2026-07-01T08:00:00+02:00"),
    ],
)
def test_after_without_an_offset_is_the_zones_wall_clock(after: str, first: str) -> None:
    assert (
        cron("0 * * * *", "--timezone", "Europe/Berlin", "--after", after, "-n", "1").output == first + "\n"
    )


def test_a_day_of_the_clock_change_has_all_its_minutes() -> None:
    done = cron(
        "* * * * *", "--timezone", "Europe/Berlin", "--after", "2026-10-24T23:59:59+02:00", "-n", "1500"
    )
    lines = done.output.splitlines()
    assert (done.exit_code, len(set(lines))) == (0, 1500)
    assert (lines[0], lines[-1]) == ("2026-10-25T00:00:00+02:00", "2026-10-25T23:59:00+01:00")


def test_nothing_is_printed_where_the_calendar_ends() -> None:
    done = cron("0 * * * *", "--after", "9999-12-31T23:00:00Z")
    assert (done.exit_code, done.output) == (0, "")
    assert json.loads(cron("0 * * * *", "--after", "9999-12-31T23:00:00Z", "--json").output) == {"next": []}


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--type", "cron"),
        ("--expr", "* * * * *"),
        ("--type", "daily", "--expr", "* * * * *"),
        ("--type", "cron", "--expr", "* * * * *", "-n", "0"),
        ("--type", "cron", "--expr", "* * * * *", "-n", "10001"),
        ("--type", "cron", "--expr", "* * * * *", "-n", "x"),
        ("--type", "cron", "--expr", "* * * * *", "more"),
        ("--jsonl", "--expr", "* * * * *"),
        ("--jsonl", "--json"),
    ],
)
def test_wrong_usage_exits_2(arguments: tuple[str, ...]) -> None:
    done = ask(*arguments)
    assert done.exit_code == 2
    assert "Traceback" not in done.output


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--expr", "0 0 30 2 *"), BadSchedule),
        (("--expr", "* * * * * *"), BadSchedule),
        (("--expr", "* * * * *", "--timezone", "Mars"), BadTimezone),
        (("--expr", "* * * * *", "--after", "tomorrow"), InvalidInput),
        (("--expr", "* * * * *", "--after", "2026-02-30T00:00:00Z"), InvalidInput),
        (("--expr", "* * * * *", "--after", "2026-01-01x00:00:00Z"), InvalidInput),
        (("--expr", "* * * * *", "--after", "0001-01-01T00:00:00+14:00"), InvalidInput),
        (("--expr", "* * * * *", "--after", "٢٠٢٦-01-01T00:00:00Z"), InvalidInput),
        (("--expr", "* * * * *", "--anchor", "2026"), InvalidInput),
    ],
)
def test_what_is_refused_is_a_domain_error(arguments: tuple[str, ...], error: type[Exception]) -> None:
    assert isinstance(ask("--type", "cron", *arguments).exception, error)


def test_a_process_says_why_in_one_line_and_exits_1() -> None:
    done = run("--type", "cron", "--expr", "0 25 * * *")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: ")
    assert "hour field has '25'" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_process_prints_the_instants() -> None:
    done = run("--type", "interval", "--expr", "86400", "--after", "2026-01-01T00:00:00Z", "-n", "1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "2026-01-02T00:00:00+00:00\n", "")


def test_lines_are_answered_in_order() -> None:
    start = "2026-01-01T00:00:00Z"
    asked = [
        {"type": "cron", "expr": "0 0 * * *", "timezone": "UTC", "after": start, "n": 1},
        {"type": "cron", "expr": "nonsense", "timezone": "UTC", "after": start, "n": 1},
        {"type": "interval", "expr": "PT1H", "timezone": "Asia/Kolkata", "after": start, "n": 2},
        {"type": "interval", "expr": "P1D", "after": start, "anchor": "2026-02-01T00:00Z", "n": 1},
    ]
    first, second, third, fourth = answers(*asked)
    assert first == {"next": ["2026-01-02T00:00:00+00:00"]}
    assert second["error"]["code"] == "bad_schedule"
    assert "1 field" in second["error"]["detail"]
    assert third == {"next": ["2026-01-01T06:30:00+05:30", "2026-01-01T07:30:00+05:30"]}
    assert fourth == {"next": ["2026-02-01T00:00:00+00:00"]}


def test_a_line_may_leave_out_what_has_a_default() -> None:
    (answer,) = answers({"type": "cron", "expr": "* * * * *", "after": None, "anchor": None, "n": None})
    assert len(answer["next"]) == 5
    instants = [datetime.fromisoformat(text) for text in answer["next"]]
    assert all(later - earlier == timedelta(minutes=1) for earlier, later in pairwise(instants))


GOOD = {"type": "cron", "expr": "* * * * *", "timezone": "UTC", "after": "2026-01-01T00:00:00Z", "n": 1}


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"", "invalid_request"),
        (b"  ", "invalid_request"),
        (b"{", "invalid_request"),
        (b"null", "invalid_request"),
        (b"[]", "invalid_request"),
        (b'"cron"', "invalid_request"),
        (b"\xff\xfe", "invalid_request"),
        (b"\x00", "invalid_request"),
        (b"[" * 100_000, "invalid_request"),
        (b'{"a":' * 100_000, "invalid_request"),
        (b'{"n":' + b"9" * 10_000 + b"}", "invalid_request"),
        (b"x" * 3_000_000, "invalid_request"),
        ({}, "invalid_request"),
        ({**GOOD, "type": "daily"}, "bad_schedule"),
        ({**GOOD, "type": 1}, "invalid_request"),
        ({**GOOD, "expr": None}, "invalid_request"),
        ({**GOOD, "expr": ""}, "bad_schedule"),
        ({**GOOD, "expr": "\ud800"}, "bad_schedule"),
        ({**GOOD, "expr": "0\u0000 * * * *"}, "bad_schedule"),
        ({**GOOD, "expr": ["* * * * *"]}, "invalid_request"),
        ({**GOOD, "expr": "*" * 500_000}, "bad_schedule"),
        ({**GOOD, "timezone": ""}, "bad_timezone"),
        ({**GOOD, "timezone": "\udfff"}, "bad_timezone"),
        ({**GOOD, "timezone": "../../etc/passwd"}, "bad_timezone"),
        ({**GOOD, "timezone": {}}, "invalid_request"),
        ({**GOOD, "after": ""}, "invalid_request"),
        ({**GOOD, "after": 1767225600}, "invalid_request"),
        ({**GOOD, "after": "2026-01-01T00:00:00+25:00"}, "invalid_request"),
        ({**GOOD, "after": "2026-01-01\ud80000:00:00"}, "invalid_request"),
        ({**GOOD, "type": "interval", "expr": "PT1S", "anchor": "9999-12-31T00:00:00Z"}, "bad_schedule"),
        ({**GOOD, "type": "interval", "expr": "9" * 30}, "bad_schedule"),
        ({**GOOD, "n": 0}, "invalid_request"),
        ({**GOOD, "n": 10001}, "invalid_request"),
        ({**GOOD, "n": True}, "invalid_request"),
        ({**GOOD, "n": 1.0}, "invalid_request"),
        ({**GOOD, "n": "5"}, "invalid_request"),
    ],
)
def test_a_bad_line_gets_an_error_and_the_next_its_answer(line: object, code: str) -> None:
    bad, good = answers(line, GOOD)
    assert bad["error"]["code"] == code
    assert 0 < len(bad["error"]["detail"]) < 400
    assert good == {"next": ["2026-01-01T00:01:00+00:00"]}


def test_the_last_line_needs_no_end() -> None:
    done = CliRunner().invoke(group, ["next", "--jsonl"], input=json.dumps(GOOD))
    assert json.loads(done.output) == {"next": ["2026-01-01T00:01:00+00:00"]}
    assert CliRunner().invoke(group, ["next", "--jsonl"], input="").output == ""


def test_a_line_is_answered_before_the_next_is_written() -> None:
    with subprocess.Popen([*COMMAND, "--jsonl"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as talk:
        assert talk.stdin is not None
        assert talk.stdout is not None
        for _ in range(3):
            talk.stdin.write(json.dumps(GOOD).encode() + b"\n")
            talk.stdin.flush()
            assert json.loads(talk.stdout.readline()) == {"next": ["2026-01-01T00:01:00+00:00"]}
        talk.stdin.close()
        assert talk.wait(timeout=20) == 0
