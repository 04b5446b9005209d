"""The port through which a process notices what others changed: by looking, several times a second."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, Protocol, runtime_checkable

from pgsched.domain.audience import Grant
from pgsched.domain.jobs import Visibility
from pgsched.domain.runs import Run


@dataclass(frozen=True, kw_only=True, slots=True)
class QueryRights:
    """What decides who may read a query, and what its answers say of their age."""

    #: its id
    query_id: int
    #: its unique name
    name: str
    #: who reads without a grant
    visibility: Visibility
    #: the grants on it
    grants: tuple[Grant, ...] = ()
    #: for how long its results are fresh, None for ever
    fresh_for: str | None = None


class Ended(NamedTuple):
    """A run that is over, told from every other, also from one of the same id in a database made anew."""

    #: its id
    run_id: int
    #: when it ended, microseconds since 1970
    at: int

    @classmethod
    def of(cls, run: Run) -> Ended | None:
        """Return the mark of a run, None while it is not over."""
        if run.run_finished_at is None or not run.status.is_terminal:
            return None
        return cls(run.id, (run.run_finished_at - _1970) // timedelta(microseconds=1))


_1970 = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sighting:
    """What one look found; all of it was true at the same time or later than the look began."""

    #: moves with every change of who may read what, and never back
    epoch: int
    #: the latest success of each query looked for, None for one without; queries that are gone are missing
    latest: Mapping[int, Ended | None]
    #: by id, of the runs looked for those that are there and over
    runs: Mapping[int, Ended]


@runtime_checkable
class Watch(Protocol):
    """Looks at what cached answers depend on. Nothing is pushed: what was not looked at is not known."""

    async def look(self, queries: Collection[int], runs: Collection[int]) -> Sighting:
        """Look up the epoch, the latest successes of some queries and which of some runs are there.

        Answers or raises within a second, whatever the database does.

        Raises:
            DatabaseUnavailable: it cannot be seen.
            DatabaseFault: it cannot be read.
        """
        ...

    async def rights(self, queries: Collection[int]) -> Mapping[int, QueryRights]:
        """Read who may read some queries; those that are gone are missing.

        Bounded and raising as ``look``. What it returns was true after the call began: a caller that read the
        epoch before has nothing older than that epoch.
        """
        ...

    async def close(self) -> None:
        """Let go of what looking took."""
        ...
