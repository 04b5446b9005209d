"""``pgsched sql check`` as a process: exit codes, output, and input of every kind."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-c", "from pgsched.entrypoints.cli.sql import group; group()", "check"]
LONG = 120_000


def check(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*COMMAND, *arguments], input=stdin, capture_output=True, timeout=60)


def test_check_allowed_exits_0() -> None:
    done = check("-", stdin=b"select 1;\n")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"allowed")


def test_check_refused_exits_1_with_one_line_on_stderr() -> None:
    done = check("-", stdin="select 'é',\n nextval('s')".encode())
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.count(b"\n") == 1
    assert done.stderr.startswith(b"refused (function_not_allowed) at character 14: function nextval")


def test_check_knows_the_parameter_that_is_always_there() -> None:
    done = check("-", stdin=b"select 1 where now() < :scheduled_at")
    assert (done.returncode, done.stderr) == (0, b"")
    done = check("-", stdin=b"select 1 where now() < :since")
    assert done.returncode == 1
    assert b"if :since is a parameter, declare it" in done.stderr
    done = check("-", stdin=b"select 1 where:scheduled_at > now()")
    assert b"put a blank before the parameter :scheduled_at at character 15" in done.stderr


def test_check_reads_a_file(tmp_path: Path) -> None:
    file = tmp_path / "q.sql"
    file.write_text("drop table t")
    done = check(str(file), "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout) == {
        "allowed": False,
        "code": "not_a_select",
        "detail": "only SELECT, WITH … SELECT, VALUES and TABLE are allowed, and they only read;"
        " at: drop table t",
        "position": 1,
    }


def test_check_passes_over_the_mark_that_editors_put_before_utf_8(tmp_path: Path) -> None:
    file = tmp_path / "q.sql"
    file.write_text("select 1, nextval('s')", "utf-8-sig")
    assert json.loads(check(str(file), "--json").stdout)["position"] == 11
    file.write_text("select 1", "utf-8-sig")
    assert check(str(file)).returncode == 0


def test_check_json_is_one_line_with_four_fields() -> None:
    done = check("-", "--json", stdin=b"select 1")
    assert done.returncode == 0
    assert done.stdout.count(b"\n") == 1
    verdict = json.loads(done.stdout)
    assert list(verdict) == ["allowed", "code", "detail", "position"]
    assert (verdict["allowed"], verdict["code"], verdict["position"]) == (True, None, None)


def test_check_jsonl_reads_standard_input_when_no_file_is_named() -> None:
    done = check("--jsonl", stdin=b'{"sql": "select 1"}\n{"sql": "drop table t"}\n')
    assert done.returncode == 0
    assert [json.loads(line)["allowed"] for line in done.stdout.splitlines()] == [True, False]


@pytest.mark.parametrize(
    "arguments", [(), ("--json",), ("nowhere.sql",), ("/tmp",), ("-", "--json", "--jsonl"), ("-", "--x")]
)
def test_check_wrong_usage_exits_2(arguments: tuple[str, ...]) -> None:
    done = check(*arguments)
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("raw", "code", "position"),
    [
        (b"", "empty_statement", None),
        (b"select \xff", "bad_characters", 8),
        ("select 'é".encode() + b"\xff'", "bad_characters", 10),
        (b"select 1\0", "bad_characters", 9),
        (b"\xff\xfes\0e\0", "bad_characters", 1),
        (b"select '" + b"x" * 1_000_000, "too_long", None),
        (b"\xff" * LONG, "too_long", None),
        (b"/*" * 50_000, "too_complex", 1),
    ],
    ids=range(8),
)
def test_check_survives_any_bytes(raw: bytes, code: str, position: int | None) -> None:
    done = check("-", "--json", stdin=raw)
    verdict = json.loads(done.stdout)
    assert (done.returncode, verdict["code"], verdict["position"]) == (1, code, position)
    assert done.stderr == b""


def test_check_no_user_functions_judges_as_a_strict_source() -> None:
    assert check("-", stdin=b"select app.f()").returncode == 0
    assert check("-", "--no-user-functions", stdin=b"select app.f()").returncode == 1


LINES: list[tuple[bytes, str | None]] = [
    (b'{"sql": "select 1"}', None),
    (b'{"sql": "delete from t"}', "not_a_select"),
    (b"", "invalid_request"),
    (b"select 1", "invalid_request"),
    (b"[]", "invalid_request"),
    (b"null", "invalid_request"),
    (b'{"sql": 5}', "invalid_request"),
    (b'{"query": "select 1"}', "invalid_request"),
    (b'{"sql": "select \xff"}', "invalid_request"),
    (b'{"sql": "select \\ud800"}', "bad_characters"),
    (b'{"sql": "select \\u0000"}', "bad_characters"),
    (b'{"sql": "select \\u00e9, 1", "id": 7}', None),
    (b"[" * LONG, "invalid_request"),
    (b'{"a":' * LONG, "invalid_request"),
    (b"9" * LONG, "invalid_request"),
    (b'{"sql": "' + b"x" * 5_000_000 + b'"}', "too_long"),
    (b'{"sql": "select 2"}\r', None),
    (b'{"sql": "commit"}', "not_a_select"),
]


@pytest.mark.parametrize("ending", [b"\n", b""])
def test_check_jsonl_answers_every_line_in_order(ending: bytes) -> None:
    done = check("-", "--jsonl", stdin=b"\n".join(line for line, _ in LINES) + ending)
    assert (done.returncode, done.stderr) == (0, b"")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["code"] for answer in answers] == [code for _, code in LINES]
    assert all(list(answer) == ["allowed", "code", "detail", "position"] for answer in answers)


def test_check_jsonl_answers_a_line_before_the_next_is_sent() -> None:
    with subprocess.Popen(
        [*COMMAND, "-", "--jsonl"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        for sql, allowed in (("select 1", True), ("commit", False), ("select 2", True)):
            running.stdin.write(json.dumps({"sql": sql}).encode() + b"\n")
            running.stdin.flush()
            assert json.loads(running.stdout.readline())["allowed"] is allowed
        running.stdin.close()
        assert running.wait(timeout=30) == 0
