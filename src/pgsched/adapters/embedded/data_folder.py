"""Making the data folder: whole, or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from hashlib import sha256
from pathlib import Path

from pgsched.adapters.embedded import home as homes
from pgsched.adapters.embedded.binaries import Programs
from pgsched.adapters.embedded.launching import Guise, run
from pgsched.domain.errors import EmbeddedFault

#: superuser of the embedded server
SUPERUSER = "postgres"
#: prefix of folders that a killed initdb may leave
DRAFT = "initdb-"
#: where the data folders of another user than root go, one for each home
OUTSIDE = Path("/var/lib/pgsched")


def room_for(layout: homes.Layout, guise: Guise, outside: Path = OUTSIDE) -> Path:
    """Return the folder that holds the data folder and is open to the user Postgres runs as.

    That is the home's own, except when root has to run Postgres as another user: such a user cannot
    enter a home of root's, and opening it (or its parents) would open what else is there. Then it is a
    folder of that user's own below ``outside``, and ``data`` in the home becomes a link to it.

    Raises EmbeddedFault.
    """
    if layout.data.exists():
        return layout.data.resolve().parent
    if guise.become is None:
        return layout.folder
    room = outside / sha256(os.fsencode(layout.home.resolve())).hexdigest()[:16]
    try:
        outside.mkdir(mode=0o755, parents=True, exist_ok=True)
        room.mkdir(mode=0o700, exist_ok=True)
        os.chown(room, *guise.become)
        layout.data.unlink(missing_ok=True)
        layout.data.symlink_to(room / "data")
    except OSError as error:
        raise EmbeddedFault(f"the data folder {room} cannot be made: {error.strerror}") from None
    return room


async def make(layout: homes.Layout, programs: Programs, guise: Guise, room: Path, *, durable: bool) -> None:
    """Run initdb in a folder of its own and rename the result into place.

    A kill at any moment leaves either no data folder or a whole one. The superuser's password is written
    before the data that knows it, and kept when it is there already.

    Raises EmbeddedFault with initdb's own words.
    """
    discard_drafts(room)
    password = homes.read_secret(layout.superuser_password)
    if password is None:
        password = homes.new_secret()
        homes.write_private(layout.superuser_password, password)
    draft = Path(tempfile.mkdtemp(prefix=DRAFT, dir=room))
    try:
        pwfile = draft / "pwfile"
        homes.write_private(pwfile, password)
        if guise.become is not None:
            os.chown(draft, *guise.become)
            os.chown(pwfile, *guise.become)
        code, output = 1, ""
        for locale in locales(programs):
            code, output = await run(
                guise,
                room,
                programs.initdb,
                f"--pgdata={draft / 'data'}",
                f"--username={SUPERUSER}",
                f"--pwfile={pwfile}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--data-checksums",
                *locale,
                *(() if durable else ("--no-sync",)),
            )
            if code == 0 or "locale" not in output:
                break
        if code != 0:
            raise EmbeddedFault(f"initdb failed in {room}: {last_words(output)}")
        (draft / "data").rename(room / "data")
        homes.sync_folder(room)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def locales(programs: Programs) -> list[tuple[str, ...]]:
    """Return the locale options to try: code point order and Unicode letter case, the same everywhere.

    From 17 Postgres has such a locale built in; before, the C library's C.UTF-8, which not every system
    has; else plain C, where only ASCII letters have a case.
    """
    if programs.major >= 17:
        return [("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C")]
    return [("--locale=C.UTF-8",), ("--locale=C",)]


def discard_drafts(room: Path) -> None:
    """Remove what killed runs of initdb left."""
    for draft in room.glob(f"{DRAFT}*"):
        shutil.rmtree(draft, ignore_errors=True)


def last_words(output: str) -> str:
    """Return the line of a program's output that says what went wrong, without its trailing noise."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for mark in ("FATAL:", "PANIC:", "error:", "launch:", "ERROR:", "postgres: could not"):
        for line in reversed(lines):
            if mark in line:
                return line[line.index(mark) :]
    return lines[-1] if lines else "it said nothing"
