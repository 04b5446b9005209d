"""`pgsched up`: everything with nothing configured, and nothing left behind."""

from __future__ import annotations

import os
import pty
import re
import shlex
import signal
import stat
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest
from postgres_fixtures import in_wheel
from processes import Installation, Process, assert_quiet, eventually, free_port, installation

from pgsched.adapters.embedded.attach import attach
from pgsched.adapters.embedded.home import layout_of
from pgsched.adapters.embedded.postmaster import processes_in

#: seconds a first start may take on a machine that does other things too
START_S = 60.0


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    with installation(tmp_path_factory.mktemp("up"), None) as place:
        yield place


@pytest.fixture(scope="module")
def demo(place):
    """The demo, started for the first time; the tests below share it, the later ones stop and start it."""
    return Demo(place)


class Demo:
    """A running `pgsched up --demo`."""

    def __init__(self, place: Installation, **settings: str) -> None:
        self.place = place
        self.url = f"http://127.0.0.1:{free_port()}"
        self.process = place.start("up", "--demo", "--port", self.url.rpartition(":")[2], **settings)
        is_up(self.process)

    @property
    def home(self) -> Path:
        return self.place.folder / "home"

    def superuser(self, dbname: str = "postgres") -> psycopg.Connection:
        """A way in for the test alone."""
        info = attach(self.home)
        password = layout_of(self.home).superuser_password.read_text().strip()
        return psycopg.connect(
            host=info.host, port=info.port, user="postgres", password=password, dbname=dbname, autocommit=True
        )

    def runs(self) -> list[dict]:
        return httpx.get(f"{self.url}/api/queries/orders_by_hour/runs").json()["items"]


def is_up(process: Process) -> None:
    def told() -> bool:
        assert process.process.poll() is None, process.err
        return "Ctrl-C stops all of it." in process.out

    eventually(told, within_s=START_S)


def family_of(process: Process) -> list[psutil.Process]:
    """Everything that runs because of `up`: api, worker, postmaster and its children."""
    for member in ("api", "worker", "-D"):
        assert members(process, member)
    return process.family()


def members(process: Process, argument: str) -> list[psutil.Process]:
    """Those that run because of `up` and have this argument: `-D` is the postmaster's."""
    found = []
    for each in process.family():
        # ended, and perhaps not yet waited for
        with suppress(psutil.NoSuchProcess):
            if argument in each.cmdline():
                found.append(each)
    return found


def told_of(process: psutil.Process) -> str:
    """A process that still does something, in a few words; nothing for one that has ended."""
    try:
        zombie = process.status() == psutil.STATUS_ZOMBIE
        return "" if zombie or not process.is_running() else f"{process.pid} {' '.join(process.cmdline())}"
    except psutil.NoSuchProcess:
        return ""


def left_of(family: list[psutil.Process], home: Path) -> list[str]:
    left = [told for each in family if (told := told_of(each))]
    return left + [str(pid) for pid in processes_in(home / "postgres" / "data")]


def left_after(seconds: float, family: list[psutil.Process], home: Path) -> list[str]:
    end = time.monotonic() + seconds
    while (left := left_of(family, home)) and time.monotonic() < end:
        time.sleep(0.05)
    return left


@pytest.mark.slow
def test_up_prints_where_to_look_and_how_to_log_in(demo):
    lines = demo.process.out.splitlines()
    assert lines[0] == f"pgsched is up: {demo.url}"
    assert lines[1] == "admin: admin@pgsched.local"
    assert lines[2] == f"password: in {demo.home / 'admin-password'}"
    password = (demo.home / "admin-password").read_text()
    assert len(password.strip()) >= 20
    assert password.strip() not in demo.process.out + demo.process.err
    for private in ("admin-password", "keys/private_key.base64", "keys/argon2_secret.base64"):
        assert stat.S_IMODE((demo.home / private).stat().st_mode) == 0o600
    for folder in (demo.home, demo.home / "keys"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.slow
def test_printed_curl_lines_work_when_pasted(demo):
    lines = [line for line in demo.process.out.splitlines() if line.strip().startswith("curl ")]
    assert len(lines) == 2
    for line in lines:
        command = shlex.split(line)
        done = subprocess.run([*command, "-f"], capture_output=True, text=True, timeout=20)
        assert done.returncode == 0, (line, done.stderr)
        assert done.stdout.startswith("{")


@pytest.mark.slow
def test_demo_result_changes_over_time(demo):
    latest = f"{demo.url}/api/queries/orders_by_hour/runs/latest"
    first = httpx.get(latest).json()
    assert first["result"]["data"]
    changed = eventually(
        lambda: (now := httpx.get(latest).json())["id"] != first["id"] and now, within_s=15, every_s=0.3
    )
    assert changed["result"] != first["result"]


@pytest.mark.slow
def test_every_demo_query_has_run_well(demo):
    names = [item["name"] for item in httpx.get(f"{demo.url}/api/queries").json()["items"]]
    assert len(names) >= 5
    for name in names:
        # by hand, because some wait for the full minute
        done = demo.place.run("queries", "run", name, "--wait", "--json")
        assert done.returncode == 0, done.stdout
        run = httpx.get(f"{demo.url}/api/queries/{name}/runs/latest").json()
        assert run["result"]["data"], name
        assert run["error_message"] is None


@pytest.mark.slow
def test_front_page_shows_the_queries(demo):
    page = httpx.get(demo.url)
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert "Orders and revenue by hour" in page.text


@pytest.mark.slow
def test_demo_reader_can_read_the_shop_and_nothing_else(demo):
    with demo.superuser() as server:
        server.execute("alter role shop_reader password 'for-this-test'")
        databases = [name for (name,) in server.execute("select datname from pg_database where datallowconn")]
        roles = server.execute(
            "select rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls,"
            " (select count(*) from pg_auth_members where member = r.oid)"
            " from pg_roles r where rolname = 'shop_reader'"
        ).fetchall()
    assert roles == [(False, False, False, False, False, 0)]
    info = attach(demo.home)
    assert {"pgsched", "postgres", "shop"} <= set(databases)

    def way_in(dbname: str) -> psycopg.Connection:
        return psycopg.connect(
            host=info.host, port=info.port, user="shop_reader", password="for-this-test", dbname=dbname
        )

    for dbname in set(databases) - {"shop"}:
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            way_in(dbname)
    with way_in("shop") as shop:
        assert shop.execute("select count(*) > 0 from shop_order").fetchone() == (True,)
        for write in ("delete from product", "create table t ()", "create temp table t ()"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                shop.execute(write)
            shop.rollback()


@pytest.mark.slow
def test_command_line_attaches_to_the_running_server(demo):
    sources = demo.place.json("dsn", "list")
    assert [source["name"] for source in sources] == ["shop"]
    assert [user["roles"] for user in demo.place.json("users", "list")] == [["admin"]]
    # the reader's password was changed by an earlier test, or not: either way an answer in one line
    tested = demo.place.run("dsn", "test", "shop")
    assert len((tested.stdout + tested.stderr).splitlines()) == 1


@pytest.mark.slow
def test_second_up_on_the_same_home_is_refused(demo):
    line = demo.place.run("up", "--port", str(free_port())).stderr.splitlines()[-1]
    assert line.startswith(f"Error: pgsched is already running in {demo.home} (process {demo.process.pid}); ")
    assert demo.process.process.poll() is None


@pytest.mark.slow
def test_service_that_ends_is_started_again(demo):
    (worker,) = members(demo.process, "worker")
    worker.kill()
    worker.wait()
    eventually(lambda: members(demo.process, "worker") not in ([], [worker]), within_s=10)
    eventually(lambda: httpx.get(f"{demo.url}/readyz").json().get("workers") == 1, within_s=10)
    assert "up: worker ended with code -9; starting it again\n" in demo.process.err


@pytest.mark.slow
def test_embedded_server_that_ends_is_started_again(demo):
    (postmaster,) = members(demo.process, "-D")
    before = demo.runs()[0]["id"]
    postmaster.kill()
    eventually(lambda: "starting it again" in demo.process.err, within_s=15)

    def goes_on() -> bool:
        with suppress(httpx.HTTPError, KeyError):
            return demo.runs()[0]["id"] > before
        return False

    eventually(goes_on, within_s=30)
    assert demo.process.process.poll() is None


@pytest.mark.slow
def test_ctrl_c_stops_everything_and_the_next_start_finds_the_history(demo):
    family = family_of(demo.process)
    history = {run["id"] for run in demo.runs()}
    began = time.monotonic()
    assert demo.process.end(signal.SIGINT) == 0
    assert time.monotonic() - began < 15
    assert left_of(family, demo.home) == []
    with pytest.raises(httpx.ConnectError):
        httpx.get(demo.url)

    again = Demo(demo.place)
    assert history <= {run["id"] for run in again.runs()}
    # the admin is there: nothing to tell about him
    assert "password" not in again.process.out
    eventually(lambda: max(run["id"] for run in again.runs()) > max(history), within_s=20)

    # a power cut for `up` alone
    family = family_of(again.process)
    again.process.kill()
    assert left_after(15, family, demo.home) == []
    assert not (demo.home / "postgres" / "data" / "postmaster.pid").exists()
    assert_quiet(demo.place.everything_said(), (demo.home / "admin-password").read_text().strip())


@pytest.mark.slow
def test_data_folder_of_another_version_is_refused(demo):
    """After the demo is stopped: its data folder claims to be of a version that is not there."""
    version = demo.home / "postgres" / "data" / "PG_VERSION"
    made_by = version.read_text()
    version.write_text("14\n")
    try:
        done = demo.place.run("up", "--port", str(free_port()))
    finally:
        version.write_text(made_by)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "14" in done.stderr.splitlines()[-1]
    assert_quiet(done.stderr)


@pytest.mark.slow
def test_terminal_is_shown_the_password_once_and_no_file_is_written(tmp_path):
    with installation(tmp_path, None) as place:
        first, ended = at_a_terminal(place)
        assert ended == 0
        assert re.search(r"^password: \S{20,}   \(shown this once; keep it\)\r?$", first, re.MULTILINE)
        assert not (place.folder / "home" / "admin-password").exists()
        assert processes_in(place.folder / "home" / "postgres" / "data") == []
        second, ended = at_a_terminal(place)
        assert ended == 0
        assert "password" not in second
        assert_quiet(first + second)


def at_a_terminal(place: Installation, **settings: str) -> tuple[str, int]:
    """Run `up` at a pseudo-terminal until it is up, press Ctrl-C there; return what was shown."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", f"{TERMINAL}", "up", "--port", str(free_port())],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env=place.with_settings(**settings),
        cwd=place.folder,
        start_new_session=True,
    )
    os.close(follower)
    shown = b""
    pressed = False
    try:
        while True:
            try:
                part = os.read(leader, 4096)
            except OSError:
                break
            if not part:
                break
            shown += part
            if b"Ctrl-C stops all of it." in shown and not pressed:
                pressed = True
                os.write(leader, b"\x03")
        return shown.decode(), process.wait(30)
    finally:
        os.close(leader)
        if process.poll() is None:
            process.kill()


#: makes the pseudo-terminal the controlling one, so that Ctrl-C typed there is a signal
TERMINAL = """
import fcntl, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from pgsched.entrypoints.cli.main import main
main()
"""


@pytest.mark.slow
def test_up_on_a_database_of_ones_own(database, tmp_path):
    """No embedded server then; and neither ALLOWED_HOSTS nor a proxy keeps it from seeing itself."""
    with installation(tmp_path, database.url) as place:
        settings = {
            "ALLOWED_HOSTS": "dash.example.com",
            "PUBLIC_READ": "0",
            "http_proxy": "http://127.0.0.1:9",
            "PUBLIC_KEY_B64_PATH": None,
            "APP_PRIVATE_KEY_B64_PATH": None,
            "ARGON2_SECRET_KEY_B64": None,
        }
        port = free_port()
        process = place.start("up", "--port", str(port), **settings)
        is_up(process)
        assert not (place.folder / "home" / "postgres").exists()
        assert stat.S_IMODE((place.folder / "home").stat().st_mode) == 0o700
        answer = httpx.get(f"http://127.0.0.1:{port}/readyz", headers={"Host": "dash.example.com"})
        assert answer.status_code == 200
        assert httpx.get(f"http://127.0.0.1:{port}/readyz").json()["code"] == "bad_host"
        line = place.refused("up", "--demo", "--port", str(free_port()))
        assert line.startswith("PG_DSN_APP: is set, and --demo needs the embedded Postgres; ")
        assert process.end() == 0


@pytest.mark.slow
def test_up_runs_on_the_wheels_programs(tmp_path):
    with installation(tmp_path, None) as place:
        demo = Demo(place, PGSCHED_PG_BIN=str(next(in_wheel())))
        with demo.superuser() as server:
            assert server.info.server_version // 10000 == 18
        eventually(lambda: demo.runs()[0]["status"] == "success")
        assert demo.process.end() == 0
