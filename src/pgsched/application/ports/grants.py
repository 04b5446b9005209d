"""The port to grants: who was given a restricted query, and which of its rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from pgsched.domain.audience import Grant


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldGrant:
    """A grant, and what people call whom it was given to."""

    grant: Grant
    #: the user's, role's or token's name
    name: str
    #: the user's address, None for roles and tokens
    email: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Grantee:
    """A user or a token that a query can be given to."""

    #: identity, 64 bit
    id: int
    #: what people call it
    name: str
    #: a user's address, None for tokens
    email: str | None = None


@runtime_checkable
class Grants(Protocol):
    """The grants on queries."""

    async def of(self, query_id: int) -> Sequence[HeldGrant]:
        """Return the grants on a query: users by address, then roles by name, then tokens by id."""
        ...

    async def replace(self, query_id: int, grants: Sequence[Grant]) -> None:
        """Put these in the place of all grants on a query; they hold as soon as it is committed.

        Raises:
            NotFound: there is no such query, or a user or token is gone by now.
        """
        ...

    async def users(self, key: str | int) -> Sequence[Grantee]:
        """Return the users of this id (int), or of this address without letter case or this name (str)."""
        ...

    async def tokens(self, key: str | int) -> Sequence[Grantee]:
        """Return the tokens of this id (int) or name (str), expired ones too."""
        ...
