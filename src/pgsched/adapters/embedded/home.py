"""The folder PGSCHED_HOME: made for one user, and what the embedded server keeps in it.

::

    PGSCHED_HOME/                 0700
    └── postgres/                 0700
        ├── data/                 Postgres's own folder (as root, where user namespaces are off: a link)
        ├── superuser-password    0600
        ├── application-password  0600
        ├── port                  the port of the last start, taken again when it is free
        ├── lock                  held while `pgsched up` runs here
        └── postgres.log(.1)      the server's stderr, bounded
"""

from __future__ import annotations

import fcntl
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from pgsched.domain.errors import EmbeddedFault, SettingFault

#: names that only pgsched puts into its home; a folder with other things in it is not narrowed
OUR_NAMES = frozenset({"postgres", "keys", "admin-password", "pepper"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """The paths of one embedded server."""

    #: PGSCHED_HOME, absolute
    home: Path

    @property
    def folder(self) -> Path:
        """All that belongs to the embedded server."""
        return self.home / "postgres"

    @property
    def data(self) -> Path:
        """Postgres's data folder."""
        return self.folder / "data"

    @property
    def superuser_password(self) -> Path:
        """File with the superuser's password."""
        return self.folder / "superuser-password"

    @property
    def application_password(self) -> Path:
        """File with the password of the role pgsched."""
        return self.folder / "application-password"

    @property
    def port(self) -> Path:
        """File with the port of the last start."""
        return self.folder / "port"

    @property
    def lock(self) -> Path:
        """File whose lock says that a supervisor runs here."""
        return self.folder / "lock"

    @property
    def log(self) -> Path:
        """File with the server's messages."""
        return self.folder / "postgres.log"

    def made_by(self) -> int | None:
        """Return the major version of Postgres that made the data folder, None when there is none."""
        try:
            return int((self.data / "PG_VERSION").read_text(encoding="ascii"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise EmbeddedFault(f"the data folder {self.data} cannot be read: {error}") from None


def layout_of(home: Path) -> Layout:
    """Return the paths under a home, made absolute."""
    return Layout(home=home.absolute())


def ensure_home(home: Path) -> Path:
    """Make PGSCHED_HOME with mode 0700, or see that it is closed to others; return it absolute.

    A folder of ours that is too open is narrowed; its parents are never touched, and a folder that holds
    other things than pgsched's is left alone.

    Raises SettingFault naming PGSCHED_HOME.
    """
    home = home.absolute()
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = home.stat()
        if found.st_uid not in (os.geteuid(), 0) and os.geteuid() != 0:
            raise SettingFault("PGSCHED_HOME", f"{home} belongs to another user; choose a folder of your own")
        if found.st_mode & 0o077:
            narrow(home, owned=found.st_uid == os.geteuid())
    except OSError as error:
        raise SettingFault("PGSCHED_HOME", f"{home} cannot be used: {error.strerror}") from None
    return home


def narrow(home: Path, *, owned: bool) -> None:
    """Take the access of group and others away from a home that holds nothing but ours.

    Raises SettingFault when it is not ours to narrow.
    """
    strangers = {entry.name for entry in home.iterdir()} - OUR_NAMES
    if strangers or not owned:
        raise SettingFault(
            "PGSCHED_HOME",
            f"{home} is open to other users and {'holds other files' if strangers else 'not yours'}; "
            "choose a folder of its own, or `chmod 700` it",
        )
    home.chmod(0o700)


def ensure_folder(folder: Path) -> None:
    """Make a private folder below the home; raises EmbeddedFault."""
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise EmbeddedFault(f"the folder {folder} cannot be made: {error.strerror}") from None


def read_secret(path: Path) -> str | None:
    """Return the one line of a secret file, None when there is no such file or it is empty."""
    try:
        return path.read_text(encoding="ascii").strip() or None
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError):
        raise EmbeddedFault(f"the file {path} cannot be read; see who owns it and its mode") from None


def new_secret() -> str:
    """Return a password of 256 random bits in URL-safe characters."""
    return secrets.token_urlsafe(32)


def write_private(path: Path, text: str) -> None:
    """Write a file of mode 0600 whole or not at all, and durably; raises OSError."""
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f"{text}\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable (fsync(2) of the directory)."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class HomeLock:
    """The right to run the embedded server of one home; ends with the process, even by kill -9."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = None

    def take(self) -> None:
        """Take the lock, or keep it; raises EmbeddedFault when another holds it."""
        if self._handle is not None:
            return
        try:
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise EmbeddedFault(f"the file {self._path} cannot be used: {error.strerror}") from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(handle, 32, 0).decode("ascii", "replace").strip()
            os.close(handle)
            raise EmbeddedFault(
                f"pgsched is already running in {self._path.parent.parent} (process {holder or 'unknown'}); "
                "stop that one first or choose another PGSCHED_HOME"
            ) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode("ascii"), 0)
        self._handle = handle

    def give_back(self) -> None:
        """Release the lock; harmless when it is not held."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None
