"""``pgsched keys``: the pair that seals and opens the passwords of sources."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pgsched.domain.errors import KeyFault
from pgsched.entrypoints.cli.output import emit, json_option

if TYPE_CHECKING:
    from pgsched.adapters.crypto.keyring import PrivateKeyring, PublicKeyring

_FILE = click.Path(path_type=Path)


@click.group()
def group() -> None:
    """Make, list and check the keys that seal passwords."""


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


@group.command("list")
@json_option
def list_keys(as_json: bool) -> None:
    """List the versions in the key files, newest first, and what this machine can do with each."""
    public, private = _rings()
    opening = {} if private is None else dict(private.public().keys)
    versions = sorted({*public.keys, *opening}, reverse=True)
    emit([_row(version, public, opening) for version in versions], as_json)


@group.command("check")
@json_option
def check(as_json: bool) -> None:
    """Check that the key files are readable, safe and fit together; exit 1 when not.

    Without a private key here (a machine that only seals) the public file alone is checked.
    """
    public, private = _rings()
    opening = {} if private is None else private.public().keys
    if private is not None:
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
    emit({"ok": True, "seals": public.current_version, "opens": sorted(opening)}, as_json)


def _row(version: int, public: PublicKeyring, opening: dict[int, bytes]) -> dict[str, object]:
    from pgsched.adapters.crypto.keyring import fingerprint

    return {
        "version": version,
        "fingerprint": fingerprint(public.keys.get(version) or opening[version]),
        "seals": version == public.current_version,
        "opens": version in opening,
    }


def _rings() -> tuple[PublicKeyring, PrivateKeyring | None]:
    from pgsched.adapters.crypto.keyring import PrivateKeyring, PublicKeyring
    from pgsched.entrypoints.container import load_settings

    paths = load_settings().key_paths()
    public = PublicKeyring.load(paths.public)
    return public, None if paths.private is None else PrivateKeyring.load(paths.private)
