"""A load generator for answers of constant size: wrk where it is installed, else a small one of our own.

``python -m bench.load URL SECONDS [HEADER: VALUE]…`` prints ``{"per_second": …, "busy": …}``; busy is the
share of a core that the driver itself took, which tells whether it was what held the server up. Ours finds
where a head ends and counts bytes from there, so that it costs less than the server it drives; the first
answer says how long each body is.
"""

from __future__ import annotations

import asyncio
import json
import re
import resource
import shutil
import subprocess
import sys
import time
from typing import cast
from urllib.parse import urlsplit

CONNECTIONS = 16


class _Client(asyncio.Protocol):
    """One connection that asks again as soon as it has its answer."""

    def __init__(self, request: bytes, size: int, until: float) -> None:
        """Take a request, the bytes of a body, and when to stop on the clock of ``perf_counter``."""
        self._request, self._size, self._until = request, size, until
        #: bytes of the body that are still to come, None before the end of the head
        self._missing: int | None = None
        self._head = b""
        self._transport: asyncio.WriteTransport | None = None
        self.answers = 0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # a transport of uvloop's is one without being an instance
        self._transport = cast("asyncio.WriteTransport", transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if self._missing is None:
            self._head += data
            end = self._head.find(b"\r\n\r\n")
            if end < 0:
                return
            self._missing = self._size - (len(self._head) - end - 4)
        else:
            self._missing -= len(data)
        if self._missing > 0:
            return
        assert self._missing == 0, "a body was longer than the first one"
        assert self._transport is not None
        self.answers += 1
        self._missing, self._head = None, b""
        if time.perf_counter() < self._until:
            self._transport.write(self._request)
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncio's signature)
        if not self.ended.done():
            self.ended.set_result(None)


async def drive(url: str, seconds: float, headers: list[str]) -> float:
    """Return the answers per second that a server gives to a few connections that never pause."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    lines = "".join(f"{header}\r\n" for header in headers)
    request = f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n{lines}\r\n".encode()
    size = await _size(parts.hostname, parts.port or 80, request)
    loop = asyncio.get_running_loop()
    started = time.perf_counter()
    clients = [
        (await loop.create_connection(lambda: _Client(request, size, started + seconds), *address))[1]
        for address in [(parts.hostname, parts.port)] * CONNECTIONS
    ]
    await asyncio.gather(*(client.ended for client in clients))
    return sum(client.answers for client in clients) / (time.perf_counter() - started)


async def _size(host: str, port: int, request: bytes) -> int:
    """Ask once and return the length of the answer's body."""
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 304")), head
    length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    body = int(length[1]) if length and b" 304 " not in head else 0
    await reader.readexactly(body)
    writer.close()
    return body


def drive_with_wrk(wrk: str, url: str, seconds: float, headers: list[str]) -> float:
    """Return what wrk says."""
    told = [part for header in headers for part in ("-H", header)]
    command = [wrk, "-t1", f"-c{CONNECTIONS}", f"-d{seconds:.0f}s", *told, url]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"Requests/sec:\s+([\d.]+)", said)
    assert found is not None, said
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    assert refused is None, said
    return float(found[1])


def main() -> None:
    """Drive and print."""
    url, seconds, headers = sys.argv[1], float(sys.argv[2]), sys.argv[3:]
    wrk = shutil.which("wrk")
    started = time.perf_counter()
    if wrk is not None:
        per_second = drive_with_wrk(wrk, url, seconds, headers)
    else:
        import uvloop

        per_second = uvloop.run(drive(url, seconds, headers))
    used = resource.getrusage(resource.RUSAGE_CHILDREN if wrk else resource.RUSAGE_SELF)
    busy = (used.ru_utime + used.ru_stime) / (time.perf_counter() - started)
    print(json.dumps({"per_second": per_second, "busy": busy, "by": "wrk" if wrk else "bench/load.py"}))


if __name__ == "__main__":
    main()
