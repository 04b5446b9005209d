"""Key rotation: a new pair, every password sealed again, the old pair dropped when nothing needs it.

The order is what keeps running services whole: the private half is there before anything is sealed with its
public half, and the old private half goes after everything was sealed anew. Where a rotation stands is read
off the rings and the sources, so that it goes on wherever it was killed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from pgsched.application.ports.repositories import Resealed, Sources
from pgsched.application.ports.secrets import KeyRings, PasswordVault
from pgsched.domain.errors import KeyFault
from pgsched.domain.sources import DataSource

#: sources sealed again in one statement
BATCH = 100
#: seconds within which a service that sealed with the old key a moment ago has stored it
SETTLE_S = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Unopened:
    """A source whose password does not open."""

    #: the source's name
    source: str
    #: version it is said to be sealed with
    key_version: int
    #: why not, and what to do
    detail: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Opened:
    """What opening every stored password found."""

    #: passwords that opened, by key version
    by_version: dict[int, int]
    #: those that did not, by name of the source
    failures: tuple[Unopened, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rotation:
    """How far a rotation has come."""

    #: the version that seals, or will
    version: int
    #: passwords sealed again by this call
    resealed: int
    #: versions dropped by this call, ascending
    retired: tuple[int, ...]
    #: whether older versions are still in the rings
    unfinished: bool
    #: passwords that do not open; they keep the old versions from being dropped
    failures: tuple[Unopened, ...]


class RotateKeys:
    """Begins a rotation or goes on with one."""

    def __init__(
        self, sources: Sources, vault: PasswordVault, rings: KeyRings, *, settle_s: float = SETTLE_S
    ) -> None:
        self._sources = sources
        self._vault = vault
        self._rings = rings
        self._settle_s = settle_s

    async def __call__(self, *, prepare_only: bool = False, finish: bool = False) -> Rotation:
        """Make a new version unless one is under way, seal every password with it, verify each one.

        ``prepare_only`` stops after the new private half was added, so that it can be taken to other machines
        first. ``finish`` goes on with what is under way (nothing, when nothing is) and drops the older
        versions once no source needs them.

        Raises:
            NoPrivateKey: no private key is configured here.
            KeyFault: the rings are unusable, or another rotation is running.
        """
        with self._rings.held():
            versions = self._rings.versions()
            newest = versions.newest
            if not versions.rotating:
                if finish:
                    return Rotation(version=newest, resealed=0, retired=(), unfinished=False, failures=())
                newest = self._rings.prepare()
            if prepare_only:
                return Rotation(version=newest, resealed=0, retired=(), unfinished=True, failures=())
            if newest not in versions.sealing:
                self._rings.publish(newest)
            resealed, failures = await self._reseal(newest)
            retired: tuple[int, ...] = ()
            if finish and not failures:
                await asyncio.sleep(self._settle_s)
                again, failures = await self._reseal(newest)
                resealed += again
                if not failures:
                    old = self._rings.versions()
                    self._rings.retire(newest)
                    retired = tuple(sorted((old.sealing | old.opening) - {newest}))
            return Rotation(
                version=newest,
                resealed=resealed,
                retired=retired,
                unfinished=not retired,
                failures=failures,
            )

    async def _reseal(self, version: int) -> tuple[int, tuple[Unopened, ...]]:
        """Seal again until every password that opens is on the version; then open every one."""
        resealed = 0
        # a source may get another password between reading and writing: it is looked at again
        while stale := [each for each in await self._sources.all() if _needs(each, version)]:
            before = resealed
            for start in range(0, len(stale), BATCH):
                changes = await asyncio.to_thread(self._sealed_again, stale[start : start + BATCH])
                resealed += len(await self._sources.reseal(changes)) if changes else 0
            if resealed == before:
                break
        found = await open_all(self._sources, self._vault)
        return resealed, found.failures

    def _sealed_again(self, sources: Sequence[DataSource]) -> list[Resealed]:
        changes = []
        for source in sources:
            assert source.password is not None
            try:
                password = self._vault.open(source.password, source.binding)
            except KeyFault:
                continue  # told at the end, by name
            new = self._vault.seal(password, source.binding)
            changes.append(Resealed(source_id=source.id, old=source.password, new=new))
        return changes


async def open_all(sources: Sources, vault: PasswordVault) -> Opened:
    """Open every stored password with the keys of this machine."""
    found = await sources.all()
    return await asyncio.to_thread(_opened, found, vault)


def _opened(sources: Sequence[DataSource], vault: PasswordVault) -> Opened:
    by_version: dict[int, int] = {}
    failures = []
    for source in sources:
        if source.password is None:
            continue
        version = source.password.key_version
        try:
            vault.open(source.password, source.binding)
        except KeyFault as error:
            failures.append(Unopened(source=source.name, key_version=version, detail=error.detail))
        else:
            by_version[version] = by_version.get(version, 0) + 1
    return Opened(by_version=by_version, failures=tuple(failures))


def _needs(source: DataSource, version: int) -> bool:
    return source.password is not None and source.password.key_version != version
