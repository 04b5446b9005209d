"""pgsched from outside: its commands as real processes, in a folder and an environment of their own."""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import psutil
from postgres_fixtures import Database, SourceDatabase
from strict_syslog import check

from pgsched.adapters.crypto.keygen import generate_pair, write_pair

_T = TypeVar("_T")

#: what a shell gives to every program; the rest of this machine's environment stays out
KEPT = ("PATH", "HOME", "TMPDIR", "LD_LIBRARY_PATH")
#: seconds before a process that does not end, or a state that does not come, fails a test
PATIENCE_S = 30.0


def free_port() -> int:
    """A TCP port on loopback that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def eventually(look: Callable[[], _T], *, within_s: float = PATIENCE_S, every_s: float = 0.05) -> _T:
    """Look until there is something to see; the last look is returned, and must be true."""
    end = time.monotonic() + within_s
    while not (seen := look()):
        assert time.monotonic() < end, f"not within {within_s:g} s: {seen!r}"
        time.sleep(every_s)
    return seen


class Process:
    """One `pgsched …` that runs until it is told to end; its output goes to files."""

    def __init__(self, arguments: Sequence[str], *, folder: Path, environment: dict[str, str], number: int):
        self.arguments = arguments
        self._out = folder / f"process-{number}.out"
        self._err = folder / f"process-{number}.err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pgsched", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=environment,
                cwd=folder,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def out(self) -> str:
        """What it has printed so far."""
        return self._out.read_text("utf-8")

    @property
    def err(self) -> str:
        """What it has said on stderr so far."""
        return self._err.read_text("utf-8")

    def family(self) -> list[psutil.Process]:
        """The process and everything below it."""
        with suppress(psutil.NoSuchProcess):
            parent = psutil.Process(self.pid)
            return [parent, *parent.children(recursive=True)]
        return []

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGTERM, *, within_s: float = PATIENCE_S) -> int:
        """Ask it to end; return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(within_s)

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait()


class Installation:
    """A folder with keys, logs and settings, as somebody who runs pgsched has one."""

    def __init__(self, folder: Path, dsn: str | None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.environment = {name: os.environ[name] for name in KEPT if name in os.environ}
        self.environment |= {"LANG": "C.UTF-8", "PGSCHED_HOME": str(folder / "home")}
        if dsn is not None:
            write_pair(generate_pair(), public=folder / "public", private=folder / "private")
            self.environment |= {
                "PG_DSN_APP": dsn,
                "PUBLIC_KEY_B64_PATH": str(folder / "public"),
                "APP_PRIVATE_KEY_B64_PATH": str(folder / "private"),
                "ARGON2_SECRET_KEY_B64": base64.b64encode(secrets.token_bytes(32)).decode(),
            }
        self._started: list[Process] = []

    def with_settings(self, **settings: str | None) -> dict[str, str]:
        """The environment with some settings changed; None takes one away."""
        changed = self.environment | {name: value for name, value in settings.items() if value is not None}
        return {name: value for name, value in changed.items() if settings.get(name, value) is not None}

    def run(
        self, *arguments: str, answers: str | None = None, **settings: str | None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, without a terminal; ``answers`` is what is typed."""
        return subprocess.run(
            [sys.executable, "-m", "pgsched", *arguments],
            capture_output=True,
            text=True,
            input=answers or "",
            env=self.with_settings(**settings),
            cwd=self.folder,
            timeout=60,
            start_new_session=True,
        )

    def json(self, *arguments: str) -> Any:
        """Run a command that must succeed, with --json; return what it printed."""
        done = self.run(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def refused(self, *arguments: str, answers: str | None = None, **settings: str | None) -> str:
        """Run a command that must fail; return its one line on stderr."""
        done = self.run(*arguments, answers=answers, **settings)
        assert done.returncode == 1, (done.returncode, done.stdout, done.stderr)
        assert done.stdout == ""
        (line,) = done.stderr.splitlines()
        assert line.startswith("Error: ")
        return line.removeprefix("Error: ")

    def start(self, *arguments: str, **settings: str | None) -> Process:
        """Start a service; it is killed with everything below it when the installation is left."""
        process = Process(
            arguments,
            folder=self.folder,
            environment=self.with_settings(**settings),
            number=len(self._started) + 1,
        )
        self._started.append(process)
        return process

    def worker(self, *arguments: str, **settings: str | None) -> Process:
        """Start a worker and wait until it is there."""
        before = self.log("worker").count("worker.ready")
        process = self.start("worker", *arguments, **settings)
        eventually(
            lambda: process.process.poll() is None and self.log("worker").count("worker.ready") > before
        )
        return process

    def api(self, *arguments: str, **settings: str | None) -> tuple[Process, str]:
        """Start an API on a free port and wait until it answers; return it and its address."""
        port = free_port()
        process = self.start("api", "--port", str(port), *arguments, **settings)

        def listens() -> bool:
            assert process.process.poll() is None, process.err
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        eventually(listens)
        return process, f"http://127.0.0.1:{port}"

    def log(self, service: str) -> str:
        """What a service has logged so far."""
        path = self.folder / "logs" / f"pgsched-{service}.log"
        return path.read_text("utf-8") if path.exists() else ""

    def everything_said(self) -> str:
        """All logs, and all output of the services."""
        logs = [path.read_text("utf-8") for path in (self.folder / "logs").glob("*")]
        return "\n".join([*logs, *(each.out + each.err for each in self._started)])

    def add_source(self, source: SourceDatabase, *, name: str = "shop", **options: str) -> None:
        """Add a source by the command line."""
        given = {
            "name": name,
            "host": source.host,
            "port": str(source.port),
            "dbname": source.dbname,
            "username": source.username,
            "password": source.password,
            "key-version": "1",
        } | {option.replace("_", "-"): value for option, value in options.items()}
        self.json("dsn", "add", *flags(given))

    def add_query(self, name: str, sql: str, *more: str, **options: str) -> dict[str, Any]:
        """Add a query by the command line; one that runs by hand only unless a schedule is given."""
        given = {"name": name, "sql": sql, "data-source": "shop"}
        given |= {option.replace("_", "-"): value for option, value in options.items()}
        if "schedule-expr" not in given:
            more = (*more, "--disabled")
            given["schedule-expr"] = "P1D"
        return self.json("queries", "add", *flags(given), *more)

    def close(self) -> None:
        """End what still runs, by force; every line that was logged must be strictly RFC 5424."""
        for each in self._started:
            for process in reversed(each.family()):
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            each.process.wait()
        for path in (self.folder / "logs").glob("*.log*"):
            check(path)


def flags(options: dict[str, str]) -> list[str]:
    """Options as arguments."""
    return [part for name, value in options.items() for part in (f"--{name}", value)]


@contextmanager
def installation(folder: Path, dsn: str | None) -> Iterator[Installation]:
    """An installation for the time of the block."""
    place = Installation(folder, dsn)
    try:
        yield place
    finally:
        place.close()


def assert_quiet(said: str, *forbidden: str) -> None:
    """Nothing that was said is a traceback or holds a secret."""
    assert "Traceback" not in said
    assert not re.search(r'File "[^"]+", line \d+', said), said
    for secret in forbidden:
        assert secret not in said


def run_of(database: Database, run_id: int) -> dict[str, Any]:
    """A run's row."""
    ((row,),) = database.execute("select to_jsonb(r) from query_run r where id = %s", [run_id])
    return row


def ended_run(database: Database, run_id: int, *, within_s: float = PATIENCE_S) -> dict[str, Any]:
    """A run's row once it is over."""
    over = "select 1 from query_run where id = %s and status not in ('queued', 'running')"
    eventually(lambda: database.execute(over, [run_id]), within_s=within_s)
    return run_of(database, run_id)


def backends(source: SourceDatabase, application_name: str) -> int:
    """How many connections to a source say this name."""
    ((count,),) = source.server.execute(
        "select count(*) from pg_stat_activity where datname = %s and application_name like %s",
        [source.dbname, application_name],
    )
    return count
