"""The fleet: workers and API processes as real processes, and what was done to each of them and when."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from chaos.namespaces import Host, Hosts
from chaos.place import Place
from chaos.proxy import Proxy

#: the line of its log with which a worker begins its work
_READY = re.compile(r"^<\d+>1 (\S+) .* worker\.ready ", re.MULTILINE)
#: seconds a worker that is told to stop may take: its drain, and leaving
DRAIN_S = 35.0


@dataclass(kw_only=True)
class Hurt:
    """A time in which a process could not do its duty; the checker reads these."""

    #: name of the process (its application_name), ``*`` for all
    who: str
    #: kill, freeze, stop, cut, server, source …
    kind: str
    #: unix seconds
    since: float
    #: unix seconds, infinite while it lasts
    until: float = float("inf")


@dataclass(kw_only=True)
class Member:
    """One process and its own way to the metadata database."""

    name: str
    process: subprocess.Popen[bytes]
    link: Proxy
    port: int = 0
    #: its network namespace, None when it lives in ours
    host: Host | None = None

    @property
    def is_alive(self) -> bool:
        """Whether it runs (a frozen one does)."""
        return self.process.poll() is None

    def send(self, number: signal.Signals) -> None:
        """Signal it, if it is still there."""
        with suppress(ProcessLookupError):
            os.kill(self.process.pid, number)


@dataclass(kw_only=True)
class Fleet:
    """All members, dead ones included, by name."""

    place: Place
    lease_s: float
    concurrency: int = 12
    mutant: str = ""
    #: how many invented migrations newer processes know
    newer: int = 0
    hosts: Hosts = field(default_factory=Hosts)
    workers: list[Member] = field(default_factory=list)
    apis: list[Member] = field(default_factory=list)
    hurts: list[Hurt] = field(default_factory=list)
    _count: int = 0

    async def worker(self) -> Member:
        """Start one more worker."""
        self._count += 1
        taken = [member.host for member in self.alive()]
        host = next((host for host in self.hosts.all if host.is_whole and host not in taken), None)
        arguments = ("worker", "--concurrency", str(self.concurrency))
        member = await self._start(f"worker{self._count}", *arguments, host=host)
        self.workers.append(member)
        return member

    async def api(self) -> Member:
        """Start one more API process."""
        self._count += 1
        port = _free_port()
        member = await self._start(f"api{self._count}", "api", "--port", str(port))
        member.port = port
        self.apis.append(member)
        return member

    def alive(self) -> list[Member]:
        """The workers that run."""
        return [worker for worker in self.workers if worker.is_alive]

    def hurt(self, who: str, kind: str, *, until: float = float("inf")) -> Hurt:
        """Note that something begins to be done to a process."""
        hurt = Hurt(who=who, kind=kind, since=time.time(), until=until)
        self.hurts.append(hurt)
        return hurt

    def kill(self, member: Member) -> None:
        """End it as a power cut would."""
        self.hurt(member.name, "kill")
        member.send(signal.SIGKILL)
        member.process.wait()

    async def stop(self, member: Member) -> bool:
        """Ask a member to end; False when it did not in time, and nothing else was done to it."""
        self.hurt(member.name, "stop")
        asked = time.time()
        member.send(signal.SIGTERM)
        try:
            await asyncio.to_thread(member.process.wait, DRAIN_S)
        except subprocess.TimeoutExpired:
            others = [hurt for hurt in self.hurts if hurt.kind != "stop" and hurt.who in (member.name, "*")]
            return any(hurt.until > asked for hurt in others)
        return True

    async def close(self) -> None:
        """End everything, by force."""
        for member in (*self.workers, *self.apis):
            member.send(signal.SIGCONT)
            member.send(signal.SIGKILL)
            member.process.wait()
            await member.link.close()

    def log(self, member: Member) -> str:
        """What a member wrote to its log, turned over or not."""
        paths = sorted((self.place.folder / "logs").glob(f"{member.name}.log*"), reverse=True)
        return "".join(path.read_text("utf-8", "replace") for path in paths)

    def ready(self) -> dict[str, float]:
        """When each worker was ready, in unix seconds, by its name; those that never were are left out."""
        lines = ((member.name, _READY.search(self.log(member))) for member in self.workers)
        return {name: datetime.fromisoformat(line[1]).timestamp() for name, line in lines if line is not None}

    def said(self, member: Member) -> str:
        """What a member printed."""
        return self._output(member.name).read_text("utf-8", "replace")

    def _output(self, name: str) -> Path:
        return self.place.folder / f"{name}.out"

    async def _start(self, name: str, *arguments: str, host: Host | None = None) -> Member:
        direct = self.place.direct
        link = Proxy((direct.host, direct.port))
        if host is not None:
            link.host = host.to_metadata.address
        await link.open()
        environment = {
            **self.place.environment,
            "APP_NAME": name,
            "PG_DSN_APP": self.place.dsn_through(link.host, link.port),
            "CHAOS_LEASE": str(self.lease_s),
            "CHAOS_MUTANT": self.mutant,
            "CHAOS_NEWER": str(self.newer),
        }
        # becomes the command itself, under the same process id
        entering = [] if host is None else ["ip", "netns", "exec", host.name]
        with self._output(name).open("wb") as out:
            process = subprocess.Popen(  # noqa: ASYNC220 (a fork is all there is to wait for)
                [*entering, sys.executable, "-m", "chaos.member", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=environment,
                cwd=self.place.folder,
                start_new_session=True,
            )
        return Member(name=name, process=process, link=link, host=host)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
