"""The server as a process: its port, its signals, its end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest
from http_fixtures import api_over, services_over
from postgres_fixtures import Database

from pgsched.domain.errors import CannotListen, SettingFault
from pgsched.entrypoints.http import server
from pgsched.entrypoints.http.app import create_app

PROGRAM = """
import sys
from http_fixtures import services_over
from pgsched.entrypoints.http.app import create_app
from pgsched.entrypoints.http.server import listen, run
from pgsched.entrypoints.loop import run_on_fast_loop
from pgsched.entrypoints.signals import stop_on_signals

async def main():
    app = create_app(services_over(sys.argv[1]))
    await run(app, listen("127.0.0.1", 0), stop=stop_on_signals(), ready=lambda url: print(url, flush=True))

run_on_fast_loop(main())
print("ended", flush=True)
"""


@contextmanager
def process(conninfo: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server in a process of its own, with its URL."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, conninfo],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as child:
        try:
            assert child.stdout is not None
            yield child, child.stdout.readline().strip()
        finally:
            child.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_server_ends_cleanly_on_a_signal(database: Database, number: signal.Signals) -> None:
    with process(database.conninfo) as (child, url), httpx.Client(base_url=url) as api:
        assert api.get("/api/queries").status_code == 200
        child.send_signal(number)
        out, err = child.communicate(timeout=20)
        assert (child.returncode, out, err) == (0, "ended\n", "")


def test_port_in_use_is_one_line_that_names_the_way_out() -> None:
    with closing(server.listen("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotListen) as caught:
            server.listen("127.0.0.1", port)
    assert caught.value.detail == f"port {port} on 127.0.0.1 is in use; choose another with --port"


def test_port_is_free_again_at_once(database: Database) -> None:
    with api_over(database) as api:
        port = api.base_url.port
        assert api.get("/healthz").status_code == 200
    assert port is not None
    server.listen("127.0.0.1", port).close()


@pytest.mark.parametrize(
    ("host", "port", "told"),
    [
        ("203.0.113.7", 8000, "--host"),
        ("no.such.host.invalid", 8000, "--host"),
        ("127.0.0.1", 70000, "--port"),
    ],
)
def test_addresses_that_are_none_are_one_line(host: str, port: int, told: str) -> None:
    with pytest.raises(CannotListen) as caught:
        server.listen(host, port)
    assert told in caught.value.detail
    assert "\n" not in caught.value.detail


def test_localhost_is_where_people_look_for_it() -> None:
    with closing(server.listen("localhost", 0)) as sock:
        assert sock.family is socket.AF_INET
        assert server.url_of(sock).startswith("http://127.0.0.1:")


def test_url_of_all_addresses_can_be_opened() -> None:
    with closing(server.listen("0.0.0.0", 0)) as sock:
        assert server.url_of(sock) == f"http://127.0.0.1:{sock.getsockname()[1]}"


async def test_error_while_opening_is_raised_to_whoever_runs_it(database: Database) -> None:
    async def refuse() -> None:
        raise SettingFault("X", "is bad")

    app = create_app(services_over(database.conninfo, open=refuse))
    with pytest.raises(SettingFault):
        await server.run(app, server.listen("127.0.0.1", 0), stop=asyncio.Event())
