"""Who may see a query, as the conditions that lists and counts need, and the grants that decide the rest.

The conditions leave out what an audience cannot see; what it sees of the rest is decided by ``access_to``,
from the grants read beside each query.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from pgsched.domain.audience import WHOLE_ACCESS, Access, Audience, Grant, RowFilter, access_to
from pgsched.domain.jobs import Visibility

_NOT_NARROWED: Final = "(%(queries)s::bigint[] is null or j.id = any(%(queries)s::bigint[]))"
#: read without a grant, a query under the alias j
_FREELY: Final = f"(j.visibility = any(%(visibilities)s::text[]) and {_NOT_NARROWED})"
_GRANTED: Final = "(g.user_id = %(user_id)s::bigint or g.role = any(%(roles)s::text[]))"

#: what every statement about a query j asks first
MAY_SEE: Final = f"""({_FREELY} or (j.visibility = 'restricted' and exists (
    select from query_grant g where g.query_id = j.id
        and (g.token_id = %(token_id)s::bigint or ({_NOT_NARROWED} and {_GRANTED})))))"""

#: what ``access_of`` reads of a query j: whether it is read without a grant, else the audience's grants on it
HELD: Final = f"""{_FREELY} as freely, case when not {_FREELY} then (
    select json_agg(json_build_object('user_id', g.user_id, 'role', g.role, 'token_id', g.token_id,
            'row_filter', g.row_filter) order by g.id)
    from query_grant g where g.query_id = j.id and (g.token_id = %(token_id)s::bigint or {_GRANTED}))
    end as held"""

#: whether a query j is read without a grant, so that every row is shown
FREELY: Final = _FREELY


def audience_parameters(audience: Audience) -> dict[str, Any]:
    """Return what the conditions bind."""
    return {
        "visibilities": [visibility.value for visibility in audience.visibilities],
        "queries": None if audience.queries is None else list(audience.queries),
        "user_id": audience.user_id,
        "roles": list(audience.roles),
        "token_id": audience.token_id,
    }


def access_of(row: Mapping[str, Any], audience: Audience, *, query_id: int) -> Access:
    """Decide on a query that ``MAY_SEE`` let through, from its columns visibility and those of ``HELD``."""
    if row["freely"]:
        return WHOLE_ACCESS
    grants = grants_from(row["held"])
    return access_to(audience, query_id=query_id, visibility=Visibility(row["visibility"]), grants=grants)


def grants_from(held: str | bytes | None) -> list[Grant]:
    """Read an aggregate of grants, numbers with all their digits; null is none."""
    return [_grant_from(entry) for entry in json.loads(held or "[]", parse_float=Decimal)]


def _grant_from(entry: dict[str, Any]) -> Grant:
    given: dict[str, list[Any]] | None = entry["row_filter"]
    shown: RowFilter | None = None
    if given is not None:
        shown = {column: tuple(values) for column, values in given.items()}
    return Grant(user_id=entry["user_id"], role=entry["role"], token_id=entry["token_id"], row_filter=shown)
