"""``pgsched keys``: the pair that seals and opens the passwords of sources."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pgsched.entrypoints.cli.output import emit, json_option

if TYPE_CHECKING:
    from pgsched.adapters.crypto.keyring import PrivateKeyring, PublicKeyring
    from pgsched.application.keys import Opened, Rotation
    from pgsched.entrypoints.container import Container

_FILE = click.Path(path_type=Path)


@click.group()
def group() -> None:
    """Make, rotate, list and check the keys that seal passwords."""


@group.command("gen")
@click.option("--public", type=_FILE, required=True, help="File for the public key, which seals.")
@click.option(
    "--private", type=_FILE, required=True, help="File for the private key, which opens (mode 0600)."
)
@click.option("--force", is_flag=True, help="Replace files that exist: what they sealed opens no more.")
@json_option
def gen(public: Path, private: Path, force: bool, as_json: bool) -> None:
    """Make a key pair, one base64 line in each file."""
    from pgsched.adapters.crypto.keygen import generate_pair, write_pair
    from pgsched.adapters.crypto.keyring import fingerprint

    pair = generate_pair()
    write_pair(pair, public=public, private=private, force=force)
    emit(
        {
            "version": 1,
            "fingerprint": fingerprint(pair.public),
            "public": public.absolute(),
            "private": private.absolute(),
        },
        as_json,
    )


@group.command("rotate")
@click.option(
    "--finish", is_flag=True, help="Go on with a rotation, then drop the old key if no source needs it."
)
@click.option(
    "--prepare",
    is_flag=True,
    help="Only add the new private key, to be taken to other machines before anything is sealed with it.",
)
@json_option
def rotate(finish: bool, prepare: bool, as_json: bool) -> int:
    """Make a new version of the key and seal every password with it, while services run.

    Killed half-way, it goes on when it is called again. Every password is opened at the end; exit 1 when one
    does not open. The old key stays in the files, and opens, until --finish.
    """
    from pgsched.entrypoints.cli.opened import with_container

    if finish and prepare:
        raise click.UsageError("--finish and --prepare exclude each other")

    async def operation(container: Container) -> Rotation:
        return await container.rotate_keys()(prepare_only=prepare, finish=finish)

    done = with_container(operation)
    for failure in done.failures:
        click.echo(
            f"Error: source {failure.source} (key version {failure.key_version}): {failure.detail}", err=True
        )
    if as_json:
        emit(done, as_json)
    elif not done.failures:
        click.echo(_told(done, finish=finish, prepare=prepare))
    return 1 if done.failures else 0


def _told(done: Rotation, *, finish: bool, prepare: bool) -> str:
    if prepare:
        return (
            f"the private key file holds version {done.version}; take it to every machine that opens"
            " passwords, then run: pgsched keys rotate"
        )
    if finish and not done.unfinished and not done.retired:
        return f"no rotation is under way; version {done.version} seals"
    sealed = f"version {done.version} seals; {done.resealed} passwords were sealed again, all of them open"
    if done.retired:
        return f"{sealed}; dropped version {', '.join(map(str, done.retired))}"
    return f"{sealed}; when every service has the new key files, run: pgsched keys rotate --finish"


@group.command("list")
@json_option
def list_keys(as_json: bool) -> None:
    """List the versions in the key files, newest first, what they do here, and how many sources need them."""
    public, private = _rings()
    opening = {} if private is None else dict(private.public().keys)
    needed = _needed()
    versions = sorted({*public.keys, *opening, *(needed or {})}, reverse=True)
    emit([_row(version, public, opening, needed) for version in versions], as_json)


@group.command("check")
@click.option("--files-only", is_flag=True, help="Leave out the sources: ask no database.")
@json_option
def check(files_only: bool, as_json: bool) -> int:
    """Check the key files (readable, safe, a pair), and that every source's password opens; exit 1 when not.

    Without a private key here (a machine that only seals) the public file alone is checked, and without a
    metadata database the files alone.
    """
    from pgsched.adapters.crypto.rings import KeyFileRings
    from pgsched.entrypoints.cli.opened import with_container
    from pgsched.entrypoints.container import load_settings

    public, private = _rings()
    seals = public.current_version
    if private is None:
        emit({"ok": True, "seals": seals, "opens": [], "sources": None}, as_json)
        return 0
    paths = load_settings().key_paths()
    opening = KeyFileRings(public=paths.public, private=paths.private).versions().opening
    if files_only or not _has_database():
        emit({"ok": True, "seals": seals, "opens": sorted(opening), "sources": None}, as_json)
        return 0

    async def operation(container: Container) -> Opened:
        from pgsched.application.keys import open_all

        return await open_all(container.sources(), container.vault())

    found = with_container(operation)
    for failure in found.failures:
        click.echo(
            f"Error: source {failure.source} (key version {failure.key_version}): {failure.detail}", err=True
        )
    opened = sum(found.by_version.values())
    if as_json or not found.failures:
        emit(
            {"ok": not found.failures, "seals": seals, "opens": sorted(opening), "sources": opened}
            | ({"failures": found.failures} if found.failures else {}),
            as_json,
        )
    return 1 if found.failures else 0


def _row(
    version: int, public: PublicKeyring, opening: dict[int, bytes], needed: dict[int, int] | None
) -> dict[str, object]:
    from pgsched.adapters.crypto.keyring import fingerprint

    key = public.keys.get(version) or opening.get(version)
    return {
        "version": version,
        "fingerprint": key and fingerprint(key),
        "seals": version == public.current_version,
        "opens": version in opening,
        "sources": None if needed is None else needed.get(version, 0),
    }


def _needed() -> dict[int, int] | None:
    """Count the sources by the key version that sealed them; None without a metadata database."""
    if not _has_database():
        return None
    from collections import Counter

    from pgsched.entrypoints.cli.opened import with_container

    async def operation(container: Container) -> Counter[int]:
        sources = await container.sources().all()
        return Counter(source.password.key_version for source in sources if source.password)

    return dict(with_container(operation))


def _has_database() -> bool:
    """Whether this place has a metadata database: PG_DSN_APP is set, or `pgsched up` runs here."""
    from pgsched.domain.errors import EmbeddedFault
    from pgsched.entrypoints.container import metadata

    try:
        metadata()
    except EmbeddedFault:
        return False
    return True


def _rings() -> tuple[PublicKeyring, PrivateKeyring | None]:
    from pgsched.adapters.crypto.keyring import PrivateKeyring, PublicKeyring
    from pgsched.entrypoints.container import load_settings

    paths = load_settings().key_paths()
    public = PublicKeyring.load(paths.public)
    return public, None if paths.private is None else PrivateKeyring.load(paths.private)
