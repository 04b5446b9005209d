"""Every error that pgsched raises on purpose, in one tree.

::

    PgschedError                      code, detail, advice
    ├── InvalidInput                  invalid_request   (field faults)
    │   ├── BadSchedule               bad_schedule
    │   ├── BadTimezone               bad_timezone
    │   ├── PasswordRequired          password_required
    │   └── SqlNotAllowed             sql_not_allowed   (position)
    ├── SettingFault                  bad_setting       (variable)
    ├── NotFound                      not_found         (noun, key)
    ├── NotAuthenticated              not_authenticated
    │   └── InvalidCredentials        invalid_credentials
    ├── Forbidden                     forbidden
    │   └── WrongPassword             wrong_password
    ├── TooManyRequests               too_many_requests (retry_after_s)
    ├── Stale                         precondition_failed
    ├── Conflict                      conflict
    │   ├── NameTaken                 name_taken
    │   ├── EmailTaken                email_taken
    │   ├── InUse                     in_use
    │   ├── HasRuns                   has_runs
    │   ├── NotCancellable            not_cancellable
    │   └── LastAdmin                 last_admin
    ├── KeyFault                      key_fault
    │   ├── NoPrivateKey              no_private_key
    │   └── CannotOpen                cannot_open
    ├── SourceFault                   what a source did to a run or a test
    │   ├── SourceUnreachable         source_unreachable
    │   ├── SourceRefused             source_auth
    │   ├── SourceUntrusted           source_untrusted
    │   ├── ProtocolBroken            source_protocol
    │   ├── QueryFailed               query_failed      (sqlstate, position)
    │   ├── QueryTimeout              query_timeout
    │   ├── LimitExceeded             limit_exceeded
    │   ├── CostExceeded              cost_exceeded
    │   └── IsMetadata                is_metadata
    ├── DatabaseFault
    │   ├── DatabaseUnavailable       database_unavailable
    │   └── SchemaMismatch            schema_mismatch
    ├── LeaseLost                     lease_lost
    ├── ResultRejected                result_rejected
    ├── EmbeddedFault                 embedded_postgres
    └── CannotListen                  cannot_listen

``code`` is stable and part of the contract; ``detail`` is for a person and never holds a secret.
Entry points translate this tree once (CLI: exit code, HTTP: status).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self


class PgschedError(Exception):
    """What went wrong, in one line a person can act on."""

    code = "error"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        #: one sentence or two: what was wrong, where, and what to do
        self.detail = detail


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldFault:
    """One field of an input and what is wrong with it."""

    #: name of the field as the caller wrote it
    field: str
    #: what is wrong and what would be right
    message: str


class InvalidInput(PgschedError):
    """The input is malformed or breaks a rule; ``faults`` says which fields."""

    code = "invalid_request"

    def __init__(self, detail: str, faults: Sequence[FieldFault] = ()) -> None:
        super().__init__(detail)
        self.faults = tuple(faults)

    @classmethod
    def of(cls, *faults: FieldFault) -> Self:
        """Build the error whose detail is the faults, read out."""
        return cls("; ".join(f"{fault.field}: {fault.message}" for fault in faults), faults)


def together(faults: Sequence[InvalidInput]) -> InvalidInput:
    """Return one error that tells all of several; its code is theirs when they have one in common."""
    if len(faults) == 1:
        return faults[0]
    kinds = {type(fault) for fault in faults}
    kind = kinds.pop() if len(kinds) == 1 and SqlNotAllowed not in kinds else InvalidInput
    return kind.of(*(each for fault in faults for each in fault.faults))


class BadSchedule(InvalidInput):
    """The schedule expression is not one, or never fires."""

    code = "bad_schedule"


class BadTimezone(InvalidInput):
    """The zone is not in the IANA time zone database."""

    code = "bad_timezone"


class PasswordRequired(InvalidInput):
    """A source's password must come with a change of where it is sent, or of how its server is verified."""

    code = "password_required"


class SqlNotAllowed(InvalidInput):
    """The guard refuses the statement."""

    code = "sql_not_allowed"

    def __init__(self, detail: str, *, reason: str, position: int | None, field: str = "sql_text") -> None:
        place = "" if position is None else f" at character {position}"
        told = f"the SQL is refused{place}: {detail}"
        super().__init__(told, [FieldFault(field=field, message=told)])
        #: stable code of the guard's rule
        self.reason = reason
        #: 1-based character position of the fault, None when it has no place
        self.position = position


class SettingFault(PgschedError):
    """A setting (environment variable or ``.env`` line) has a bad value."""

    code = "bad_setting"

    def __init__(self, variable: str, detail: str) -> None:
        super().__init__(f"{variable}: {detail}")
        self.variable = variable


class NotFound(PgschedError):
    """There is no such thing, or the caller may not know of it."""

    code = "not_found"

    def __init__(self, noun: str, key: object) -> None:
        super().__init__(f"there is no {noun} {key}")
        self.noun = noun
        self.key = key


class NotAuthenticated(PgschedError):
    """Nobody is logged in, or what was shown for it (session, token) is not valid."""

    code = "not_authenticated"


class InvalidCredentials(NotAuthenticated):
    """The login is refused; whether for the address, the password or the account is not told."""

    code = "invalid_credentials"

    def __init__(self) -> None:
        super().__init__("the e-mail address or the password is wrong, or the account is not active")


class Forbidden(PgschedError):
    """The caller is known and may not do this."""

    code = "forbidden"


class WrongPassword(Forbidden):
    """The current password that was given is not the account's."""

    code = "wrong_password"


class TooManyRequests(PgschedError):
    """Too much at once, or too many failures: the same may work later."""

    code = "too_many_requests"

    def __init__(self, detail: str, *, retry_after_s: int) -> None:
        super().__init__(f"{detail}; try again in {retry_after_s} s")
        #: whole seconds
        self.retry_after_s = retry_after_s


class Stale(PgschedError):
    """The thing has changed since the caller read it, who asked for it to be unchanged."""

    code = "precondition_failed"

    def __init__(self, noun: str) -> None:
        super().__init__(f"the {noun} has changed since it was read; read it again and decide anew")


class Conflict(PgschedError):
    """The change contradicts what is stored."""

    code = "conflict"


class NameTaken(Conflict):
    """Another source or query has this name."""

    code = "name_taken"

    def __init__(self, noun: str, name: str) -> None:
        super().__init__(f"a {noun} named {name} exists already; choose another name or update that one")


class EmailTaken(Conflict):
    """Another account has this e-mail address (letter case does not count)."""

    code = "email_taken"

    def __init__(self, email: str) -> None:
        super().__init__(f"an account with the e-mail address {email} exists already")


class InUse(Conflict):
    """Something still depends on it."""

    code = "in_use"


class HasRuns(Conflict):
    """The query has runs that would be lost."""

    code = "has_runs"


class NotCancellable(Conflict):
    """The run has ended already."""

    code = "not_cancellable"


class LastAdmin(Conflict):
    """The change would leave nobody who can administer."""

    code = "last_admin"


class KeyFault(PgschedError):
    """A key file is missing, malformed or open to others."""

    code = "key_fault"


class NoPrivateKey(KeyFault):
    """The private key is not configured here, so nothing sealed can be opened."""

    code = "no_private_key"


class CannotOpen(KeyFault):
    """The sealed password does not open: another key, damaged, or moved from another source."""

    code = "cannot_open"


class SourceFault(PgschedError):
    """What a source answered or failed to answer; becomes the run's error.

    ``detail`` is the full text for editors; ``public`` is what anyone who may read the query may see.
    """

    code = "source_fault"

    def __init__(self, detail: str, *, public: str | None = None, sqlstate: str | None = None) -> None:
        super().__init__(detail)
        self.public = detail if public is None else public
        #: the five characters of the source's SQLSTATE, None when it gave none
        self.sqlstate = sqlstate


class SourceUnreachable(SourceFault):
    """No connection: refused, no route, mute, lost half-way."""

    code = "source_unreachable"


class SourceRefused(SourceFault):
    """The source answered and turned the role or password down."""

    code = "source_auth"


class SourceUntrusted(SourceFault):
    """The server does not prove what sslmode asks of it: no TLS, another authority, another name."""

    code = "source_untrusted"


class ProtocolBroken(SourceFault):
    """The source sent what no Postgres sends: another program, a faulty proxy, or one that lies."""

    code = "source_protocol"


class QueryFailed(SourceFault):
    """The source ran into an SQL error."""

    code = "query_failed"

    def __init__(
        self, detail: str, *, sqlstate: str | None, public: str | None = None, position: int | None = None
    ) -> None:
        super().__init__(detail, public=public, sqlstate=sqlstate)
        #: 1-based character position in the user's SQL, None when the source gave none
        self.position = position


class QueryTimeout(SourceFault):
    """The query ran into its timeout, at the source or by the client's own deadline."""

    code = "query_timeout"


class LimitExceeded(SourceFault):
    """More rows or bytes than allowed, with ``on_limit = error``."""

    code = "limit_exceeded"


class CostExceeded(SourceFault):
    """The source's planner expects the statement to cost more than the source allows; it was not run."""

    code = "cost_exceeded"


class IsMetadata(SourceFault):
    """The source is pgsched's own metadata database."""

    code = "is_metadata"


class DatabaseFault(PgschedError):
    """The metadata database cannot serve."""

    code = "database_fault"


class DatabaseUnavailable(DatabaseFault):
    """The metadata database cannot be reached or went away."""

    code = "database_unavailable"

    def __init__(self, detail: str, *, sqlstate: str | None = None, gave_up: bool = False) -> None:
        super().__init__(detail)
        #: SQLSTATE of a server that is there and refused this for now, None where there was no answer
        self.sqlstate = sqlstate
        #: whether it is there and gave this statement up: out of memory, or out of time
        self.gave_up = gave_up


class SchemaMismatch(DatabaseFault):
    """The schema of the metadata database is older or newer than this program."""

    code = "schema_mismatch"

    @classmethod
    def between(cls, found: int, expected: int) -> Self:
        """Say how the version found differs from the one this program is made for, and what to do."""
        what = f"the schema is version {found} and this program is made for {expected}"
        return cls(f"{what}; run pgsched db upgrade" if found < expected else f"{what}; upgrade pgsched")


class LeaseLost(PgschedError):
    """Another worker holds the run now; what this one did counts for nothing."""

    code = "lease_lost"


class ResultRejected(PgschedError):
    """The metadata database cannot hold the result, e.g. a number beyond jsonb's range."""

    code = "result_rejected"


class EmbeddedFault(PgschedError):
    """The embedded Postgres cannot be started, reached or stopped."""

    code = "embedded_postgres"


class CannotListen(PgschedError):
    """The address to serve on is in use, not this machine's, or not allowed."""

    code = "cannot_listen"
