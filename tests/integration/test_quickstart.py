from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from postgres_fixtures import Server

from pgsched.adapters.embedded.binaries import find_programs

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="the pages use curl")

#: commands that stay in the foreground of a terminal of their own
SERVICES = ("pgsched api", "pgsched worker")


def blocks_of(path: str, *languages: str) -> list[tuple[str, str]]:
    """What a page prints to be pasted: (language, text)."""
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", (ROOT / path).read_text(), re.MULTILINE | re.DOTALL)
    return [block for block in blocks if block[0] in languages]


def quickstart_blocks() -> list[tuple[str, str]]:
    """The README's quickstart, whose first block installs what this session has already."""
    blocks = blocks_of("README.md", "sh", "python")
    first = next(i for i, (_, text) in enumerate(blocks) if text.startswith("make venv"))
    return blocks[first + 1 :]


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Reader:
    """Somebody who pastes the blocks: into one shell, and each service into a terminal of its own."""

    def __init__(self, folder: Path, own_ports: dict[str, str], **environment: str) -> None:
        self._own_ports = own_ports
        self._folder = folder
        # the programs of Postgres last: psql is there even where none is installed
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}:{find_programs().bindir}"
        self._environment = {"PATH": path, "HOME": str(folder), **environment}
        self._where = folder

    def paste(self, text: str, *, language: str = "sh") -> str:
        """Run a block and return what it printed; the shell's folder is kept for the next."""
        program = self._with_own_ports(text)
        end = self._folder / "where"
        command = ["sh", "-ec", f'{program}\npwd > "{end}"'] if language == "sh" else self._python(program)
        done = subprocess.run(
            command,
            cwd=self._where,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
        if language == "sh":
            self._where = Path(end.read_text().strip())
        return done.stdout

    @contextmanager
    def service(self, text: str) -> Iterator[subprocess.Popen[str]]:
        """Run a service for the time of the block, then press Ctrl-C."""
        process = subprocess.Popen(
            ["sh", "-c", f"exec {self._with_own_ports(text).strip()}"],
            cwd=self._where,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGINT)
            try:
                _, complaints = process.communicate(timeout=40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                raise
        assert process.returncode == 0, complaints
        assert "Traceback" not in complaints

    @staticmethod
    def _python(program: str) -> list[str]:
        return [sys.executable, "-c", program]

    def _with_own_ports(self, text: str) -> str:
        return re.sub(r"\b(5432|8000)\b", lambda found: self._own_ports.get(found[1], found[1]), text)


def wait_for(url: str, *, seconds: float = 30) -> httpx.Response:
    """Ask until the answer is 200."""
    end = time.monotonic() + seconds
    while True:
        try:
            answer = httpx.get(url)
            if answer.status_code == 200:
                return answer
            said = answer.text
        except httpx.TransportError as error:
            said = repr(error)
        assert time.monotonic() < end, said
        time.sleep(0.2)


@pytest.fixture
def own_postgres(pg_server: Server) -> Iterator[Server]:
    """A server on which the quickstart's names are free, before and after."""
    yield pg_server
    pg_server.drop("shop")
    pg_server.drop("pgsched_meta")
    for role in ("shop_reader", "pgsched_meta"):
        pg_server.execute(f"drop role if exists {role}")


@pytest.mark.slow
def test_quickstart_of_the_readme_works_as_printed(own_postgres: Server, tmp_path: Path) -> None:
    port = free_port()
    reader = Reader(
        tmp_path,
        {"5432": str(own_postgres.port), "8000": str(port)},
        # what psql needs to be the superuser
        PGHOST=own_postgres.host,
        PGPORT=str(own_postgres.port),
        PGUSER=own_postgres.user,
        PGPASSWORD=own_postgres.password,
    )
    blocks = quickstart_blocks()
    services = [text for _, text in blocks if text.startswith(SERVICES)]
    assert len(services) == len(SERVICES)
    first_service = next(i for i, (_, text) in enumerate(blocks) if text.startswith(SERVICES))
    for _, text in blocks[:first_service]:
        reader.paste(text)
    with reader.service(services[0]), reader.service(services[1]):
        api = f"http://127.0.0.1:{port}"
        first = wait_for(f"{api}/api/queries/revenue_by_day/runs/latest").json()
        assert first["status"] == "success"
        assert first["trigger"] == "schedule"
        assert first["rows_returned"] == len(first["result"]["data"]) > 1
        *commands, (language, program) = blocks[first_service + len(SERVICES) :]
        (reading,) = [text for _, text in commands]
        listed, latest = (json.loads(line) for line in reader.paste(reading).splitlines()[-2:])
        assert [query["name"] for query in listed["items"]] == ["biggest_orders", "revenue_by_day"]
        assert latest == first
        assert language == "python"
        assert "revenue" in reader.paste(program, language=language)
        biggest = wait_for(f"{api}/api/queries/biggest_orders/runs/latest").json()
        assert biggest["trigger"] == "manual"
        assert biggest["rows_returned"] == 10
        how_to = blocks_of("docs/how-to/feed-a-dashboard.md", "sh", "python")
        (polling,) = [text for language, text in how_to if language == "sh"]
        assert [reader.paste(polling).strip() for _ in range(2)] == ["200", "304"]
        assert json.loads((tmp_path / "my-pgsched/latest.json").read_text()) == first
        for language, text in how_to:
            reader.paste(text, language=language)
    assert (tmp_path / "my-pgsched/private_key.base64").stat().st_mode & 0o777 == 0o600


@pytest.mark.slow
def test_first_steps_of_the_tutorial_work_as_printed(tmp_path: Path) -> None:
    port = free_port()
    reader = Reader(tmp_path, {"8000": str(port)})
    install, *blocks = [text for _, text in blocks_of("docs/tutorial/first-steps.md", "sh")]
    assert install == "make up\n"
    with reader.service("pgsched up --demo --port 8000"):
        api = f"http://127.0.0.1:{port}/api/queries"
        wait_for(f"{api}/top_products/runs/latest", seconds=90)
        for text in blocks:
            reader.paste(text.replace('export PATH="$PWD/.venv/bin:$PATH"\n', ""))
        minutes = wait_for(f"{api}/busy_minutes/runs/latest").json()
        assert minutes["rows_returned"] >= 1
        broken = wait_for(f"{api}/broken/runs/latest?status=error").json()
        assert broken["error_code"] == "query_failed"
        assert broken["error_message"] == "division by zero"
