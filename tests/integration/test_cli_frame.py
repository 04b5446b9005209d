from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pgsched import __version__
from pgsched.entrypoints.cli.main import COMMANDS

#: a program that runs the command line with one more command, whose function body is given
EXTRA = """
import asyncio, click, sys
from pgsched.domain.errors import *
from pgsched.entrypoints.cli import main as frame
from pgsched.entrypoints.cli.output import emit
import types
module = types.ModuleType("pgsched.entrypoints.cli.extra")
@click.command()
def command():
    {body}
module.command = command
sys.modules[module.__name__] = module
frame.COMMANDS["extra"] = frame._place("extra", "command", "x")
frame.main()
"""


def pgsched(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pgsched", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
    )


def extra(body: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", EXTRA.format(body=body), "extra"],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
    )


@pytest.mark.parametrize(("closed", "code"), [("<&-", 1), (">&-", 0), ("2>&-", 0)])
def test_a_stream_that_was_closed_at_the_start_is_no_fault(closed: str, code: int) -> None:
    line = f"'{sys.executable}' -m pgsched sql check --json - {closed}"
    done = subprocess.run(["sh", "-c", line], input="select 1", capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (code, "")


def test_help_lists_every_command_with_its_line() -> None:
    done = pgsched("--help")
    assert done.returncode == 0
    for name, place in COMMANDS.items():
        assert f"  {name} " in done.stdout
        assert place.summary in done.stdout


def test_help_imports_no_command_and_nothing_heavy() -> None:
    program = (
        "import sys, json\n"
        "from pgsched.entrypoints.cli.main import run\n"
        "assert run(['--help']) == 0\n"
        "print('\\n' + json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    ours = {name for name in loaded if name.startswith("pgsched")}
    assert ours == {
        "pgsched",
        "pgsched.domain",
        "pgsched.domain.errors",
        "pgsched.entrypoints",
        "pgsched.entrypoints.cli",
        "pgsched.entrypoints.cli.main",
        "pgsched.entrypoints.cli.prompts",
    }
    heavy = {
        "asyncio", "argon2", "apscheduler", "dependency_injector", "dotenv", "jinja2", "litestar", "msgspec",
        "nacl", "pandas", "postgast", "psycopg", "rich", "sqlalchemy", "uvicorn",
    }  # fmt: skip
    assert not heavy & loaded


def test_every_command_listed_has_its_place() -> None:
    for name in COMMANDS:
        done = pgsched(name, "--help")
        assert done.returncode == 0, (name, done.stderr)
        assert done.stdout.startswith(f"Usage: pgsched {name} ")


def test_version_is_the_package_s() -> None:
    assert pgsched("--version").stdout == f"pgsched {__version__}\n"


@pytest.mark.parametrize(
    "arguments", [("nope",), ("--nope",), ("keys", "nope"), ("keys", "gen"), ("keys", "gen", "-x")]
)
def test_wrong_usage_exits_2(arguments: tuple[str, ...]) -> None:
    done = pgsched(*arguments)
    assert done.returncode == 2
    assert "Error: " in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("body", "line"),
    [
        (
            "raise NameTaken('query', 'a')",
            "Error: a query named a exists already; choose another name or update that one",
        ),
        (
            "raise InvalidInput.of(FieldFault(field='a', message='x'), FieldFault(field='b', message='y'))",
            "Error: a: x; b: y",
        ),
        ("raise DatabaseUnavailable('cannot be\\nreached')", "Error: cannot be reached"),
        ("open('/nonexistent/x.sql')", "Error: /nonexistent/x.sql: No such file or directory"),
        (
            "raise KeyError('hunter22')",
            "Error: internal error (KeyError); run with PGSCHED_DEBUG=1 for the trace",
        ),
        (
            "raise ExceptionGroup('g', [ValueError(), ExceptionGroup('h', [EmbeddedFault('no')])])",
            "Error: no",
        ),
    ],
)
def test_fault_is_one_line_and_exit_1(body: str, line: str) -> None:
    done = extra(body)
    assert done.returncode == 1
    assert done.stderr == f"{line}\n"
    assert "Traceback" not in done.stderr
    assert "hunter22" not in done.stderr


PROMPTS = (
    "emit([click.prompt('Name'), click.prompt('Password', hide_input=True, confirmation_prompt=True)], True)"
)


def prompted(answers: str) -> subprocess.CompletedProcess[str]:
    # a session of its own has no terminal, however the tests are run
    return subprocess.run(
        [sys.executable, "-c", EXTRA.format(body=PROMPTS), "extra"],
        capture_output=True,
        text=True,
        input=answers,
        start_new_session=True,
    )


def test_prompts_read_a_pipe_and_leave_stdout_to_the_data() -> None:
    # a script pipes a password once; who pipes it twice means the same
    for answers in ("ada\nhunter22 \nhunter22 \n", "ada\nhunter22 \n"):
        done = prompted(answers)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == ["ada", "hunter22 "]
        assert done.stderr == ""


@pytest.mark.parametrize(
    ("answers", "line"),
    [
        ("ada\n", "no input for the prompt; give the value as an option"),
        ("", "no input for the prompt; give the value as an option"),
        ("ada\nhunter22\nhunter23\n", "the two passwords differ; nothing was changed"),
    ],
)
def test_prompt_without_a_good_answer_is_one_line_and_exit_1(answers: str, line: str) -> None:
    done = prompted(answers)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"Error: {line}\n")


def test_fault_shows_its_trace_when_asked() -> None:
    done = extra("raise KeyError('x')", PGSCHED_DEBUG="1")
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback")


def test_command_may_return_its_exit_code() -> None:
    assert extra("return 1").returncode == 1
    assert extra("return None").returncode == 0
    assert extra("sys.exit(1)").returncode == 1


def test_ctrl_c_exits_130_quietly() -> None:
    with subprocess.Popen(
        [
            sys.executable,
            "-c",
            EXTRA.format(body="print('up', flush=True); asyncio.run(asyncio.sleep(60))"),
            "extra",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "up\n"
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130
        assert process.stderr.read().strip() == ""


def test_interrupt_while_the_command_is_loaded_leaves_no_traceback() -> None:
    program = """
import builtins, os, signal
from pgsched.entrypoints.cli.start import main
load = builtins.__import__
def interrupted(name, *more):
    if name == "click":
        os.kill(os.getpid(), signal.SIGINT)
    return load(name, *more)
builtins.__import__ = interrupted
main()
"""
    done = subprocess.run([sys.executable, "-c", program, "--help"], capture_output=True, text=True)
    # what a shell shows as 130
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


@pytest.mark.parametrize("rows", [1, 20_000])
def test_reader_that_leaves_gets_no_complaint(rows: int) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-c", EXTRA.format(body=f"[click.echo('x' * 80) for _ in range({rows})]"), "extra"],
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(write)
    assert done.stderr == ""
    assert done.returncode == 141


def test_output_survives_a_terminal_without_unicode() -> None:
    done = extra("emit({'name': 'Ада'}, True); emit({'name': 'Ада'}, False)", PYTHONIOENCODING="latin-1")
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert json.loads(first) == {"name": "Ада"}
    assert second == "name: \\u0410\\u0434\\u0430"


def test_command_pgsched_is_installed() -> None:
    program = Path(sys.executable).with_name("pgsched")
    done = subprocess.run([program, "--version"], capture_output=True, text=True)
    assert done.stdout == f"pgsched {__version__}\n"
