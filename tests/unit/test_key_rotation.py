"""Rotation over memory: what is opened, sealed, verified and dropped, and where it goes on after a kill."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from pgsched.adapters.memory.secrets import MemoryKeyRings, OpenVault
from pgsched.adapters.memory.sources import MemorySources
from pgsched.adapters.memory.store import MemoryStore
from pgsched.application.keys import BATCH, RotateKeys
from pgsched.domain.errors import KeyFault, NoPrivateKey
from pgsched.domain.sources import NewSource


class Place:
    """Sources with passwords, and the rings that seal them."""

    def __init__(self, count: int = 3) -> None:
        self.store = MemoryStore()
        self.rings = MemoryKeyRings()
        self.sources = MemorySources(self.store)
        self.vault = OpenVault(rings=self.rings)
        self.rotate = RotateKeys(self.sources, self.vault, self.rings, settle_s=0)
        for number in range(count):
            self.add(f"source{number}")

    def add(self, name: str) -> None:
        new = NewSource(name=name, host="db", dbname=name, username="reader")
        new = replace(new, password=self.vault.seal(f"password of {name}", new.binding))
        asyncio.run(self.sources.add(new))

    def versions(self) -> list[int]:
        return [source.password.key_version for source in self.store.sources.values() if source.password]

    def passwords(self) -> set[str]:
        return {self.vault.open(each.password, each.binding) for each in self.store.sources.values()}


def test_rotation_seals_every_password_anew_and_keeps_the_old_key() -> None:
    place = Place(count=2 * BATCH + 1)
    before = place.passwords()
    done = asyncio.run(place.rotate())
    assert (done.version, done.resealed, done.retired, done.failures) == (2, 2 * BATCH + 1, (), ())
    assert set(place.versions()) == {2}
    assert place.passwords() == before
    assert place.rings.versions().opening == {1, 2}


def test_rotation_goes_on_instead_of_beginning_another() -> None:
    place = Place()
    asyncio.run(place.rotate())
    again = asyncio.run(place.rotate())
    assert (again.version, again.resealed, again.unfinished) == (2, 0, True)


def test_rotation_is_finished_once() -> None:
    place = Place()
    asyncio.run(place.rotate())
    assert asyncio.run(place.rotate(finish=True)).retired == (1,)
    assert place.rings.versions() == replace(
        place.rings.versions(), sealing=frozenset({2}), opening=frozenset({2})
    )
    nothing = asyncio.run(place.rotate(finish=True))
    assert (nothing.version, nothing.retired, nothing.unfinished) == (2, (), False)
    assert asyncio.run(place.rotate()).version == 3


def test_prepared_key_opens_and_does_not_seal_yet() -> None:
    place = Place()
    assert asyncio.run(place.rotate(prepare_only=True)).version == 2
    assert (place.rings.sealing, place.rings.opening) == ({1}, {1, 2})
    assert asyncio.run(place.rotate(prepare_only=True)).version == 2
    assert set(place.versions()) == {1}
    assert asyncio.run(place.rotate()).resealed == 3


def test_password_that_does_not_open_is_named_and_keeps_the_old_key() -> None:
    place = Place()
    broken = next(iter(place.store.sources.values()))
    assert broken.password is not None
    damaged = replace(broken.password, ciphertext=broken.password.ciphertext + b"x")
    place.store.sources[broken.id] = replace(broken, password=damaged)
    done = asyncio.run(place.rotate(finish=False))
    assert (done.resealed, [each.source for each in done.failures]) == (2, ["source0"])
    finish = asyncio.run(place.rotate(finish=True))
    assert (finish.retired, finish.unfinished) == ((), True)
    assert place.rings.opening == {1, 2}


def test_password_set_meanwhile_is_not_overwritten() -> None:
    place = Place(count=1)
    (source,) = place.store.sources.values()

    class Slow(MemorySources):
        """Somebody sets the password between reading and writing, once."""

        done = False

        async def reseal(self, changes):
            if not self.done:
                self.done = True
                place.store.sources[source.id] = replace(
                    source, password=replace(place.vault.seal("new", source.binding))
                )
            return await super().reseal(changes)

    rotate = RotateKeys(Slow(place.store), place.vault, place.rings, settle_s=0)
    done = asyncio.run(rotate())
    assert done.resealed == 0  # what was set meanwhile was sealed with the new key already
    assert place.passwords() == {"new"}


def test_rotation_needs_the_private_key() -> None:
    place = Place(count=0)
    place.rings.opening = frozenset()
    with pytest.raises(NoPrivateKey):
        asyncio.run(place.rotate())


def test_two_rotations_exclude_each_other() -> None:
    place = Place()
    with place.rings.held(), pytest.raises(KeyFault, match="another rotation"):
        asyncio.run(place.rotate())
