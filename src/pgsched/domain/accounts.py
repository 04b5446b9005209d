"""Accounts: who somebody is, what their roles let them do, and what an e-mail address or password must be."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from pgsched.domain.errors import FieldFault, InvalidInput, LastAdmin
from pgsched.domain.names import line_fault

#: role that may do everything
ADMIN = "admin"
#: role that writes queries and runs them
EDITOR = "editor"

#: RFC 5321 §4.5.3.1.3 leaves this many characters for an address
EMAIL_LONGEST = 254
NAME_LONGEST = 200
#: bytes of UTF-8
PASSWORD_SHORTEST, PASSWORD_LONGEST = 8, 1024

# RFC 5322's dot-atom before the @ (at most 64), host labels after it; quoted strings, comments, address
# literals and letters beyond ASCII are left out, so that letter case is the same to Python and to Postgres
_EMAIL = re.compile(
    r"(?=[^@]{1,64}@)[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"@(?:(?!-)[A-Za-z0-9-]{1,63}(?<!-)\.)*(?!-)[A-Za-z0-9-]{1,63}(?<!-)",
    re.ASCII,
)


class Right(StrEnum):
    """What an account may do, from least to most; each includes those before it."""

    #: read what is public, for users, or granted
    VIEWER = "viewer"
    #: write queries, run them, and read every run
    EDITOR = "editor"
    #: everything: sources, accounts, audit
    ADMIN = "admin"


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """Somebody who may log in."""

    #: identity, 64 bit
    id: int
    #: address as given; unique without letter case
    email: str
    #: name to show
    name: str
    #: names out of ALLOWED_ROLES, in the order of that setting
    roles: tuple[str, ...]
    #: whether they may log in
    is_active: bool = True
    #: when it was made, UTC
    created_at: datetime
    #: when it last changed, UTC
    updated_at: datetime

    @property
    def right(self) -> Right:
        """The most that the roles allow."""
        return right_of(self.roles)


@dataclass(frozen=True, kw_only=True, slots=True)
class NewAccount:
    """An account before it is stored; fields as in ``Account``. ``checked_roles`` checks the roles."""

    email: str
    name: str
    roles: tuple[str, ...]
    is_active: bool = True

    def __post_init__(self) -> None:
        """Refuse what could never be an account.

        Raises:
            InvalidInput: with a fault for each bad field.
        """
        found = [fault for fault in (email_fault(self.email), account_name_fault(self.name)) if fault]
        if found:
            raise InvalidInput.of(*found)


@dataclass(frozen=True, kw_only=True, slots=True)
class AccountChange:
    """What is to become of an account; None leaves as it is. ``checked_roles`` checks the roles."""

    #: address to log in with
    email: str | None = None
    #: name to show
    name: str | None = None
    #: all roles from now on
    roles: tuple[str, ...] | None = None
    #: whether they may log in
    is_active: bool | None = None

    def __post_init__(self) -> None:
        """Refuse what could never be an account.

        Raises:
            InvalidInput: with a fault for each bad field.
        """
        found = [
            None if self.email is None else email_fault(self.email),
            None if self.name is None else account_name_fault(self.name),
        ]
        if faults := [fault for fault in found if fault]:
            raise InvalidInput.of(*faults)

    def of(self, before: Account) -> Account:
        """Return the account as it is to be; roles in the order of their names, as they come from stores."""
        return replace(
            before,
            email=before.email if self.email is None else self.email,
            name=before.name if self.name is None else self.name,
            roles=before.roles if self.roles is None else tuple(sorted(self.roles)),
            is_active=before.is_active if self.is_active is None else self.is_active,
        )


def right_of(roles: Iterable[str]) -> Right:
    """Say what roles allow; a role of one's own allows what a viewer may."""
    held = set(roles)
    if ADMIN in held:
        return Right.ADMIN
    return Right.EDITOR if EDITOR in held else Right.VIEWER


def checked_roles(roles: Iterable[str], allowed: Sequence[str]) -> tuple[str, ...]:
    """Check role names against ALLOWED_ROLES and bring them into its order, each once.

    Raises:
        InvalidInput: a role does not exist, or there is none.
    """
    wanted = set(roles)
    unknown = sorted(wanted.difference(allowed))
    choices = ", ".join(allowed)
    if unknown:
        message = f"there is no role {unknown[0]!r}; the roles are {choices}"
        raise InvalidInput.of(FieldFault(field="roles", message=message))
    if not wanted:
        raise InvalidInput.of(FieldFault(field="roles", message=f"must name at least one of {choices}"))
    return tuple(role for role in allowed if role in wanted)


def email_key(email: str) -> str:
    """Return what addresses are compared by: letter case does not count."""
    return email.lower()


def email_fault(email: str, field: str = "email") -> FieldFault | None:
    """Say why a text is not an e-mail address, or None when it is."""
    if len(email) > EMAIL_LONGEST:
        return FieldFault(field=field, message=f"must have at most {EMAIL_LONGEST} characters")
    if not _EMAIL.fullmatch(email):
        return FieldFault(
            field=field, message="must be an e-mail address like ada@example.com (ASCII, no blanks)"
        )
    return None


def account_name_fault(name: str, field: str = "name") -> FieldFault | None:
    """Say why a text cannot be an account's name, or None when it can: one line, 1 to 200 characters."""
    return line_fault(field, name, NAME_LONGEST)


def password_fault(password: str, field: str = "password") -> FieldFault | None:
    """Say why a text cannot be a password, or None when it can: 8 to 1024 bytes of UTF-8, nothing else."""
    try:
        size = len(password.encode())
    except UnicodeEncodeError:
        return FieldFault(field=field, message="must be valid Unicode text")
    if PASSWORD_SHORTEST <= size <= PASSWORD_LONGEST:
        return None
    return FieldFault(
        field=field, message=f"must have {PASSWORD_SHORTEST} to {PASSWORD_LONGEST} bytes, not {size}"
    )


def check_password(password: str, field: str = "password") -> None:
    """Refuse what cannot be a password.

    Raises:
        InvalidInput: naming ``field``; never shows the password.
    """
    fault = password_fault(password, field)
    if fault is not None:
        raise InvalidInput.of(fault)


def ensure_admin_left(*, before: Account, after: Account | None, other_active_admins: int) -> None:
    """Refuse a change that would leave nobody who can administer.

    ``after`` is the account as it would be, None when it would be deleted; ``other_active_admins`` counts the
    other accounts that are active and hold the role, under a lock that keeps the count true.

    Raises:
        LastAdmin: the last active admin would be gone.
    """
    if administers(before) and not (after is not None and administers(after)) and other_active_admins < 1:
        raise LastAdmin(
            f"{before.email} is the last active admin; give another active account the role admin first"
        )


def administers(account: Account) -> bool:
    """Whether the account is active and holds the role admin."""
    return account.is_active and account.right is Right.ADMIN
