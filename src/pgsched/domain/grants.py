"""Grants as people write them: to whom, and which rows; judged entry by entry."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from pgsched.domain.audience import FilterValue, Grant, RowFilter
from pgsched.domain.errors import FieldFault

#: the lists of a set of grants, and what one entry of each is
LISTS: Final[Mapping[str, str]] = {"users": "user", "roles": "role", "tokens": "token"}
#: most grants on one query
MOST_GRANTS: Final = 1000
#: most columns of a filter, and values of a column
MOST_COLUMNS: Final = 20
MOST_VALUES: Final = 1000
#: most characters of a column's name, and of a value that is text
LONGEST_COLUMN: Final = 200
LONGEST_TEXT: Final = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenGrant:
    """One entry as somebody wrote it, found right in itself."""

    #: users, roles or tokens
    kind: str
    #: where it stood: ``users[0]``
    place: str
    #: an id, or a name
    key: str | int
    #: the rows shown, None for all
    row_filter: RowFilter | None


def grantee(grant: Grant) -> tuple[str, str | int]:
    """Return whom a grant is given to: the list it belongs in, and an id or a role."""
    if grant.user_id is not None:
        return "users", grant.user_id
    if grant.token_id is not None:
        return "tokens", grant.token_id
    return "roles", grant.role or ""


def written_grants(given: Mapping[str, object]) -> tuple[list[WrittenGrant], list[FieldFault]]:
    """Read ``{users: […], roles: […], tokens: […]}`` and name all that is wrong with it.

    An entry has an ``id`` or a ``name`` (roles a name alone) and perhaps a ``row_filter``. What the answer of
    a GET has beside that (``email``) is taken too, so that it can be sent back; the id counts first.
    """
    found: list[WrittenGrant] = []
    faults: list[FieldFault] = []
    for kind, value in given.items():
        if kind not in LISTS:
            faults.append(FieldFault(field=kind, message="there are users, roles and tokens"))
        elif value is not None and not isinstance(value, list):
            faults.append(FieldFault(field=kind, message="must be a list"))
        else:
            for number, entry in enumerate(value or []):
                _read_entry(kind, f"{kind}[{number}]", entry, found, faults)
    if len(found) > MOST_GRANTS:
        faults.append(FieldFault(field="users", message=f"there can be {MOST_GRANTS} grants on a query"))
    return found, faults


def _read_entry(
    kind: str, place: str, entry: object, found: list[WrittenGrant], faults: list[FieldFault]
) -> None:
    if not isinstance(entry, Mapping):
        faults.append(FieldFault(field=place, message='must be an object, as {"name": …}'))
        return
    before = len(faults)
    allowed = {"name", "row_filter"} | ({"id"} if kind != "roles" else set())
    allowed |= {"email"} if kind == "users" else set()
    faults += [
        FieldFault(field=f"{place}.{name}", message=f"there are {', '.join(sorted(allowed))}")
        for name in entry
        if name not in allowed
    ]
    key: object = next(
        (entry[name] for name in ("id", "email", "name") if name in allowed and entry.get(name) is not None),
        None,
    )
    by_id = "id" in allowed and entry.get("id") is not None
    if key is None:
        message = "needs a name" if kind == "roles" else "needs an id or a name"
        faults.append(FieldFault(field=place, message=message))
    elif by_id and (isinstance(key, bool) or not isinstance(key, int)):
        faults.append(FieldFault(field=f"{place}.id", message="must be a whole number"))
    elif not by_id and not (isinstance(key, str) and key):
        faults.append(FieldFault(field=f"{place}.name", message="must be text"))
    shown = _read_filter(f"{place}.row_filter", entry.get("row_filter"), faults)
    if len(faults) == before and isinstance(key, (str, int)):
        found.append(WrittenGrant(kind=kind, place=place, key=key, row_filter=shown))


def _read_filter(place: str, value: object, faults: list[FieldFault]) -> RowFilter | None:
    if value is None:
        return None
    if not isinstance(value, Mapping) or not 1 <= len(value) <= MOST_COLUMNS:
        message = f"must be an object of 1 to {MOST_COLUMNS} columns, each with a list of values"
        faults.append(FieldFault(field=place, message=message))
        return None
    shown: dict[str, tuple[FilterValue, ...]] = {}
    for column, values in value.items():
        if not 1 <= len(column) <= LONGEST_COLUMN or not _is_text(column):
            faults.append(FieldFault(field=place, message=f"a column has 1 to {LONGEST_COLUMN} characters"))
        elif not isinstance(values, list) or not 1 <= len(values) <= MOST_VALUES:
            message = f"must be a list of 1 to {MOST_VALUES} values"
            faults.append(FieldFault(field=f"{place}.{column}", message=message))
        elif not all(_is_value(each) for each in values):
            message = f"values are texts of at most {LONGEST_TEXT} characters, numbers, true, false and null"
            faults.append(FieldFault(field=f"{place}.{column}", message=message))
        else:
            shown[column] = tuple(values)
    return shown


def _is_value(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= LONGEST_TEXT and _is_text(value)
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, Decimal):
        return value.is_finite()
    return value is None or isinstance(value, (bool, int))


def _is_text(value: str) -> bool:
    """Whether Postgres can hold it: no NUL, no half of a surrogate pair."""
    try:
        return b"\x00" not in value.encode()
    except UnicodeEncodeError:
        return False
