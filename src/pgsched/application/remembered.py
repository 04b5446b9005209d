"""What a worker need not find out anew for each run: the guard's verdicts and opened passwords."""

from __future__ import annotations

import asyncio
import hashlib
import time
from typing import TypeVar

from pgsched.application.ports.execution import SqlGuard
from pgsched.application.ports.secrets import PasswordVault
from pgsched.application.sources import open_password
from pgsched.domain.sources import DataSource
from pgsched.domain.sql_guard import Verdict

#: seconds an opened password is used again, as long as connections are kept; a changed one is opened at once
PASSWORD_S = 60.0
#: most entries of each kind; the oldest leaves
MOST = 1000
#: characters of a statement that is kept as it is
_SHORT = 1000

_K = TypeVar("_K")
_T = TypeVar("_T")


class Verdicts:
    """The guard's answers by statement, its places and what its source allows: it judges by nothing else."""

    def __init__(self, guard: SqlGuard) -> None:
        self._guard = guard
        self._known: dict[tuple[str | bytes, bool, int], Verdict] = {}

    async def of(self, sql: str, *, allow_user_functions: bool, places: int = 0) -> Verdict:
        """Judge a statement, as ``SqlGuard.check`` does."""
        key = _brief(sql), allow_user_functions, places
        verdict = self._known.get(key)
        if verdict is None:
            verdict = await asyncio.to_thread(
                self._guard.check, sql, allow_user_functions=allow_user_functions, places=places
            )
            _remember(self._known, key, verdict)
        return verdict


class Passwords:
    """Opened passwords by source, for a short time."""

    def __init__(self, vault: PasswordVault) -> None:
        self._vault = vault
        self._known: dict[int, tuple[DataSource, float, str | None]] = {}

    async def of(self, source: DataSource) -> str | None:
        """Open a source's password; None when it has none.

        Raises:
            KeyFault: it cannot be opened here; the subclass says why.
        """
        known = self._known.get(source.id)
        now = time.monotonic()
        if known is not None and (known[0] is source or known[0] == source) and now < known[1]:
            return known[2]
        password = await open_password(self._vault, source)
        _remember(self._known, source.id, (source, now + PASSWORD_S, password))
        return password


def _brief(sql: str) -> str | bytes:
    """Return a digest of what is long: a thousand such statements are not to stay in memory."""
    if len(sql) <= _SHORT:
        return sql
    return hashlib.sha256(sql.encode(errors="surrogatepass")).digest()


def _remember(known: dict[_K, _T], key: _K, value: _T) -> None:
    known.pop(key, None)
    while len(known) >= MOST:
        del known[next(iter(known))]
    known[key] = value
