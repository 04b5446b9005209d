"""Changing a source: what somebody wrote about it, and whether its password must come along."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Final

from pgsched.domain.drafts import Draft, drafted
from pgsched.domain.errors import FieldFault
from pgsched.domain.sources import DataSource, NewSource

_STAND_INS: Final[Mapping[str, object]] = {"name": "x", "host": "x", "dbname": "x", "username": "x"}
#: what decides where a password is sent, and how well that server is verified
LOCATION: Final = ("host", "port", "dbname", "username", "sslmode", "sslrootcert")


def drafted_source(given: Mapping[str, object], before: DataSource | None = None) -> Draft[NewSource]:
    """Judge what was written about a source, field by field; its password is judged elsewhere."""
    known = None if before is None else {each.name: getattr(before, each.name) for each in fields(NewSource)}
    return drafted(NewSource, given, stand_ins=_STAND_INS, before=known)


def password_faults(before: DataSource, after: NewSource) -> tuple[FieldFault, ...]:
    """Name each change that sends the password elsewhere, or to a server verified otherwise.

    Whoever may change a source but does not know its password could have it sent to a server of their own.
    """
    if before.password is None:
        return ()
    return tuple(
        FieldFault(field=name, message="changes only together with the source's password")
        for name in LOCATION
        if getattr(before, name) != getattr(after, name)
    )
