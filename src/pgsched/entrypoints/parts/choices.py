"""Reads the settings, and turns them into what the inner rings are told."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from pgsched import config

if TYPE_CHECKING:
    from pgsched.config import Settings
    from pgsched.domain.retention import Limits
    from pgsched.domain.sessions import SessionRules


def load_settings() -> Settings:
    """Read the settings of this process: its environment and ``.env`` in its working directory.

    Raises:
        SettingFault: with one line that names the variable, the fault and the fix.
    """
    return config.load(os.environ, Path.cwd())


@dataclass(frozen=True, kw_only=True, slots=True)
class Metadata:
    """Where the metadata database is."""

    #: a libpq string; it may hold a password
    conninfo: str = field(repr=False)
    #: whether it is the embedded server's, whom no PG* variable of this machine concerns
    is_embedded: bool


def metadata(settings: Settings | None = None) -> Metadata:
    """Return where the metadata database is: PG_DSN_APP, else the embedded server's.

    Raises:
        EmbeddedFault: PG_DSN_APP is unset and no embedded server runs here.
    """
    settings = settings or load_settings()
    if settings.pg_dsn_app is not None:
        return Metadata(conninfo=settings.pg_dsn_app, is_embedded=False)
    from pgsched.adapters.embedded.attach import attach

    return Metadata(conninfo=attach(settings.pgsched_home).dsn(), is_embedded=True)


def session_rules(settings: Settings) -> SessionRules:
    from pgsched.domain.sessions import SessionRules

    return SessionRules(
        ttl=timedelta(hours=settings.session_ttl_hours),
        extend_within=timedelta(minutes=settings.session_extend_on_use_min),
        longest=timedelta(hours=settings.session_max_hours),
    )


def public_read(settings: Settings) -> bool:
    return settings.public_read


def default_limits(settings: Settings) -> Limits:
    from pgsched.domain.retention import Limits

    return Limits(keep_runs=settings.default_keep_runs, keep_days=settings.default_keep_days)
