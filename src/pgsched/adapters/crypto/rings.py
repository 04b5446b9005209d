"""The key files of this machine as rings that change: read again when they change, rotated step by step."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Generic, TypeVar

from pgsched.adapters.crypto.key_files import replace_ring
from pgsched.adapters.crypto.keygen import generate_pair
from pgsched.adapters.crypto.keyring import PrivateKeyring, PublicKeyring
from pgsched.application.ports.secrets import KeyVersions
from pgsched.domain.errors import KeyFault, NoPrivateKey

log = logging.getLogger(__name__)

_Ring = TypeVar("_Ring", bound=PublicKeyring | PrivateKeyring)

#: what tells one state of a file from another: inode, change of content, size, change of mode or owner
_Stamp = tuple[int, int, int, int]


class Watched(Generic[_Ring]):
    """A key file that is read again when it changes; asking costs one ``stat``.

    A file that cannot be read any more keeps what was read last, and one warning says so: a running service
    must not fail for a file that is being replaced.
    """

    def __init__(self, path: Path, load: Callable[[Path], _Ring]) -> None:
        """Read the file.

        Raises:
            KeyFault: it is missing, malformed or open to others.
        """
        self._path = path
        self._load = load
        self._lock = Lock()
        # the stamp first: a change between the two is seen as one at the next look
        self._stamp = _stamp(path)
        self._ring = load(path)

    def __call__(self) -> _Ring:
        """Return the ring as the file has it now."""
        stamp = _stamp(self._path)
        if stamp != self._stamp:
            with self._lock:
                self._read(stamp)
        return self._ring

    def _read(self, stamp: _Stamp | None) -> None:
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._ring = self._load(self._path)
        except KeyFault as error:
            log.warning(
                "%s; the keys read before stay in use", error.detail, extra={"action": "keys.unreadable"}
            )
        else:
            versions = sorted(self._ring.keys)
            log.info(
                "the key file %s was read again: versions %s",
                self._path.name,
                ", ".join(map(str, versions)),
                extra={"action": "keys.reread", "versions": versions},
            )


def _stamp(path: Path) -> _Stamp | None:
    try:
        found = os.stat(path)  # noqa: PTH116 (half the cost of Path.stat, on the path of every run)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size, found.st_ctime_ns


class KeyFileRings:
    """The port ``KeyRings`` over a public and a private key file."""

    def __init__(self, *, public: Path, private: Path | None) -> None:
        self._public = public
        self._private = private

    def versions(self) -> KeyVersions:
        """Read both files and check that they fit together."""
        public, private = self._read()
        opening = private.public().keys
        for version, key in sorted(public.keys.items(), reverse=True):
            if version in opening and opening[version] != key:
                raise KeyFault(
                    f"public and private key of version {version} are not a pair;"
                    " correct PUBLIC_KEY_B64_PATH or APP_PRIVATE_KEY_B64_PATH"
                )
        if public.current_version not in opening:
            raise KeyFault(
                f"the private key file does not hold version {public.current_version}, which seals now;"
                " what is sealed could not be opened here"
            )
        return KeyVersions(sealing=frozenset(public.keys), opening=frozenset(opening))

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other rotations on this machine out, by a lock on the private file's folder."""
        folder = self._private_path().resolve().parent
        try:
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise KeyFault(f"{folder} cannot be opened: {error.strerror}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise KeyFault("another rotation of these keys is running; wait for its end") from None
        finally:
            os.close(descriptor)

    def prepare(self) -> int:
        """Add the private half of a new pair."""
        _, private = self._read()
        version = max(private.keys) + 1
        keys = {**private.keys, version: generate_pair().private}
        replace_ring(self._private_path(), keys, mode=0o600)
        return version

    def publish(self, version: int) -> None:
        """Add the public half."""
        public, private = self._read()
        keys = {**public.keys, version: private.public().keys[version]}
        replace_ring(self._public, keys, mode=0o644)

    def retire(self, keep: int) -> None:
        """Drop every other version, the public half first: nothing is sealed that could not be opened."""
        public, private = self._read()
        if set(public.keys) != {keep}:
            replace_ring(self._public, {keep: public.keys[keep]}, mode=0o644)
        if set(private.keys) != {keep}:
            replace_ring(self._private_path(), {keep: private.keys[keep]}, mode=0o600)

    def _read(self) -> tuple[PublicKeyring, PrivateKeyring]:
        return PublicKeyring.load(self._public), PrivateKeyring.load(self._private_path())

    def _private_path(self) -> Path:
        if self._private is None:
            raise NoPrivateKey(
                "no private key is configured here; rotate where it is, or set APP_PRIVATE_KEY_B64_PATH"
            )
        return self._private
