from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from postgres_fixtures import fresh_database, fresh_source
from processes import installation


@pytest.fixture(scope="module")
def place(pg_server, migrated_template, tmp_path_factory):
    """Three runs that went well, one that did not."""
    with (
        fresh_database(pg_server, template=migrated_template) as database,
        fresh_source(pg_server) as source,
        installation(tmp_path_factory.mktemp("runs"), database.url) as place,
    ):
        place.add_source(source)
        place.worker()
        place.add_query(
            "good", "select 9007199254740993 as big, 1.10::numeric as price, null::int as nothing"
        )
        place.add_query("bad", "select 1 / (select 0) as a")
        place.ids = [place.json("queries", "run", "good", "--wait")["id"] for _ in range(3)]
        failed = place.run("queries", "run", "bad", "--wait", "--json")
        assert failed.returncode == 1
        place.failed = json.loads(failed.stdout)
        place.said = failed.stderr
        yield place


def test_wait_tells_of_an_error(place):
    assert (place.failed["status"], place.failed["error_code"]) == ("error", "query_failed")
    assert place.said == f"Error: run {place.failed['id']} ended as error: query_failed\n"


FIELDS = {
    "id", "query_id", "scheduled_at", "job_timezone", "run_started_at", "run_finished_at", "duration_ms",
    "status", "rows_returned", "error_message", "error_code", "attempt", "trigger", "truncated",
    "params", "param_values",
}  # fmt: skip


def test_runs_list_is_newest_first_and_pages(place):
    listed = place.json("runs", "list", "good")
    assert [run["id"] for run in listed] == place.ids[::-1]
    assert {frozenset(run) for run in listed} == {frozenset(FIELDS)}
    first, second, third = place.ids
    assert [run["id"] for run in place.json("runs", "list", "good", "--limit", "1")] == [third]
    assert [run["id"] for run in place.json("runs", "list", "good", "--before", str(third))] == [
        second,
        first,
    ]
    older = place.json("runs", "list", "good", "--after", str(first), "--limit", "1")
    assert [run["id"] for run in older] == [second]
    assert place.json("runs", "list", "good", "--status", "error") == []
    middle, newest = listed[1]["scheduled_at"], listed[0]["scheduled_at"]
    within = place.json("runs", "list", "good", "--start", middle, "--end", newest)
    assert [run["id"] for run in within] == [second]
    assert "--start" in place.run("runs", "list", "good", "--start", "soon").stderr
    assert place.json("runs", "list", str(listed[0]["query_id"])) == listed


def test_runs_show_prints_the_stored_result_digit_by_digit(place):
    done = place.run("runs", "show", str(place.ids[0]), "--json")
    run = json.loads(done.stdout, parse_float=str)
    assert set(run) == FIELDS | {"result"}
    assert run["result"]["data"] == [{"big": 9007199254740993, "price": "1.10", "nothing": None}]
    assert [field["name"] for field in run["result"]["schema"]["fields"]] == ["big", "price", "nothing"]
    assert place.json("runs", "show", str(place.failed["id"]))["result"] is None


def test_a_stored_result_cannot_steer_the_terminal(place):
    place.add_query("steering", "select U&'a\\009b31m\\202eb é' as text")
    run = place.json("queries", "run", "steering", "--wait")
    shown = [
        place.run("runs", "show", str(run["id"]), "--json"),
        place.run("queries", "test", "steering", "--json"),
    ]
    for done in shown:
        assert done.stdout.removesuffix("\n").isprintable()
        assert "é" in done.stdout
        assert json.loads(done.stdout)["result"]["data"] == [{"text": "a\x9b31m\u202eb é"}]


def test_runs_show_without_json_is_a_card(place):
    lines = place.run("runs", "show", str(place.failed["id"])).stdout.splitlines()
    assert "error_code:      query_failed" in lines
    assert any("division by zero" in line for line in lines)


def test_runs_cancel_of_what_is_over_is_refused(place):
    assert place.refused("runs", "cancel", str(place.ids[0])) == f"run {place.ids[0]} is over: success"


@pytest.mark.parametrize("verb", ["show", "cancel"])
def test_unknown_run_is_told(place, verb):
    assert place.refused("runs", verb, "999999") == "there is no run 999999"
    assert place.refused("runs", verb, "99999999999999999999").startswith("there is no run 9999999")
    assert place.run("runs", verb, "none").returncode == 2


def test_unknown_query_is_told(place):
    assert place.refused("runs", "list", "nothing") == "there is no query nothing"
    assert place.run("runs", "list", "good", "--limit", "501").returncode == 2
    assert place.refused("runs", "list", "good", "--before", "999999") == "there is no run 999999"


def test_export_writes_each_format(place, tmp_path):
    run = str(place.ids[0])
    assert place.run("runs", "export", run).stdout == "big,price,nothing\n9007199254740993,1.10,\n"
    records = place.run("runs", "export", "--latest", "good", "--format", "records", "--bigint", "string")
    assert json.loads(records.stdout) == [{"big": "9007199254740993", "price": 1.10, "nothing": None}]
    assert place.run("runs", "export", "good").stdout == place.run("runs", "export", run).stdout
    picked = place.run("runs", "export", "--latest", "good", "--columns", "price", "--rows", "0,1")
    assert picked.stdout == "price\n1.10\n"
    for name in ("it.parquet", "it.arrow", "it.csv", "it.ndjson"):
        done = place.run("runs", "export", run, "--output", tmp_path / name)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert pq.read_table(tmp_path / "it.parquet")["big"].to_pylist() == [9007199254740993]
    with pa.ipc.open_stream(tmp_path / "it.arrow") as stream:
        assert stream.read_all()["price"].to_pylist() == [Decimal("1.10")]
    assert (tmp_path / "it.csv").read_bytes() == b"big,price,nothing\r\n9007199254740993,1.10,\r\n"


def test_export_replaces_a_file_whole_or_not_at_all(place, tmp_path):
    file = tmp_path / "it.csv"
    file.write_text("before")
    file.chmod(0o640)
    failed = place.run("runs", "export", str(place.failed["id"]), "-o", file)
    assert failed.returncode == 1
    number = place.failed["id"]
    said = f"run {number} is error (query_failed) and has no result; pgsched runs show {number} tells why"
    assert failed.stderr == f"Error: {said}\n"
    assert (file.read_text(), sorted(tmp_path.iterdir())) == ("before", [file])
    assert place.run("runs", "export", str(place.ids[0]), "-o", file).returncode == 0
    assert file.read_text().startswith("big,")
    assert (file.stat().st_mode & 0o777, sorted(tmp_path.iterdir())) == (0o640, [file])


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "give the id of a run, or --latest QUERY"),
        (("1", "--latest", "good"), 2, "give the id of a run, or --latest QUERY"),
        (("nobody",), 1, "there is no query nobody"),
        (("1", "--params", "x"), 2, "--params goes with --latest"),
        (("good", "--params", "x"), 1, "query good has no success with parameter set x yet"),
        (("bad",), 1, "query bad has no success yet; see: pgsched runs list bad"),
        (("999999",), 1, "there is no run 999999"),
        (("9" * 30,), 1, "there is no run"),
        (("--latest", "nobody"), 1, "there is no query nobody"),
        (("--latest", "good", "--columns", "gone"), 1, "'gone'"),
        (("--latest", "good", "--rows", "1"), 2, "--rows must be offset,limit"),
        (("--latest", "good", "--columns", ""), 2, "--columns must be names joined by commas, not empty"),
        (("--latest", "good", "--output", "it.csv.gz"), 2, "it.csv.gz: a name that ends in .gz"),
        (("--latest", "good", "--output", "it.XLS"), 2, "give --format, or another name"),
        (("--latest", "good", "--output", "/dev/full"), 1, "Error: /dev/full: No space left"),
        (("--latest", "good", "--output", "/nowhere/it.csv"), 1, "Error: /nowhere/it.csv: No such file"),
        (("--latest", "good", "--output", "/"), 2, "is a directory"),
    ],
)
def test_export_says_what_was_wrong(place, arguments, code, said):
    done = place.run("runs", "export", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_name_as_long_as_names_may_be_is_written(place, tmp_path):
    file = tmp_path / f"{'n' * 251}.csv"
    done = place.run("runs", "export", "good", "-o", file)
    assert (done.returncode, done.stderr, [*tmp_path.iterdir()]) == (0, "", [file])
    done = place.run("runs", "export", "good", "-o", tmp_path / f"{'n' * 252}.csv")
    assert (done.returncode, done.stderr) == (1, f"Error: {tmp_path}/{'n' * 252}.csv: File name too long\n")


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "link", "-"])
def test_what_others_write_to_stdout_stays_before_an_export(place, tmp_path, name):
    file = tmp_path / "it.csv"
    file.write_text("before\n")
    (tmp_path / "link").symlink_to("/dev/stdout")
    with file.open("ab") as out:
        done = subprocess.run(
            [sys.executable, "-m", "pgsched", "runs", "export", "good", "-o", name],
            stdout=out,
            env=place.environment,
            cwd=tmp_path,
        )
    assert done.returncode == 0
    assert file.read_text().startswith("before\nbig,")


def test_an_export_that_nobody_takes_is_told(place):
    line = f"'{sys.executable}' -m pgsched runs export good"
    for behind, said in (
        (">&-", "standard output is closed; redirect it, or give --output FILE"),
        (">/dev/full", "standard output: No space left on device"),
    ):
        done = subprocess.run(
            ["sh", "-c", f"{line} {behind}"],
            capture_output=True,
            text=True,
            env=place.environment,
            cwd=place.folder,
        )
        assert (done.returncode, done.stderr) == (1, f"Error: {said}\n")


def test_an_export_whose_reader_is_gone_ends_as_other_programs_do(place):
    ours, theirs = os.pipe()
    os.close(ours)
    done = subprocess.run(
        [sys.executable, "-m", "pgsched", "runs", "export", "good"],
        stdout=theirs,
        stderr=subprocess.PIPE,
        env=place.environment,
        cwd=place.folder,
    )
    os.close(theirs)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize("format_", ["table", "records", "columns", "ndjson", "csv"])
def test_a_text_ends_with_its_line(place, format_):
    done = place.run("runs", "export", "good", "--format", format_)
    assert done.stdout.endswith("\n")
    assert not done.stdout.endswith("\n\n")


@contextlib.contextmanager
def on_a_terminal(place, *arguments, stdout=None):
    """An export whose stderr is a terminal, and a function that reads on there."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "pgsched", "runs", "export", *arguments],
        stdout=stdout,
        stderr=theirs,
        env=place.with_settings(TERM="xterm"),
        cwd=place.folder,
    )
    os.close(theirs)

    def read() -> bytes:
        with contextlib.suppress(OSError):  # the other end is closed
            return os.read(ours, 4096)
        return b""

    try:
        yield process, read
    finally:
        os.close(ours)
        process.kill()
        process.wait()


@pytest.mark.parametrize("redirected", [False, True])
def test_export_shows_a_bar_on_a_terminal(place, tmp_path, redirected):
    file = tmp_path / "it.csv"
    with (
        contextlib.ExitStack() as stack,
        on_a_terminal(place, "good", stdout=stack.enter_context(file.open("wb")))
        if redirected
        else on_a_terminal(place, "good", "-o", file) as (process, read),
    ):
        shown = b"".join(iter(read, b""))
        assert process.wait(30) == 0
    assert b"1/1" in shown
    assert (b"bytes in" in shown) is not redirected
    assert file.read_bytes().startswith(b"big,")


def test_export_shows_no_bar_to_whoever_reads_from_a_pipe(place):
    with on_a_terminal(place, "good", stdout=subprocess.PIPE) as (process, read):
        shown = b"".join(iter(read, b""))
        assert process.wait(30) == 0
        assert (shown, process.stdout.read()[:4]) == (b"", b"big,")
        process.stdout.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_an_export_that_is_ended_leaves_nothing_behind(place, tmp_path, number):
    # pyarrow is loaded once the bar is shown: time enough
    with on_a_terminal(place, "good", "-o", tmp_path / "it.parquet") as (process, read):
        shown = read()
        assert [each.name[:8] for each in tmp_path.iterdir()] == [".export-"]
        process.send_signal(number)
        shown += b"".join(iter(read, b""))
        assert process.wait(30) == 128 + number
    assert [*tmp_path.iterdir()] == []
    # the cursor that the bar hid
    assert shown.rindex(b"\x1b[?25h") > shown.rindex(b"\x1b[?25l")
