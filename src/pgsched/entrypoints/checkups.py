"""Looking an installation over from this machine: settings, folders, keys, and what the database tells."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pgsched import __version__
from pgsched.application.checkup import Finding, Level, judge
from pgsched.application.keys import open_all
from pgsched.domain.errors import DatabaseFault, EmbeddedFault, KeyFault, SchemaMismatch, SettingFault
from pgsched.entrypoints.container import Container, opened, pepper_of

if TYPE_CHECKING:
    from pgsched.config import Settings

#: seconds by which this machine's clock may differ from the database's
MOST_SKEW_S = 2.0
#: free bytes, and free part, below which a disk is nearly full
LEAST_FREE, LEAST_FREE_PART = 1 << 29, 0.05
#: sources looked over at once
AT_ONCE = 8
#: most queries looked at
_QUERIES = 10_000


async def look(*, sources: bool) -> list[Finding]:
    """Check everything there is; what cannot be checked because of an earlier problem is left out."""
    container = Container()
    try:
        settings = container.settings()
    except SettingFault as fault:
        return [_problem("settings", fault.detail, "correct it; see docs/reference/settings.md")]
    findings = [*_settings(settings), *_folders(settings)]
    try:
        async with opened(container):
            findings += [finding async for finding in _database(container)]
            if any(each.check in ("database", "schema") and each.level is Level.PROBLEM for each in findings):
                return findings
            figures = await container.figures_view().figures(queries=_QUERIES)
            findings += [finding async for finding in _keys(container)]
            if sources:
                findings += await _sources(container)
            findings += judge(figures, version=__version__)
    except (DatabaseFault, EmbeddedFault) as fault:
        findings.append(_problem("database", fault.detail))
    except (KeyFault, SettingFault) as fault:
        findings.append(_problem("keys", fault.detail))
    return findings


def _problem(check: str, detail: str, advice: str = "") -> Finding:
    return Finding(check=check, level=Level.PROBLEM, detail=detail, advice=advice)


def _warning(check: str, detail: str, advice: str = "") -> Finding:
    return Finding(check=check, level=Level.WARNING, detail=detail, advice=advice)


def _ok(check: str, detail: str) -> Finding:
    return Finding(check=check, level=Level.OK, detail=detail)


def _settings(settings: Settings) -> Iterator[Finding]:
    yield _ok("settings", f"version {__version__}, metadata database {settings.database_shown}")
    for note in settings.notes:
        yield _warning("settings", note)
    try:
        pepper_of(settings)
    except SettingFault as fault:
        yield _warning("settings", fault.detail, "pgsched api does not start without it")


def _folders(settings: Settings) -> Iterator[Finding]:
    if "file" in settings.log_to:
        folder = _nearest(settings.log_dir)
        if os.access(folder, os.W_OK | os.X_OK):
            yield _ok("logs", f"{settings.log_dir} can be written")
        else:
            yield _warning(
                "logs",
                f"{settings.log_dir} cannot be written by this user",
                "records go to stderr; correct LOG_DIR or its owner, or set LOG_TO=stdout",
            )
    seen: set[int] = set()
    for folder in (_nearest(settings.log_dir), _nearest(settings.pgsched_home)):
        device = folder.stat().st_dev
        if device in seen:
            continue
        seen.add(device)
        usage = shutil.disk_usage(folder)
        told = f"{usage.free / 2**30:.1f} GiB of {usage.total / 2**30:.1f} GiB free at {folder}"
        if usage.free < LEAST_FREE or usage.free < LEAST_FREE_PART * usage.total:
            yield _problem("disk", told, "make room, or lower KEEP_DAYS and what queries keep")
        else:
            yield _ok("disk", told)


def _nearest(path: Path) -> Path:
    """Return the folder itself, or the nearest one above it that is there."""
    while not path.is_dir() and path != path.parent:
        path = path.parent
    return path


async def _database(container: Container) -> AsyncIterator[Finding]:
    found = await container.health_view().readiness()
    yield _ok("database", "reachable")
    if found.schema_version != found.expected_version:
        fault = SchemaMismatch.between(found.schema_version, found.expected_version)
        yield _problem("schema", fault.detail)
        return
    yield _ok("schema", f"version {found.schema_version}")
    before = _here()
    there = await container.clock().now()
    # the answer is from some moment between asking and hearing
    skew = max((before - there).total_seconds(), (there - _here()).total_seconds(), 0.0)
    if skew > MOST_SKEW_S:
        yield _warning(
            "clock",
            f"this machine's clock is {skew:.1f} s off the database's",
            "set both by NTP; the database's decides what is due, logs carry this one's",
        )
    else:
        yield _ok("clock", "agrees with the database's")


def _here() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 (this machine's clock is what is checked)


async def _keys(container: Container) -> AsyncIterator[Finding]:
    vault = container.vault()
    if not vault.can_open:
        yield _warning(
            "keys",
            "no private key is configured here: this machine seals and cannot run queries",
            "a machine with a worker needs APP_PRIVATE_KEY_B64_PATH",
        )
        return
    versions = container.key_rings().versions()
    found = await open_all(container.sources(), vault)
    for failure in found.failures:
        yield _problem("keys", f"source {failure.source}: {failure.detail}")
    if versions.rotating:
        yield _warning(
            "keys",
            f"a rotation to version {versions.newest} is not finished",
            "pgsched keys rotate, then pgsched keys rotate --finish",
        )
    if not found.failures:
        opened_now = sum(found.by_version.values())
        yield _ok("keys", f"version {max(versions.sealing)} seals, {opened_now} passwords open")


async def _sources(container: Container) -> list[Finding]:
    if not container.vault().can_open:
        return []
    turn = asyncio.Semaphore(AT_ONCE)
    inspect = container.inspect_source()

    async def one(name: str) -> list[Finding]:
        async with turn:
            report = await inspect(name)
        if not report.ok:
            return [_problem("sources", f"{name}: {report.error_detail}", f"see pgsched dsn test {name}")]
        return [_warning("sources", f"{name}: {warning}") for warning in report.warnings] or [
            _ok("sources", f"{name}: Postgres {report.server_version}")
        ]

    names = [source.name for source in await container.sources().all()]
    return [finding for found in await asyncio.gather(*map(one, names)) for finding in found]
