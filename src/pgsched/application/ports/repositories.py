"""Ports to what pgsched keeps: sources, jobs and accounts."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, runtime_checkable

from pgsched.domain.accounts import Account
from pgsched.domain.jobs import Job, JobSpec
from pgsched.domain.sources import DataSource, NewSource, SealedPassword


@dataclass(frozen=True, kw_only=True, slots=True)
class Resealed:
    """A source's password, sealed again with another key."""

    #: which source
    source_id: int
    #: the envelope that was opened
    old: SealedPassword
    #: the one that shall take its place
    new: SealedPassword


@runtime_checkable
class Sources(Protocol):
    """The data sources."""

    async def add(self, source: NewSource) -> DataSource:
        """Store a source.

        Raises:
            NameTaken: another source has the name.
        """
        ...

    async def get(self, key: str | int) -> DataSource:
        """Return the source of this name (str) or id (int).

        Raises:
            NotFound: there is none.
        """
        ...

    async def replace(self, source_id: int, source: NewSource) -> DataSource:
        """Put everything a person decides about a source anew; its identity and queries stay.

        Raises:
            NotFound: there is no such source.
            NameTaken: another source has the name.
        """
        ...

    async def change(self, before: DataSource, after: NewSource) -> DataSource:
        """Put everything a person decides about a source anew, if it is still as it was read.

        Still: nobody changed it or sealed its password again since. ``updated_at`` grows with each change.
        Workers are told by a hint.

        Raises:
            Stale: it is another by now.
            NotFound: there is no such source any more.
            NameTaken: another source has the name.
        """
        ...

    async def remove(self, source_id: int) -> None:
        """Delete a source.

        Raises:
            NotFound: there is no such source.
            InUse: queries run there.
        """
        ...

    async def all(self) -> Sequence[DataSource]:
        """Return every source, by name."""
        ...

    async def reseal(self, changes: Sequence[Resealed]) -> frozenset[int]:
        """Put new envelopes in the place of old ones, each only where the old one still stands.

        Returns the ids of the sources that were changed. ``updated_at`` stays: nothing that a person decides
        about the source is another.
        """
        ...


@runtime_checkable
class Jobs(Protocol):
    """The query jobs, as admins and editors see them."""

    async def add(self, spec: JobSpec, *, start_at: datetime | None = None) -> Job:
        """Store a job; its anchor is ``start_at`` or the whole second of now.

        ``next_run_at`` is the schedule's first instant from the anchor (interval) or after now (cron), None
        when disabled. Workers are told by a hint once it is committed.

        Raises:
            NameTaken: another query has the name.
            NotFound: there is no such source.
        """
        ...

    async def get(self, key: str | int) -> Job:
        """Return the job of this name (str) or id (int).

        Raises:
            NotFound: there is none.
        """
        ...

    async def change(
        self, before: Job, spec: JobSpec, *, start_at: datetime | None = None, resume: bool = False
    ) -> Job:
        """Put everything a person decides about a job anew, if nobody changed it since it was read.

        What becomes of its plan is ``domain.job_changes.revised``. Runs that wait go with their query to
        another source. ``updated_at`` grows with each change. Workers are told by a hint.

        Raises:
            Stale: it was changed since, or an instant of the former plan is due: plan first, then ask again.
            NotFound: there is no such job any more, or no such source.
            NameTaken: another query has the name.
        """
        ...

    async def wind_down(self, job_id: int) -> int:
        """Disable a job, cancel what waits, ask what runs to be cancelled; returns how many are not over yet.

        A run that a worker takes or ends at this very moment is passed over: ask again until none is left.

        Raises:
            NotFound: there is no such job.
        """
        ...

    async def forget_runs(self, job_id: int, *, limit: int) -> int:
        """Delete some runs of a job with their results, oldest first, at most ``limit``; returns how many.

        A call holds no lock for long, however large the results are. 0 means that there are none left.
        """
        ...

    async def remove(self, job_id: int, *, with_runs: bool = False) -> None:
        """Delete a job, with what runs and gaps it still has if ``with_runs``.

        A worker that holds one of its runs then meets ``LeaseLost``.

        Raises:
            NotFound: there is no such job.
            HasRuns: it has runs, and ``with_runs`` is not given.
        """
        ...

    async def page(
        self, *, text: str = "", enabled: bool | None = None, limit: int, offset: int
    ) -> tuple[Sequence[Job], int]:
        """Return some jobs by name, and how many there are in all.

        ``text`` is part of the name, the title or the description, in any letter case; ``enabled`` is theirs.
        """
        ...

    async def all(self) -> Sequence[Job]:
        """Return every job, by name."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class AccountWithPassword:
    """An account and what its password is checked against."""

    account: Account
    #: PHC string
    password_hash: str = field(repr=False)


@runtime_checkable
class Accounts(Protocol):
    """The accounts and their roles."""

    async def add(self, *, email: str, name: str, roles: Collection[str], password_hash: str) -> Account:
        """Store an account.

        Raises:
            EmailTaken: another account has the address, letter case aside.
        """
        ...

    async def get(self, key: str | int) -> Account:
        """Return the account of this address (str, letter case aside) or id (int).

        Raises:
            NotFound: there is none.
        """
        ...

    async def with_password(self, key: str | int) -> AccountWithPassword:
        """Return the same and its password's hash.

        Raises:
            NotFound: there is none.
        """
        ...

    async def all(self) -> Sequence[Account]:
        """Return every account, by id."""
        ...

    async def page(self, *, limit: int, offset: int) -> tuple[Sequence[Account], int]:
        """Return some accounts by id, and how many there are."""
        ...

    async def replace(self, account: Account) -> Account:
        """Put address, name, roles and activity anew, as given; ``updated_at`` becomes now.

        Raises:
            NotFound: there is no such account.
            EmailTaken: another account has the address, letter case aside.
        """
        ...

    async def set_password(
        self, account_id: int, password_hash: str, *, instead_of: str | None = None
    ) -> None:
        """Put the password's hash anew; with ``instead_of`` only while that is the one, and untold.

        ``updated_at`` becomes now, but stays with ``instead_of``: the password is the same.

        Raises:
            NotFound: there is no such account.
        """
        ...

    async def remove(self, account_id: int) -> None:
        """Delete an account with its sessions, tokens and grants.

        Raises:
            NotFound: there is none.
        """
        ...

    async def count_admins(self) -> int:
        """Return how many active admins there are."""
        ...
