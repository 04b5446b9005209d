"""Asking a source's catalog for the types that are not built in: enums, domains' arrays, composites."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from pgsched.adapters.source.faults import broken
from pgsched.adapters.source.session import Command, Session, rows_of
from pgsched.domain.results import ColumnType, Kind, built_in_type, kind_of

#: a type and its modifier, as a result's column has them
TypeKey = tuple[int, int]

# an element that is a domain is written as its base type; a domain over an array stays text
_TYPES = b"""
SELECT asked.oid, asked.modifier, pg_catalog.format_type(asked.oid, asked.modifier),
       element.oid, element.typdelim,
       (WITH RECURSIVE base AS (
          SELECT element.oid, element.typtype, element.typbasetype
          UNION ALL
          SELECT t.oid, t.typtype, t.typbasetype
          FROM base JOIN pg_catalog.pg_type t ON base.typtype = 'd' AND t.oid = base.typbasetype)
        SELECT oid FROM base WHERE typtype <> 'd')
FROM ROWS FROM (pg_catalog.unnest($1::oid[]), pg_catalog.unnest($2::int4[])) AS asked(oid, modifier)
LEFT JOIN pg_catalog.pg_type element ON element.typarray = asked.oid
"""


class TypesUnknown(Exception):
    """A column has a type that the catalog must be asked about."""


def known_types(session: Session, keys: Sequence[TypeKey]) -> list[ColumnType]:
    """Return the types of a result's columns without asking the source.

    Raises:
        TypesUnknown: the session has not met one of them.
    """
    known = session.known_types
    for key in keys:
        if key not in known:
            if (found := built_in_type(*key)) is None:
                raise TypesUnknown
            known[key] = found
    return [known[key] for key in keys]


async def column_types(session: Session, keys: Sequence[TypeKey]) -> list[ColumnType]:
    """Return the types of a result's columns, asking the source for what this session has not met yet.

    Raises:
        CommandFailed, SourceUnreachable: as ``Session.ask`` says.
        ProtocolBroken: the catalog does not answer about these types.
    """
    with contextlib.suppress(TypesUnknown):
        return known_types(session, keys)
    known = session.known_types
    unknown = sorted(set(keys) - known.keys())
    if unknown:
        oids = ",".join(str(oid) for oid, _ in unknown)
        modifiers = ",".join(str(modifier) for _, modifier in unknown)
        (result,) = await session.ask(
            Command(sql=_TYPES, params=(b"{%b}" % oids.encode(), b"{%b}" % modifiers.encode()))
        )
        for oid, modifier, name, element, delimiter, base in rows_of(result, 6):
            try:
                numbers = [int(number or 0) for number in (oid, modifier, element, base)]
            except ValueError:
                raise broken("a type without a number") from None
            known[numbers[0], numbers[1]] = ColumnType(
                oid=numbers[0],
                name=name,
                kind=Kind.ARRAY if element else kind_of(numbers[0]),
                element=kind_of(numbers[3]),
                element_oid=numbers[2],
                delimiter=delimiter or ",",
            )
    if not set(keys) <= known.keys():
        raise broken("no answer about a type")
    return [known[key] for key in keys]
