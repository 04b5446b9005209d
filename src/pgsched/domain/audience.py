"""Who reads: the one place that decides which queries a caller may see, which rows, how much of an error."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from pgsched.domain.accounts import Account, Right
from pgsched.domain.jobs import Visibility

#: a value of a row filter, compared with what the result's JSON holds (``row_filters``)
FilterValue = str | int | float | Decimal | bool | None
#: ``{column: values}``: a row is shown when each column holds one of its values
RowFilter = Mapping[str, tuple[FilterValue, ...]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Audience:
    """What a caller may read."""

    #: the visibilities whose queries it may read without a grant
    visibilities: frozenset[Visibility]
    #: the account whose grants count, None for none
    user_id: int | None = None
    #: the roles whose grants count
    roles: frozenset[str] = frozenset()
    #: the queries that visibilities and the account's grants are narrowed to, None for no narrowing
    queries: frozenset[int] | None = None
    #: the token whose own grants count beyond that, None for none
    token_id: int | None = None
    #: whether it reads errors whole, or the source's primary message alone
    whole_errors: bool = False


#: editors, admins and the command line: everything
EVERYTHING = Audience(visibilities=frozenset(Visibility), whole_errors=True)


@dataclass(frozen=True, kw_only=True, slots=True)
class Grant:
    """Leave to read one restricted query, given to exactly one of a user, a role and a token."""

    #: account's id
    user_id: int | None = None
    #: role's name
    role: str | None = None
    #: token's id
    token_id: int | None = None
    #: the rows shown, None for all
    row_filter: RowFilter | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Access:
    """What an audience may see of one query."""

    #: False: the query is not there for it
    visible: bool
    #: rows that match any of these are shown; None for every row
    rows: tuple[RowFilter, ...] | None = None


NO_ACCESS = Access(visible=False)
WHOLE_ACCESS = Access(visible=True)


def anonymous(*, public_read: bool) -> Audience:
    """Return what somebody without a login may read."""
    return Audience(visibilities=frozenset({Visibility.PUBLIC} if public_read else ()))


def of_account(account: Account) -> Audience:
    """Return what a logged-in account may read: editors and admins everything, others what is theirs."""
    if account.right is not Right.VIEWER:
        return replace(EVERYTHING, user_id=account.id, roles=frozenset(account.roles))
    return Audience(
        visibilities=frozenset({Visibility.PUBLIC, Visibility.USERS}),
        user_id=account.id,
        roles=frozenset(account.roles),
    )


def of_token(owner: Account, token_id: int, queries: Collection[int] | None) -> Audience:
    """Return what a token may read: what its owner may read now, narrowed, and its own grants.

    Errors it reads as viewers do: a token is put into pages, and their text can quote the source's data.
    """
    narrowed = None if queries is None else frozenset(queries)
    return replace(of_account(owner), queries=narrowed, token_id=token_id, whole_errors=False)


def access_to(
    audience: Audience, *, query_id: int, visibility: Visibility, grants: Iterable[Grant] = ()
) -> Access:
    """Decide what an audience may see of a query, given the grants on it.

    A visibility that it reads anyway shows every row. Grants count on restricted queries alone; where several
    apply, the rows of each are shown.
    """
    narrowed = audience.queries is not None and query_id not in audience.queries
    if visibility in audience.visibilities and not narrowed:
        return WHOLE_ACCESS
    if visibility is not Visibility.RESTRICTED:
        return NO_ACCESS
    held = [
        grant
        for grant in grants
        if (grant.token_id is not None and grant.token_id == audience.token_id)
        or (
            not narrowed
            and (
                (grant.user_id is not None and grant.user_id == audience.user_id)
                or (grant.role is not None and grant.role in audience.roles)
            )
        )
    ]
    if not held:
        return NO_ACCESS
    filters = [grant.row_filter for grant in held]
    if any(shown is None for shown in filters):
        return WHOLE_ACCESS
    return Access(visible=True, rows=tuple(shown for shown in filters if shown is not None))
