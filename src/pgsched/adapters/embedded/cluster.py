"""The embedded server: a direct child of the process that starts it, for as long as that lives."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from pgsched.adapters.embedded import data_folder, launching, postmaster, server_log
from pgsched.adapters.embedded import home as homes
from pgsched.adapters.embedded.binaries import Programs, find_programs
from pgsched.adapters.embedded.connection import ConnectionInfo
from pgsched.adapters.embedded.ports import LOOPBACK, free_port, read_port
from pgsched.adapters.embedded.provisioning import provision
from pgsched.adapters.embedded.server_settings import CARELESS, SETTINGS
from pgsched.domain.errors import EmbeddedFault

#: how often a port that was taken meanwhile is exchanged for another
PORT_ATTEMPTS = 5
#: how long a fast shutdown may take before an immediate one, in seconds
FAST_SHUTDOWN_S = 30.0


class EmbeddedCluster:
    """One embedded server under one home.

    ``start`` and ``stop`` belong to one thread that lives as long as the server: the kernel's parent-death
    signal watches the thread that started it (prctl(2)). They need no common event loop.
    """

    def __init__(
        self,
        home: Path,
        *,
        pg_bin: Path | None = None,
        durable: bool = True,
        settings: Mapping[str, str] | None = None,
        start_timeout_s: float = 180.0,
        outside: Path = data_folder.OUTSIDE,
    ) -> None:
        """Describe the server; nothing is touched before ``start``.

        ``pg_bin`` is the value of PGSCHED_PG_BIN. ``durable=False`` is for throw-away servers: quick, and
        broken by a power cut. ``settings`` are further server settings. ``outside`` is where the data goes
        when root can only run Postgres as another user.
        """
        self.layout = homes.layout_of(home)
        self._pg_bin = pg_bin
        self._durable = durable
        self._settings = {**SETTINGS, **({} if durable else CARELESS), **(settings or {})}
        self._start_timeout_s = start_timeout_s
        self._outside = outside
        self._lock = homes.HomeLock(self.layout.lock)
        self._process: subprocess.Popen[bytes] | None = None
        self._leash: int | None = None
        self._port = 0
        self._programs: Programs | None = None
        self._application: ConnectionInfo | None = None

    @property
    def programs(self) -> Programs:
        """The programs the server runs on; raises EmbeddedFault before the start."""
        if self._programs is None:
            raise EmbeddedFault("the embedded Postgres is not started")
        return self._programs

    @property
    def application(self) -> ConnectionInfo:
        """The role pgsched on its database; raises EmbeddedFault before the start."""
        if self._application is None:
            raise EmbeddedFault("the embedded Postgres is not started")
        return self._application

    @property
    def superuser(self) -> ConnectionInfo:
        """The superuser on the database postgres, to make other databases and roles; raises EmbeddedFault."""
        password = homes.read_secret(self.layout.superuser_password)
        if password is None:
            raise EmbeddedFault(
                f"the superuser's password file {self.layout.superuser_password} is missing; put it back, or "
                f"move {self.layout.folder} away to begin with an empty database"
            )
        return ConnectionInfo(
            host=LOOPBACK, port=self._port, user=data_folder.SUPERUSER, password=password, dbname="postgres"
        )

    @property
    def pid(self) -> int | None:
        """Process id of the running postmaster, None when there is none."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    async def start(self) -> ConnectionInfo:
        """Start the server, make what is missing, and return the application's way in.

        Makes the home and the data folder on the first start, recovers from a crash, ends what a killed
        server left. Returns when the database really answers; starting twice returns the same.

        Raises SettingFault for a bad PGSCHED_HOME or PGSCHED_PG_BIN, EmbeddedFault for the rest, with the
        server's own last words. Leaves no process behind when it fails or is cancelled.
        """
        if self.pid is not None:
            return self.application
        homes.ensure_home(self.layout.home)
        homes.ensure_folder(self.layout.folder)
        self._lock.take()
        self._dispose()
        try:
            guise, room = await self._prepare()
            await self._launch(guise, room)
            self._application = await provision(self.superuser, self.layout)
        except OSError as error:
            await self.stop()
            raise EmbeddedFault(f"the embedded Postgres cannot use {self.layout.folder}: {error}") from None
        except BaseException:
            await self.stop()
            raise
        return self._application

    async def _prepare(self) -> tuple[launching.Guise, Path]:
        """Choose programs and user, end leftovers, make the data folder."""
        layout = self.layout
        made_by = layout.made_by()
        self._programs = await asyncio.to_thread(
            find_programs, self._pg_bin, made_by=made_by, data=layout.data
        )
        guise = await launching.choose(self._programs, layout.folder, layout.data)
        room = data_folder.room_for(layout, guise, self._outside)
        data_folder.discard_drafts(room)
        if made_by is None:
            if layout.data.exists():
                raise EmbeddedFault(
                    f"{layout.data} is no data folder of Postgres; move it away and start again"
                )
            await data_folder.make(layout, self._programs, guise, room, durable=self._durable)
        else:
            await postmaster.end_leftovers(layout.data)
        return guise, room

    async def _launch(self, guise: launching.Guise, room: Path) -> None:
        """Start the postmaster, on another port when the chosen one is taken meanwhile."""
        wanted = read_port(self.layout.port)
        for _ in range(PORT_ATTEMPTS):
            self._port = free_port(wanted)
            since = server_log.begin(self.layout.log)
            self._spawn(guise, room)
            if await self._ready():
                if self._port != read_port(self.layout.port):
                    homes.write_private(self.layout.port, str(self._port))
                return
            words = server_log.since(self.layout.log, since)
            self._dispose()
            if "could not bind" not in words and "could not create any TCP/IP sockets" not in words:
                raise EmbeddedFault(
                    f"the embedded Postgres did not start: {data_folder.last_words(words)}; "
                    f"its log is {self.layout.log}"
                )
            wanted = 0
        raise EmbeddedFault(f"no port on {LOOPBACK} stayed free for the embedded Postgres; start again")

    def _spawn(self, guise: launching.Guise, room: Path) -> None:
        """Start the server's process, away from the terminal, so that Ctrl-C reaches only its parent."""
        settings = {**self._settings, "port": str(self._port)}
        theirs, self._leash = (None, None) if sys.platform == "linux" else os.pipe()
        command = launching.command(
            guise,
            room,
            self.programs.postgres,
            "-D",
            str(room / "data"),
            *(part for name, value in settings.items() for part in ("-c", f"{name}={value}")),
            leash=theirs,
        )
        with self.layout.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own launcher and the chosen programs
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=launching.environment(),
                start_new_session=True,
                pass_fds=() if theirs is None else (theirs,),
            )
        if theirs is not None:
            os.close(theirs)

    async def _ready(self) -> bool:
        """Wait until the server of our own process accepts connections; False when it ended instead.

        The pid file is asked before the port: on the port another's server might answer.
        Raises EmbeddedFault when the time is over.
        """
        end = time.monotonic() + self._start_timeout_s
        while self.pid is not None:
            state = postmaster.read_pid_file(self.layout.data)
            if state is not None and state.pid == self.pid and state.status == "ready":
                return True
            if time.monotonic() > end:
                raise EmbeddedFault(
                    f"the embedded Postgres was not ready within {self._start_timeout_s:.0f} s; "
                    f"see its log {self.layout.log}"
                )
            await asyncio.sleep(0.01)
        return False

    async def wait(self) -> int:
        """Wait until the server ends by itself or is stopped; return its exit code.

        For the supervisor, who starts it again. Keeps the log within its bound meanwhile.
        """
        process = self._process
        if process is None:
            raise EmbeddedFault("the embedded Postgres is not started")
        while process.poll() is None:
            server_log.trim(self.layout.log)
            await asyncio.sleep(0.25)
        return process.returncode

    async def stop(self) -> None:
        """Stop the server and leave no process of it: fast, then at once, then by force; release the home.

        Harmless when it does not run.
        """
        try:
            process = self._process
            for number, patience_s in ((signal.SIGINT, FAST_SHUTDOWN_S), (signal.SIGQUIT, 5.0)):
                if process is not None and process.poll() is None:
                    process.send_signal(number)
                    await ended(process, patience_s)
            if process is not None:
                if process.poll() is None:
                    process.kill()
                if process.wait() != 0:
                    await postmaster.end_leftovers(self.layout.data)
        finally:
            self._dispose()
            self._lock.give_back()

    def _dispose(self) -> None:
        """Forget the ended process and close the pipe that kept it."""
        self._process = None
        if self._leash is not None:
            os.close(self._leash)
            self._leash = None


async def ended(process: subprocess.Popen[bytes], patience_s: float) -> bool:
    """Wait for the end of a process, at most so long; return whether it came."""
    end = time.monotonic() + patience_s
    while process.poll() is None:
        if time.monotonic() > end:
            return False
        await asyncio.sleep(0.02)
    return True
