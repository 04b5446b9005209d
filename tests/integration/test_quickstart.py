from __future__ import annotations

import json
import os
import re
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

ROOT = Path(__file__).parents[2]

#: commands that stay in the foreground of a terminal of their own
SERVICES = ("pgsched api", "pgsched worker")


def quickstart_blocks() -> list[tuple[str, str]]:
    """The README's quickstart, block by block as printed: (language, text)."""
    readme = (ROOT / "README.md").read_text()
    section = re.search(r"^## Quickstart.*?\n(.*?)^## ", readme, re.MULTILINE | re.DOTALL)
    assert section is not None
    return re.findall(r"^```(\w+)\n(.*?)^```$", section[1], re.MULTILINE | re.DOTALL)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Reader:
    """Somebody who pastes the blocks: into one shell, and each service into a terminal of its own."""

    def __init__(self, folder: Path, server: Server, api_port: int) -> None:
        self._own = {"5432": str(server.port), "8000": str(api_port)}
        self._folder = folder
        self._environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(folder),
            "PGHOST": server.host,
            "PGPORT": str(server.port),
            "PGUSER": server.user,
            "PGPASSWORD": server.password,
        }
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
        return re.sub(r"\b(5432|8000)\b", lambda found: self._own[found[1]], text)


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
    reader = Reader(tmp_path, own_postgres, port)
    blocks = quickstart_blocks()
    assert "make venv" in blocks[0][1], "the first block installs what the test session has already"
    services = [text for _, text in blocks if text.startswith(SERVICES)]
    assert len(services) == len(SERVICES)
    first_service = next(i for i, (_, text) in enumerate(blocks) if text.startswith(SERVICES))
    for _, text in blocks[1:first_service]:
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
    assert (tmp_path / "my-pgsched/private_key.base64").stat().st_mode & 0o777 == 0o600
