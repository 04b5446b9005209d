"""Waiting for sockets, on both loops that pgsched may run on."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Iterator

import pytest
import uvloop

from pgsched.adapters.sockets import Reader, ready


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def runner(request) -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs


async def _comes(wait) -> bool:
    try:
        async with asyncio.timeout(5):
            await wait
    except TimeoutError:
        return False
    return True


async def _read(reader: Reader, ours: socket.socket) -> bytes:
    """Read what comes next, as a reader's user has to: it may wake for what was read already."""
    for _ in range(3):
        await reader.ready(asyncio.get_running_loop().time() + 5)
        with contextlib.suppress(BlockingIOError):
            return ours.recv(9)
    raise AssertionError("woken for nothing again and again")


def test_reader_wakes_at_each_arrival(runner, pair):
    ours, theirs = pair

    async def reads() -> list[bytes]:
        reader, seen = Reader(ours.fileno()), []
        for text in (b"one", b"two", b"three"):
            asyncio.get_running_loop().call_later(0.01, theirs.send, text)
            seen.append(await _read(reader, ours))
        reader.stop()
        return seen

    assert runner.run(reads()) == [b"one", b"two", b"three"]


def test_reader_wakes_when_the_other_side_closes(runner, pair):
    ours, theirs = pair

    async def closed() -> bytes:
        reader = Reader(ours.fileno())
        asyncio.get_running_loop().call_later(0.01, theirs.close)
        await reader.ready()
        reader.stop()
        return ours.recv(9)

    assert runner.run(closed()) == b""


def test_reader_ends_at_its_time_and_serves_again(runner, pair):
    ours, theirs = pair

    async def late_then_there() -> bytes:
        reader, loop = Reader(ours.fileno()), asyncio.get_running_loop()
        with pytest.raises(TimeoutError):
            await reader.ready(loop.time() + 0.02)
        with pytest.raises(TimeoutError):
            await reader.ready(loop.time() - 1)
        theirs.send(b"there")
        await reader.ready(loop.time() + 5)
        reader.stop()
        return ours.recv(9)

    assert runner.run(late_then_there()) == b"there"


@pytest.fixture
def tcp_pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        theirs, _ = server.accept()
    ours.setblocking(False)
    with ours, theirs:
        yield ours, theirs


def test_reader_goes_on_after_a_reset_that_came_behind_bytes(runner, tcp_pair):
    # Regression: uvloop tells of bytes and reset as one event and looks no more; who had read the bytes and
    # waited for the rest of a message waited until its deadline.
    ours, theirs = tcp_pair

    async def reset() -> tuple[bytes, bool]:
        reader = Reader(ours.fileno())
        with pytest.raises(TimeoutError):
            await reader.ready(asyncio.get_running_loop().time() + 0.01)
        theirs.send(b"half")
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        theirs.close()
        await reader.ready()
        try:
            came = ours.recv(9)
        except ConnectionResetError:
            came = b"half"  # a system that throws away what was not read
        is_told = await _comes(reader.ready())
        reader.stop()
        return came, is_told

    assert runner.run(reset()) == (b"half", True)


def test_what_nobody_waits_for_does_not_keep_the_loop_busy_and_is_found_later(runner, pair):
    ours, theirs = pair
    woken = []

    class Counting(Reader):
        def _wake(self) -> None:
            woken.append(1)
            super()._wake()

    async def unasked() -> bytes:
        reader = Counting(ours.fileno())
        with pytest.raises(TimeoutError):
            await reader.ready(asyncio.get_running_loop().time() + 0.01)
        theirs.send(b"unasked")
        await asyncio.sleep(0.1)
        assert len(woken) == 1
        assert await _comes(reader.ready())
        reader.stop()
        return ours.recv(9)

    assert runner.run(unasked()) == b"unasked"


def test_who_is_cancelled_while_waiting_leaves_the_reader_usable(runner, pair):
    ours, theirs = pair

    async def cancelled() -> bytes:
        reader = Reader(ours.fileno())
        waiting = asyncio.create_task(reader.ready())
        await asyncio.sleep(0.01)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        theirs.send(b"there")
        assert await _comes(reader.ready())
        reader.stop()
        return ours.recv(9)

    assert runner.run(cancelled()) == b"there"


def test_ready_waits_for_reading_or_for_writing(runner, pair):
    ours, theirs = pair

    async def both() -> None:
        until = asyncio.get_running_loop().time() + 0.02
        with pytest.raises(TimeoutError):
            await ready(ours.fileno(), until=until)
        assert await _comes(ready(ours.fileno(), reading=False, writing=True))
        theirs.send(b"there")
        assert await _comes(ready(ours.fileno()))

    runner.run(both())
