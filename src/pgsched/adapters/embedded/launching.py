"""Starting Postgres's programs as a user they accept, tied to the life of this process.

Postgres refuses to run as root, and initdb wants a user with a name. Three ways, in this order:
as ourselves; as ourselves but masked, in a user namespace where we carry an ordinary user's number (works
below a folder only root may enter, and files stay ours); as another user for good.
"""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pgsched.adapters.embedded.binaries import Programs
from pgsched.domain.errors import EmbeddedFault

#: users without powers that Postgres may run as, the preferred first
ORDINARY_USERS = ("postgres", "nobody")
#: variables handed on to Postgres; no PG* variable, and none that may hold a secret
KEPT_VARIABLES = frozenset({"PATH", "HOME", "TMPDIR"})
KEPT_PREFIXES = ("LD_", "DYLD_", "FAKETIME")


@dataclass(frozen=True, kw_only=True, slots=True)
class Guise:
    """As whom Postgres's programs run."""

    #: uid to appear as inside a user namespace, None for no namespace
    mask: int | None = None
    #: uid and gid to become for good, None to stay who we are
    become: tuple[int, int] | None = None

    @property
    def owner(self) -> int:
        """The uid that owns the files, as seen from outside."""
        return self.become[0] if self.become is not None else os.geteuid()


def command(
    guise: Guise,
    folder: Path,
    program: Path,
    *arguments: str,
    death: signal.Signals = signal.SIGINT,
    leash: int | None = None,
) -> list[str]:
    """Return the command that runs ``program`` in ``folder`` and sends it ``death`` when we die.

    ``leash`` is the reading end of a pipe, needed where the kernel has no parent-death signal.
    """
    order = {
        "folder": str(folder),
        "parent": os.getpid(),
        "signal": int(death),
        "mask": guise.mask,
        "become": guise.become,
        "leash": leash,
    }
    script = Path(__file__).with_name("launch.py")
    return [sys.executable, "-I", "-S", str(script), json.dumps(order), str(program), *arguments]


def environment() -> dict[str, str]:
    """Return the variables Postgres gets: few, and English messages."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in KEPT_VARIABLES or name.startswith(KEPT_PREFIXES)
    }
    return {**kept, "LC_ALL": "C"}


async def run(guise: Guise, folder: Path, program: Path, *arguments: str) -> tuple[int, str]:
    """Run a program to its end; return its exit code and what it printed on both outputs.

    It is ended when the caller is cancelled, and on Linux dies with this process.
    """
    process = await asyncio.create_subprocess_exec(
        *command(guise, folder, program, *arguments),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment(),
        start_new_session=True,
    )
    try:
        output, _ = await process.communicate()
    except BaseException:
        if process.returncode is None:
            # The whole session: initdb has a server of its own as a child.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
        raise
    code = process.returncode
    return (1 if code is None else code), output.decode("utf-8", "replace")


async def choose(programs: Programs, folder: Path, data: Path) -> Guise:
    """Return how to run ``programs`` on ``data``, which may not exist yet, with ``folder`` in reach.

    Raises EmbeddedFault when there is no way.
    """
    ourselves, owner = os.geteuid(), owner_of(data)
    if owner is not None and owner != ourselves:
        if ourselves != 0:
            raise EmbeddedFault(f"the data folder {data} belongs to another user; run pgsched as that user")
        return Guise(become=(owner, named(owner).pw_gid))
    if ourselves != 0 and has_name(ourselves):
        return Guise()
    masked = await probe_mask(programs, folder)
    if masked is not None:
        return masked
    if ourselves != 0:
        raise EmbeddedFault(
            f"Postgres needs a user with a name and user id {ourselves} has none; add it to /etc/passwd "
            "or set PG_DSN_APP to a database of your own"
        )
    if owner is not None:
        raise EmbeddedFault(
            f"the data folder {data} belongs to root, as whom Postgres does not run, and user namespaces are "
            "off on this machine; run pgsched as an ordinary user with a PGSCHED_HOME of its own"
        )
    user = ordinary_user()
    return Guise(become=(user.pw_uid, user.pw_gid))


def owner_of(data: Path) -> int | None:
    """Return the user id that owns the data folder, None when there is no such folder yet."""
    try:
        return data.stat().st_uid
    except FileNotFoundError:
        return None


async def probe_mask(programs: Programs, folder: Path) -> Guise | None:
    """Return a masked guise when this machine allows user namespaces and the folders are within reach."""
    if sys.platform != "linux":
        return None
    guise = Guise(mask=ordinary_user().pw_uid)
    code, _ = await run(guise, folder, programs.postgres, "--version")
    return guise if code == 0 else None


def ordinary_user() -> pwd.struct_passwd:
    """Return a user of this machine without powers; raises EmbeddedFault when there is none."""
    for name in ORDINARY_USERS:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise EmbeddedFault(
        "Postgres does not run as root and this machine has no user postgres or nobody; run pgsched as an "
        "ordinary user"
    )


def has_name(uid: int) -> bool:
    """Return whether the user database knows this user id."""
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def named(uid: int) -> pwd.struct_passwd:
    """Return the user with this id; raises EmbeddedFault when it has no name."""
    try:
        return pwd.getpwuid(uid)
    except KeyError:
        raise EmbeddedFault(
            f"the embedded data folder belongs to user id {uid}, which has no name here"
        ) from None
