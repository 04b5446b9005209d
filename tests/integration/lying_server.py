"""A server that speaks the protocol well enough to be believed, and lies where a test wants it to.

Source: PostgreSQL manual, "Frontend/Backend Protocol".
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import struct
from collections.abc import Awaitable, Callable

#: answers a FETCH; what it wrote before it returns or raises is sent
Lie = Callable[["Talk"], Awaitable[None]]
TEXT, INT8 = 25, 20


def message(kind: bytes, body: bytes = b"") -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


def row_description(*oids: int) -> bytes:
    columns = b"".join(
        b"c%d\0" % number + struct.pack("!IhIhih", 0, 0, oid, -1, -1, 0) for number, oid in enumerate(oids)
    )
    return message(b"T", struct.pack("!h", len(oids)) + columns)


def data_row(*values: bytes | None) -> bytes:
    cells = b"".join(
        struct.pack("!i", -1) if value is None else struct.pack("!i", len(value)) + value for value in values
    )
    return message(b"D", struct.pack("!h", len(values)) + cells)


def complete(tag: bytes) -> bytes:
    return message(b"C", tag + b"\0")


def notice(text: bytes) -> bytes:
    return message(b"N", b"SNOTICE\0VNOTICE\0C00000\0M" + text + b"\0\0")


def error(text: bytes, *, code: bytes = b"XX000", severity: bytes = b"ERROR") -> bytes:
    return message(b"E", b"S" + severity + b"\0V" + severity + b"\0C" + code + b"\0M" + text + b"\0\0")


class Talk:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def say(self, *messages: bytes) -> None:
        for each in messages:
            self.writer.write(each)
            await self.writer.drain()

    async def flood(self, part: bytes) -> None:
        """Say the same for ever."""
        many = part * max(1, 65536 // len(part))
        while True:
            await self.say(many)

    def reset(self) -> None:
        """Break the connection off without a word (RST)."""
        self.writer.transport.abort()

    async def heard(self) -> tuple[bytes, bytes]:
        kind = await self.reader.readexactly(1)
        (length,) = struct.unpack("!I", await self.reader.readexactly(4))
        return kind, await self.reader.readexactly(length - 4)

    async def startup(self) -> None:
        while True:
            (length,) = struct.unpack("!I", await self.reader.readexactly(4))
            body = await self.reader.readexactly(length - 4)
            if body[:4] != b"\x04\xd2\x16\x2f":
                return
            await self.say(b"N")


class LyingServer:
    """Believable until a FETCH (or the login, a look, the DECLARE …) meets the lie it was given."""

    def __init__(
        self,
        *,
        fetch: Lie | None = None,
        declare: Lie | None = None,
        begin: Lie | None = None,
        login: Lie | None = None,
        look: Lie | None = None,
        explain: Lie | None = None,
        types: Lie | None = None,
        columns: tuple[int, ...] = (TEXT,),
    ) -> None:
        self._lies = {
            "FETCH": fetch,
            "DECLARE": declare,
            "BEGIN": begin,
            "SELECT": look,
            "EXPLAIN": explain,
        }
        self._types = types
        self._login = login
        self._columns = columns
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    async def __aenter__(self) -> LyingServer:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            await self._talk(Talk(reader, writer))
        writer.close()

    async def _talk(self, talk: Talk) -> None:
        await talk.startup()
        if self._login is not None:
            await self._login(talk)
        await talk.say(message(b"R", struct.pack("!I", 0)))
        for name, value in ((b"server_version", b"15.0"), (b"client_encoding", b"UTF8")):
            await talk.say(message(b"S", name + b"\0" + value + b"\0"))
        await talk.say(message(b"K", struct.pack("!II", 1, 1)), message(b"Z", b"I"))
        sql = b""
        while True:
            kind, body = await talk.heard()
            if kind == b"P":
                sql = body.split(b"\0")[1]
                await talk.say(message(b"1"))
            elif kind == b"B":
                await talk.say(message(b"2"))
            elif kind == b"D":
                await self._describe(talk, sql, body)
            elif kind == b"E":
                await self._execute(talk, sql)
            elif kind == b"S":
                await talk.say(message(b"Z", b"I"))
            elif kind == b"X":
                return

    async def _describe(self, talk: Talk, sql: bytes, body: bytes) -> None:
        if body == b"Ppgsched\0" or sql.startswith(b"FETCH"):
            await talk.say(row_description(*self._columns))
        elif b"typdelim" in sql:
            await talk.say(row_description(*[TEXT] * 6))
        elif sql.startswith(b"EXPLAIN"):
            await talk.say(row_description(TEXT))
        elif sql.lstrip().startswith(b"SELECT"):
            await talk.say(row_description(*[TEXT] * 5))
        else:
            await talk.say(message(b"n"))

    async def _execute(self, talk: Talk, sql: bytes) -> None:
        word = sql.split()[0].decode()
        lie = self._types if b"typdelim" in sql else self._lies.get(word)
        if lie is not None:
            await lie(talk)
        elif word == "SELECT":
            await talk.say(data_row(b"1", b"d", b"0", b"public", b"t"), complete(b"SELECT 1"))
        elif word == "FETCH":
            await talk.say(data_row(*[b"1"] * len(self._columns)), complete(b"FETCH 1"))
        else:
            await talk.say(complete(word.encode()))


def scram(rounds: int) -> Lie:
    """A login that asks for so many rounds of hashing."""

    async def lie(talk: Talk) -> None:
        await talk.say(message(b"R", struct.pack("!I", 10) + b"SCRAM-SHA-256\0\0"))
        _, body = await talk.heard()
        said = b"r=%bx,s=%b,i=%d" % (body.split(b"r=")[1], base64.b64encode(b"salt" * 4), rounds)
        request = message(b"R", struct.pack("!I", 11) + said)
        # in pieces, so that no single look sees the number
        for start in range(0, len(request), 7):
            await talk.say(request[start : start + 7])
            await asyncio.sleep(0.001)
        await talk.heard()
        await talk.say(error(b"password authentication failed", code=b"28P01", severity=b"FATAL"))

    return lie
