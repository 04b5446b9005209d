"""Looking hosts up: one that is never answered holds up no other, nor the end of the process."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading

import pytest

from pgsched.adapters.lookups import Lookups


class NameServer:
    """Answers what it knows, and says nothing about ``mute`` names until it is told to."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.speak = threading.Event()

    def __call__(self, host, *_):
        self.asked.append(host)
        if host.startswith("mute"):
            self.speak.wait(30)
        if host.endswith("unknown"):
            raise OSError("no such host")
        return [(2, 1, 6, "", ("192.0.2.1", 0))]


@pytest.fixture
def server():
    server = NameServer()
    yield server
    server.speak.set()


async def give_up_on(lookups, host):
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await lookups.find(host)


async def test_hosts_that_are_never_answered_hold_up_no_other(server):
    lookups = Lookups(find=server)
    for number in range(20):
        await give_up_on(lookups, f"mute{number}")
    async with asyncio.timeout(10):
        assert await lookups.find("good") == [(2, 1, 6, "", ("192.0.2.1", 0))]


async def test_who_asks_for_what_is_being_looked_up_waits_for_the_same_answer(server):
    lookups = Lookups(find=server)
    await give_up_on(lookups, "mute")
    others = [asyncio.create_task(lookups.find("mute")) for _ in range(3)]
    await asyncio.sleep(0.05)
    server.speak.set()
    answers = await asyncio.gather(*others)
    assert answers == [answers[0]] * 3
    assert server.asked == ["mute"]


async def test_an_answer_is_kept_for_nobody_who_asks_later(server):
    lookups = Lookups(find=server)
    for _ in range(2):
        await lookups.find("good")
        with pytest.raises(OSError, match="no such host"):
            await lookups.find("unknown")
    assert server.asked == ["good", "unknown"] * 2


async def test_no_more_hosts_than_allowed_are_looked_up_at_once(server):
    lookups = Lookups(find=server, most=2)
    for number in range(2):
        await give_up_on(lookups, f"mute{number}")
    with pytest.raises(OSError, match="2 other hosts are being looked up"):
        await lookups.find("good")
    await give_up_on(lookups, "mute1")  # that one is under way
    server.speak.set()
    for number in range(2):
        await lookups.find(f"mute{number}")
    await lookups.find("good")


async def test_an_error_that_nobody_waits_for_is_not_told(server):
    told = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
    lookups = Lookups(find=server)
    await give_up_on(lookups, "mute.unknown")
    server.speak.set()
    for thread in threading.enumerate():
        if thread.name == "pgsched-lookup":
            await asyncio.to_thread(thread.join, 10)
    await asyncio.sleep(0.01)
    gc.collect()
    assert told == []


PROGRAM = """
import asyncio, socket, time
socket.getaddrinfo = lambda *asked: time.sleep(300)
from pgsched.entrypoints.loop import run_on_fast_loop

async def main():
    loop = asyncio.get_running_loop()
    asked = [asyncio.create_task(loop.getaddrinfo(f"mute{n}", 5432, type=1)) for n in range(8)]
    await asyncio.wait(asked, timeout=0.2)
    for each in asked:
        each.cancel()
    await asyncio.wait(asked)

run_on_fast_loop(main())
"""


def test_a_process_ends_while_lookups_are_under_way():
    subprocess.run([sys.executable, "-c", PROGRAM], timeout=30, check=True)
