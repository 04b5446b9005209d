"""Data sources: where queries run, how a source is addressed, and what its sealed password is bound to."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pgsched.domain.certificates import root_certificate_fault
from pgsched.domain.errors import FieldFault, InvalidInput
from pgsched.domain.names import name_fault, text_fault

#: most runs at once against one source, over all workers, unless it says otherwise
DEFAULT_MAX_CONCURRENCY = 4

_HOST_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)", re.ASCII)


class SslMode(StrEnum):
    """How well the connection is encrypted and its server verified (libpq, section "SSL Support")."""

    #: never encrypted
    DISABLE = "disable"
    #: encrypted only when the server insists
    ALLOW = "allow"
    #: encrypted when the server can; nothing is verified
    PREFER = "prefer"
    #: always encrypted; nothing is verified
    REQUIRE = "require"
    #: encrypted, and the certificate must be signed by a trusted authority
    VERIFY_CA = "verify-ca"
    #: the same, and the certificate must be for this host
    VERIFY_FULL = "verify-full"


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceBinding:
    """What a sealed password is bound to: moved elsewhere it does not open."""

    #: host name or address, as stored
    host: str
    #: TCP port
    port: int
    #: database name
    dbname: str
    #: role name
    username: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SealedPassword:
    """A source's password in a sealed box; only the private key of its version opens it."""

    #: the box; never shown, not even in a repr
    ciphertext: bytes
    #: name of the envelope's format, e.g. ``sealedbox-v1``
    algo: str
    #: version of the key that sealed it, from 1
    key_version: int

    def __repr__(self) -> str:
        """Name the envelope without its content."""
        return f"SealedPassword(algo={self.algo!r}, key_version={self.key_version})"


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSource:
    """A Postgres database that queries may run against."""

    #: identity, 64 bit
    id: int
    #: unique name
    name: str
    #: host name or IP address; never a socket folder or a list
    host: str
    #: TCP port, 1 to 65535
    port: int
    #: database name
    dbname: str
    #: role name
    username: str
    #: None when the role has no password
    password: SealedPassword | None
    #: encryption and verification
    sslmode: SslMode = SslMode.PREFER
    #: PEM of the authority that signs the server's certificate, None for the system's
    sslrootcert: str | None = None
    #: runs at once over all workers
    max_concurrency: int = DEFAULT_MAX_CONCURRENCY
    #: what a statement may cost in units of the source's planner, None for any
    max_cost: int | None = None
    #: whether the guard lets statements call functions that are not Postgres's own
    allow_user_functions: bool = True
    #: whether pgsched's own metadata database may be this source
    allow_metadata: bool = False
    #: when it was made, UTC
    created_at: datetime
    #: when it last changed, UTC
    updated_at: datetime

    @property
    def binding(self) -> SourceBinding:
        """What this source's password is bound to."""
        return SourceBinding(host=self.host, port=self.port, dbname=self.dbname, username=self.username)


@dataclass(frozen=True, kw_only=True, slots=True)
class NewSource:
    """A source before it is stored; fields as in ``DataSource``."""

    name: str
    host: str
    port: int = 5432
    dbname: str
    username: str
    password: SealedPassword | None = None
    sslmode: SslMode = SslMode.PREFER
    sslrootcert: str | None = None
    max_concurrency: int = DEFAULT_MAX_CONCURRENCY
    max_cost: int | None = None
    allow_user_functions: bool = True
    allow_metadata: bool = False

    @property
    def binding(self) -> SourceBinding:
        """What this source's password is bound to."""
        return SourceBinding(host=self.host, port=self.port, dbname=self.dbname, username=self.username)

    def __post_init__(self) -> None:
        """Refuse what could never be a source.

        Raises:
            InvalidInput: with a fault for each bad field.
        """
        faults = [
            name_fault("name", self.name),
            host_fault(self.host),
            _between("port", self.port, 1, 65535),
            text_fault("dbname", self.dbname, 63, shortest=1),
            text_fault("username", self.username, 63, shortest=1),
            _between("max_concurrency", self.max_concurrency, 1, 1000),
            None if self.max_cost is None else _between("max_cost", self.max_cost, 1, 10**15),
            certificate_fault(self.sslmode, self.sslrootcert),
        ]
        found = [fault for fault in faults if fault is not None]
        if found:
            raise InvalidInput.of(*found)


def certificate_fault(sslmode: SslMode, sslrootcert: str | None) -> FieldFault | None:
    """Say why a root certificate cannot be one, or is missing, or None when all is well."""
    if sslrootcert is None:
        if sslmode is SslMode.VERIFY_CA:
            return FieldFault(
                field="sslrootcert", message="is needed for verify-ca (verify-full can use the system's)"
            )
        return None
    fault = root_certificate_fault(sslrootcert)
    return None if fault is None else FieldFault(field="sslrootcert", message=fault)


def _between(field: str, value: int, least: int, most: int) -> FieldFault | None:
    if least <= value <= most:
        return None
    return FieldFault(field=field, message=f"must be {least} to {most}, not {value}")


def host_fault(host: str) -> FieldFault | None:
    """Say why a text is not one host name or one IP address, or None when it is.

    libpq's ``host`` also takes socket folders (``/…``, ``@…``), comma lists and the odd number forms of
    inet_aton (``0x7f.1``, ``2130706433``): all refused, so that what is stored is where passwords go.
    """
    message = "must be one host name or IP address"
    try:
        ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        return FieldFault(field="host", message=f"{message} without a zone") if "%" in host else None
    if not host:
        return FieldFault(field="host", message=f"{message}, not empty")
    if host.startswith(("/", "@")):
        return FieldFault(field="host", message=f"{message}; socket folders are not taken")
    if "," in host:
        return FieldFault(field="host", message=f"{message}; lists are not taken")
    labels = host.removesuffix(".").split(".")
    if len(host) > 253 or not all(_HOST_LABEL.fullmatch(label) for label in labels):
        return FieldFault(field="host", message=f"{message} (letters, digits, - _ and dots)")
    if re.fullmatch(r"0[xX][0-9a-fA-F]*|[0-9]+", labels[-1], re.ASCII):
        return FieldFault(field="host", message=f"{message}; write an address as four numbers 0 to 255")
    return None
