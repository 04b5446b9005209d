"""Names of sources that lead nowhere, or to more than one address: others are reached all the same."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest
from source_fixtures import address_of, run_at, statement

from pgsched.adapters.lookups import Lookups
from pgsched.adapters.source import connections
from pgsched.adapters.source.sources import PsycopgSources
from pgsched.domain.errors import SourceUnreachable
from pgsched.domain.runs import Failure

#: a loopback address that no source is at
ELSEWHERE = "127.0.0.3"


class Names:
    """Finds what it knows, and is mute about the rest."""

    def __init__(self, **known: list[str]) -> None:
        self.known = known
        self.ended = threading.Event()

    def __call__(self, host, *_):
        if host not in self.known:
            self.ended.wait(60)
            raise OSError("ended")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, 0)) for ip in self.known[host]]


@pytest.fixture
async def reached(source_db):
    """Runs a statement at a name."""
    names = Names(good=[source_db.host], many=[ELSEWHERE, source_db.host])
    sources = PsycopgSources(lookups=Lookups(find=names, most=20))

    async def at(host):
        outcome = await run_at(sources, address_of(source_db, host=host), statement("select 1 as a"))
        return outcome.data

    yield at
    names.ended.set()
    await sources.close()


async def test_too_many_names_that_are_never_answered_are_a_fault_that_passes(reached, monkeypatch):
    monkeypatch.setattr(connections, "CONNECT_TIMEOUT_S", 0.5)
    mute = await asyncio.gather(*[reached(f"mute{number}") for number in range(20)], return_exceptions=True)
    assert {type(error) for error in mute} == {SourceUnreachable}
    assert "cannot find host mute0: no name server answered within 0.5 s" in mute[0].detail
    with pytest.raises(SourceUnreachable, match="other hosts are being looked up") as caught:
        await reached("good")
    assert Failure.of(caught.value).passing


async def test_names_that_are_never_answered_keep_no_other_source_from_its_runs(reached):
    mute = [asyncio.create_task(reached(f"mute{number}")) for number in range(8)]
    await asyncio.sleep(0.1)
    assert await reached("good") == [{"a": 1}]
    for task in mute:
        task.cancel()
    await asyncio.gather(*mute, return_exceptions=True)
    assert await reached("good") == [{"a": 1}]


async def test_an_address_that_says_nothing_leaves_time_for_the_next(reached, source_db, monkeypatch):
    monkeypatch.setattr(connections, "CONNECT_TIMEOUT_S", 3.0)
    with socket.create_server((ELSEWHERE, source_db.port)):
        assert await reached("many") == [{"a": 1}]
