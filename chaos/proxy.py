"""A TCP proxy whose link can be spoiled: refused, mute, cut off, reset, trickling."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from enum import StrEnum


class Link(StrEnum):
    """What the network does."""

    #: bytes go through
    GOOD = "good"
    #: nobody listens
    REFUSE = "refuse"
    #: connections are taken and never answered; what is open falls silent, without a word to either side
    SILENT = "silent"
    #: connections are taken and reset
    RESET = "reset"
    #: a few bytes at a time
    TRICKLE = "trickle"


class Proxy:
    """One listening port in front of one server."""

    def __init__(self, target: tuple[str, int], *, host: str = "127.0.0.1") -> None:
        self.host = host
        self.port = 0
        self.link = Link.GOOD
        self._target = target
        self._server: asyncio.Server | None = None
        self._pairs: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._good = asyncio.Event()
        self._good.set()

    async def open(self) -> None:
        """Listen, on the same port as before if there was one."""
        self._server = await asyncio.start_server(self._meet, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and drop what is open."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.drop()

    async def spoil(self, link: Link) -> None:
        """Change the link, for open connections too."""
        self.link = link
        if link is Link.GOOD:
            self._good.set()
        else:
            self._good.clear()
        if link is Link.REFUSE:
            await self.close()
        elif self._server is None:
            await self.open()
        if link is Link.RESET:
            self.drop()

    def drop(self) -> None:
        """Reset every open connection."""
        for writer in list(self._writers):
            sock = writer.get_extra_info("socket")
            with suppress(OSError, AttributeError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        _watch(writer.get_extra_info("socket"))
        far: asyncio.StreamWriter | None = None
        try:
            if self.link is Link.RESET:
                self.drop()
                return
            if self.link is Link.SILENT:
                await self._good.wait()
            far_reader, far = await asyncio.open_connection(*self._target)
            self._writers.add(far)
            await asyncio.gather(self._pump(reader, far), self._pump(far_reader, writer))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for each in (writer, far):
                if each is not None:
                    self._writers.discard(each)
                    each.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                if self.link is Link.SILENT:
                    await self._good.wait()
                if self.link is Link.TRICKLE:
                    await self._trickle(data, writer)
                else:
                    writer.write(data)
                    await writer.drain()
        finally:
            # One end is enough: Postgres closes both ways at once.
            writer.transport.abort()

    async def _trickle(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        for start in range(0, len(data), 64):
            writer.write(data[start : start + 64])
            await writer.drain()
            if self.link is Link.TRICKLE:
                await asyncio.sleep(0.05)


def _watch(sock: socket.socket) -> None:
    """Notice that a peer is gone without a word as soon as the server would, were it here in our place."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in (("IDLE", 5), ("INTVL", 2), ("CNT", 3)):
        sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, f"TCP_KEEP{option}"), value)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 11_000)
