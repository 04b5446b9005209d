"""Hosts of their own for workers: network namespaces with wires that can be cut.

A wire that is cut loses packets without a word to either side, as a pulled plug or a firewall does; no proxy
can play that to the kernel's timers (keepalives, ``tcp_user_timeout``). Needs root and iproute2.
"""

from __future__ import annotations

import random
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

#: how many there are; the other workers live in ours
HOSTS = 2


@dataclass(kw_only=True)
class Wire:
    """One cable; ours is the end with the address of the servers."""

    #: name of the device at our end
    device: str
    #: address of our end
    address: str
    is_cut: bool = False

    def cut(self) -> None:
        """Lose everything from here on."""
        self.is_cut = True
        _ip("link", "set", self.device, "down")

    def mend(self) -> None:
        """Carry packets again."""
        _ip("link", "set", self.device, "up")
        self.is_cut = False


@dataclass(kw_only=True)
class Host:
    """One namespace."""

    name: str
    to_metadata: Wire
    to_sources: Wire

    @property
    def is_whole(self) -> bool:
        """Whether no wire is cut."""
        return not self.to_metadata.is_cut and not self.to_sources.is_cut


@dataclass(kw_only=True)
class Hosts:
    """All of them, and the address at which everybody finds the sources."""

    sources_at: str = "127.0.0.1"
    all: list[Host] = field(default_factory=list)

    def mend(self) -> None:
        """Mend every wire."""
        for host in self.all:
            for wire in (host.to_metadata, host.to_sources):
                if wire.is_cut:
                    wire.mend()


@asynccontextmanager
async def hosts(wanted: bool) -> AsyncIterator[Hosts]:
    """Make them where the machine allows; none where it does not."""
    made = Hosts()
    # of the networks that are set aside for measuring (RFC 2544)
    number = random.SystemRandom().randrange(256)
    try:
        if wanted:
            try:
                _ip("address", "add", f"198.18.{number}.1/32", "dev", "lo")
                made.sources_at = f"198.18.{number}.1"
                made.all += [_host(number, place, made.sources_at) for place in range(HOSTS)]
            except (OSError, subprocess.CalledProcessError):
                _remove(number)
                made = Hosts()
        yield made
    finally:
        if made.all:
            _remove(number)


def _host(number: int, place: int, sources_at: str) -> Host:
    name = f"chaos{number}-{place}"
    _ip("netns", "add", name)
    _ip("link", "set", "lo", "up", inside=name)
    wires = []
    for end, kind in enumerate("ms"):
        ours, theirs = (f"198.19.{number}.{place * 16 + end * 4 + side}" for side in (1, 2))
        device = f"ch{number}-{place}{kind}"
        _ip("link", "add", device, "type", "veth", "peer", "name", f"{kind}0", "netns", name)
        _ip("address", "add", f"{ours}/30", "dev", device)
        _ip("link", "set", device, "up")
        _ip("address", "add", f"{theirs}/30", "dev", f"{kind}0", inside=name)
        _ip("link", "set", f"{kind}0", "up", inside=name)
        wires.append(Wire(device=device, address=ours))
    _ip("route", "add", sources_at, "via", wires[1].address, inside=name)
    return Host(name=name, to_metadata=wires[0], to_sources=wires[1])


def _remove(number: int) -> None:
    for place in range(HOSTS):
        _ip("netns", "delete", f"chaos{number}-{place}", check=False)
        # with a namespace its processes may outlive, the wires would stay
        for kind in "ms":
            _ip("link", "delete", f"ch{number}-{place}{kind}", check=False)
    _ip("address", "delete", f"198.18.{number}.1/32", "dev", "lo", check=False)


def _ip(*arguments: str, inside: str | None = None, check: bool = True) -> None:
    command = ["ip", *([] if inside is None else ["-n", inside]), *arguments]
    try:
        subprocess.run(command, check=check, capture_output=True)
    except OSError:
        if check:
            raise
