"""The audit trail: who changed what, from where, with what was and what is; secrets are masked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any

#: stands for a secret
MASK = "***"
#: fields whose values are never kept
SECRETS = frozenset(
    {
        "password",
        "new_password",
        "current_password",
        "password_hash",
        "token",
        "token_hash",
        "secret",
        "enc_password",
        "enc_password_b64",
    }
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Actor:
    """Who does something, and from where."""

    #: who, as shown: an e-mail address, ``cli:<system user>``, or ``anonymous``
    name: str
    #: account's id, None for the command line and for who is not logged in
    id: int | None = None
    #: network address, None for the command line
    ip: str | None = None
    #: X-Request-Id, None for the command line
    request_id: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditEntry:
    """One thing that was done; made by ``added``, ``changed``, ``removed`` and ``done``."""

    #: ``noun.verb``
    action: str
    #: id of what it was done to, None where that has none
    noun_id: str | None = None
    #: its name or address, None where it has none
    noun_name: str | None = None
    #: what was, secrets masked; None where there was nothing
    old: Mapping[str, Any] | None = None
    #: what is, secrets masked; None where there is nothing
    new: Mapping[str, Any] | None = None

    @property
    def noun(self) -> str:
        """What kind of thing it was done to."""
        return self.action.partition(".")[0]


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditEvent:
    """An entry of the trail as it is read."""

    #: identity, 64 bit, growing
    id: int
    #: when, UTC
    at: datetime
    #: account's id, None for the command line and for who is not logged in
    actor_id: int | None
    #: who, as shown
    actor: str
    #: network address, None for the command line
    ip: str | None
    #: X-Request-Id, None for the command line
    request_id: str | None
    #: ``noun.verb``
    action: str
    #: user, session, token, source, query, run, grant, key
    noun: str
    #: id of what it was done to, None where that has none
    noun_id: str | None
    #: its name or address, None where it has none
    noun_name: str | None
    #: what was, secrets masked
    old: Mapping[str, Any] | None
    #: what is, secrets masked
    new: Mapping[str, Any] | None


@dataclass(frozen=True, kw_only=True, slots=True)
class AuditFilter:
    """Which events are wanted; None wants all."""

    #: who, as shown, letter case aside
    actor: str | None = None
    #: ``noun.verb``
    action: str | None = None
    #: kind of thing
    noun: str | None = None
    #: id of the thing
    noun_id: str | None = None
    #: at or after this, UTC
    start: datetime | None = None
    #: before this, UTC
    end: datetime | None = None


def added(noun: str, noun_id: object, noun_name: str | None, values: Mapping[str, object]) -> AuditEntry:
    """Say that a thing was made: ``<noun>.create`` with what it is."""
    return _entry(f"{noun}.create", noun_id, noun_name, None, values)


def removed(noun: str, noun_id: object, noun_name: str | None, values: Mapping[str, object]) -> AuditEntry:
    """Say that a thing is gone: ``<noun>.delete`` with what it was."""
    return _entry(f"{noun}.delete", noun_id, noun_name, values, None)


def changed(
    action: str,
    noun_id: object,
    noun_name: str | None,
    old: Mapping[str, object],
    new: Mapping[str, object],
) -> AuditEntry:
    """Say that a thing changed: only the fields that differ are kept."""
    differing = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return _entry(
        action,
        noun_id,
        noun_name,
        {name: old[name] for name in differing if name in old},
        {name: new[name] for name in differing if name in new},
    )


def done(
    action: str, noun_id: object, noun_name: str | None = None, values: Mapping[str, object] | None = None
) -> AuditEntry:
    """Say that something was done which leaves no thing changed: a run asked for, a session ended."""
    return _entry(action, noun_id, noun_name, None, values)


def _entry(
    action: str,
    noun_id: object,
    noun_name: str | None,
    old: Mapping[str, object] | None,
    new: Mapping[str, object] | None,
) -> AuditEntry:
    return AuditEntry(
        action=action,
        noun_id=None if noun_id is None else str(noun_id),
        noun_name=noun_name,
        old=None if old is None else _masked(old),
        new=None if new is None else _masked(new),
    )


def _masked(values: Mapping[str, object]) -> dict[str, Any]:
    return {
        str(name): MASK if str(name).lower() in SECRETS and value is not None else _plain(value)
        for name, value in values.items()
    }


def _plain(value: object) -> Any:
    """Bring a value into what JSON has; bytes are taken for a secret."""
    if isinstance(value, Enum):
        return _plain(value.value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, Mapping):
        return _masked(value)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted((_plain(item) for item in value), key=str)
    if isinstance(value, bytes):
        return MASK
    return str(value)
