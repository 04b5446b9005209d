"""A load generator for answers of constant size: wrk where it is installed, else a small one of our own.

``python -m bench.load URL SECONDS [ETAG]`` prints ``{"per_second": …}``. Ours counts bytes instead of parsing
answers, so that it costs less than the server it drives; the first answer says how long each one is.
"""

from __future__ import annotations

import asyncio
import json
import re
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
        self._request, self._size, self._until = request, size, until
        self._missing = size
        self._transport: asyncio.WriteTransport | None = None
        self.answers = 0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # a transport of uvloop's is one without being an instance
        self._transport = cast("asyncio.WriteTransport", transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._missing -= len(data)
        if self._missing > 0:
            return
        assert self._missing == 0, "an answer was longer than the first one"
        assert self._transport is not None
        self.answers += 1
        self._missing = self._size
        if time.perf_counter() < self._until:
            self._transport.write(self._request)
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 (asyncio's signature)
        if not self.ended.done():
            self.ended.set_result(None)


async def drive(url: str, seconds: float, etag: str | None = None) -> float:
    """Return the answers per second that a server gives to a few connections that never pause."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    known = f"If-None-Match: {etag}\r\n" if etag else ""
    request = f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n{known}\r\n".encode()
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
    """Ask once and return the length of the whole answer, head and body."""
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(request)
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 304")), head
    length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
    body = int(length[1]) if length and b" 304 " not in head else 0
    await reader.readexactly(body)
    writer.close()
    return len(head) + body


def drive_with_wrk(wrk: str, url: str, seconds: float, etag: str | None) -> float:
    """Return what wrk says."""
    header = ["-H", f"If-None-Match: {etag}"] if etag else []
    command = [wrk, "-t1", f"-c{CONNECTIONS}", f"-d{seconds:.0f}s", *header, url]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"Requests/sec:\s+([\d.]+)", said)
    assert found is not None, said
    return float(found[1])


def main() -> None:
    """Drive and print."""
    url, seconds, etag = sys.argv[1], float(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else None
    wrk = shutil.which("wrk")
    if wrk is not None:
        per_second = drive_with_wrk(wrk, url, seconds, etag)
    else:
        import uvloop

        per_second = uvloop.run(drive(url, seconds, etag))
    print(json.dumps({"per_second": per_second, "by": "wrk" if wrk else "bench/load.py"}))


if __name__ == "__main__":
    main()
