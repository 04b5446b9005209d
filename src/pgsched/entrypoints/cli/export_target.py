"""Where an export goes: a file that is replaced as a whole, a device, a pipe, or a descriptor we have."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Final

import click

#: how a path names a descriptor of this process, once links are followed: /dev/stdout, /dev/fd/1 and the like
_DESCRIPTOR: Final = re.compile(r"/(?:dev|proc/(?:self|thread-self|{pid}(?:/task/\d+)?))/fd/(\d+)")
#: most links that are followed, as Linux does
_MOST_LINKS: Final = 40
#: begins the names of files that are not complete; short, so that any name has room for it
_PREFIX: Final = ".export-"


class Target:
    """Takes what is written; a fault says where it was to go."""

    def __init__(self, descriptor: int, name: str) -> None:
        """Take an open descriptor, which stays its owner's."""
        self._descriptor = descriptor
        self._name = name
        #: bytes written so far
        self.size = 0

    def write(self, piece: bytes) -> None:
        """Write all of a piece; nothing is held back.

        Raises:
            BrokenPipeError: nobody reads it any more.
            OSError: what the system says, with the name of the place.
        """
        rest = memoryview(piece)
        with _named(self._name):
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        self.size += len(piece)

    @property
    def shows_progress(self) -> bool:
        """Whether a bar on the terminal is of use: what reads a pipe may write to the terminal itself."""
        return sys.stderr.isatty() and stat.S_ISREG(os.fstat(self._descriptor).st_mode)


@contextlib.contextmanager
def opened(path: Path | None) -> Iterator[Target]:
    """Open what ``--output`` names, stdout for None.

    Raises:
        OSError: it cannot be written to, or the disk is full.
        click.ClickException: stdout was closed when this process began.
    """
    descriptor = 1 if path is None else _descriptor(path)
    if path is None or descriptor == 1:
        if sys.stdout.name == os.devnull:
            raise click.ClickException("standard output is closed; redirect it, or give --output FILE")
        sys.stdout.flush()
        yield Target(sys.stdout.fileno(), "standard output")
    elif descriptor is not None:
        # not opened anew, which would begin at the start of a file that others append to
        yield Target(descriptor, str(path))
    elif path.exists() and not path.is_file():
        # a device or a pipe: there is nothing to put in its place
        with path.open("wb", buffering=0) as there:
            yield Target(there.fileno(), str(path))
    else:
        with _replacing(path) as target:
            yield target


@contextlib.contextmanager
def leaving_on_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end this process the way Ctrl-C does: what was begun is cleared away.

    The exit code is 128 and the signal's number. A second signal ends it at once. What was ignored stays so.
    """
    numbers = [n for n in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(n) == signal.SIG_DFL]

    def leave(number: int, _frame: FrameType | None) -> None:
        reset()
        raise SystemExit(128 + number)

    def reset() -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)

    for number in numbers:
        signal.signal(number, leave)
    try:
        yield
    finally:
        reset()


def _descriptor(path: Path) -> int | None:
    """Return the descriptor of this process that a path leads to, None when it leads elsewhere."""
    pattern = _DESCRIPTOR.pattern.replace("{pid}", str(os.getpid()))
    for _ in range(_MOST_LINKS):
        here = Path(os.path.realpath(path.parent)) / path.name
        if found := re.fullmatch(pattern, str(here)):
            return int(found[1])
        try:
            path = here.parent / here.readlink()
        except OSError:
            break
    return None


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[Target]:
    """Write beside the file and put it in its place when all is written: a half of it is never there."""
    # A link is followed, so that the file it leads to is replaced and not the link.
    target = path.resolve()
    with _named(str(path), whole=True):
        descriptor, written = tempfile.mkstemp(dir=target.parent, prefix=_PREFIX)
    try:
        try:
            yield Target(descriptor, str(path))
            with _named(str(path)):
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        Path(written).chmod(_mode(target))
        with _named(str(path), whole=True):
            Path(written).replace(target)
    except BaseException:
        Path(written).unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def _named(name: str, *, whole: bool = False) -> Iterator[None]:
    """Let an error of the system say the name that was asked for; ``whole`` in place of one of our own."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        if whole or error.filename is None:
            error.filename = name
        raise


def _mode(target: Path) -> int:
    """Return the mode of the file that is replaced, else what the umask leaves of 0666."""
    try:
        return target.stat().st_mode & 0o777
    except FileNotFoundError:
        umask = os.umask(0o022)
        os.umask(umask)
        return 0o666 & ~umask
