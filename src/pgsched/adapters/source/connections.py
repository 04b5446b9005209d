"""Connecting to a source with what its address says and nothing that lies around on this machine.

libpq fills every parameter that is not given from ``PG*`` variables, a service file, a password file and
the certificates in ``~/.postgresql`` (manual, "Parameter Key Words", "Environment Variables"). So each is
given, file names that must lead nowhere lead below ``/dev/null``, and the variables without a parameter
(``PGSERVICE``, ``PGTZ``, ``PGDATESTYLE``, ``PGGEQO``, …) are out of sight while libpq runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import ipaddress
import shutil
import socket
import tempfile
from pathlib import Path

from psycopg.conninfo import make_conninfo
from psycopg.pq import ConnStatus, PGconn, PollingStatus
from psycopg.pq import abc as pq

from pgsched.adapters.lookups import Lookups
from pgsched.adapters.secluded import no_libpq_variables
from pgsched.adapters.sockets import ready
from pgsched.adapters.source.faults import CANNOT_REACH, connection_fault, secret_of
from pgsched.adapters.source.libpq import AsidePoll, decrypted, set_verbose
from pgsched.adapters.source.login import LoginWatch
from pgsched.application.ports.execution import SourceAddress
from pgsched.domain.errors import InvalidInput, SourceUnreachable
from pgsched.domain.sources import host_fault

#: a file name that can never exist
_NOWHERE = "/dev/null/none"
#: seconds for finding, connecting, encrypting and logging in together
CONNECT_TIMEOUT_S = 10.0
#: where a connection stands while the server asks for a password
_LOGGING_IN = (ConnStatus.AWAITING_RESPONSE, ConnStatus.AUTH_OK)


class RootCertificates:
    """Root certificates as the files that libpq wants, in a private folder, gone on ``close``."""

    def __init__(self) -> None:
        """Make nothing yet."""
        self._folder: Path | None = None

    def path(self, pem: str) -> str:
        """Return the file that holds this PEM text."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="pgsched-"))
        file = self._folder / f"{hashlib.sha256(pem.encode()).hexdigest()}.pem"
        if not file.exists():
            file.write_text(pem)
        return str(file)

    def close(self) -> None:
        """Remove the files."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None


def parameters(address: SourceAddress, hostaddr: str, root: RootCertificates) -> dict[str, str | int]:
    """Return every libpq parameter of a connection to one of the host's IP addresses.

    Raises:
        InvalidInput: ``verify-ca`` without a root certificate.
    """
    verified = address.sslmode in ("verify-ca", "verify-full")
    if address.sslrootcert:
        root_file = root.path(address.sslrootcert)
    elif address.sslmode == "verify-full":
        root_file = "system"
    elif verified:
        raise InvalidInput("sslmode verify-ca needs the root certificate of the source (sslrootcert)")
    else:
        root_file = _NOWHERE
    # Kerberos tickets of this machine are not for sources either; a password in clear goes to a
    # verified server only
    refused_methods = "!gss,!sspi" if verified else "!password,!gss,!sspi"
    return {
        "host": address.host,
        "hostaddr": hostaddr,
        "port": address.port,
        "dbname": address.dbname,
        "user": address.username,
        "password": address.password or "",
        "passfile": _NOWHERE,
        "require_auth": refused_methods,
        "channel_binding": "prefer",
        "client_encoding": "UTF8",
        "options": "",
        "application_name": "pgsched",
        "fallback_application_name": "pgsched",
        "connect_timeout": int(CONNECT_TIMEOUT_S),
        # a black hole is noticed after 4 s instead of hours
        "keepalives": 1,
        "keepalives_idle": 2,
        "keepalives_interval": 1,
        "keepalives_count": 3,
        "tcp_user_timeout": 4000,
        "sslmode": address.sslmode,
        "sslnegotiation": "postgres",
        "sslcompression": 0,
        "sslcertmode": "disable",
        "sslcert": _NOWHERE,
        "sslkey": _NOWHERE,
        "sslrootcert": root_file,
        "sslcrl": _NOWHERE,
        "sslcrldir": "",
        "sslsni": 1,
        "ssl_min_protocol_version": "TLSv1.2",
        "ssl_max_protocol_version": "",
        "requirepeer": "",
        "gssencmode": "disable",
        "gssdelegation": 0,
        "krbsrvname": "postgres",
        "target_session_attrs": "any",
        "load_balance_hosts": "disable",
    }


async def connect(address: SourceAddress, root: RootCertificates, lookups: Lookups) -> pq.PGconn:
    """Open a connection, trying each IP address of the host within ten seconds in all.

    An address has its share of what is left of them to say its first word, and all of it from then on.

    Raises:
        InvalidInput: the address is not one host, or its sslmode lacks a certificate.
        SourceUnreachable: refused, no route, mute, no such host.
        SourceRefused: the server turned the login down.
    """
    fault = host_fault(address.host)
    if fault is not None:
        raise InvalidInput.of(fault)
    for name in ("dbname", "username", "password", "sslmode"):
        # libpq would read up to the NUL and take every parameter after it from this machine
        if not is_c_text(getattr(address, name) or ""):
            raise InvalidInput(f"{name} must be UTF-8 text without a NUL character")
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + CONNECT_TIMEOUT_S
    found: list[str] = []
    problem: SourceUnreachable | None = None
    try:
        async with asyncio.timeout_at(give_up_at):
            found = await _resolve(address, lookups)
            for left, hostaddr in zip(range(len(found), 0, -1), found, strict=True):
                now = loop.time()
                try:
                    speak_by = now + (give_up_at - now) / left
                    return await _connect(address, hostaddr, root, speak_by)
                except SourceUnreachable as error:
                    problem = error
                except TimeoutError:
                    problem = _no_answer(address)
    except TimeoutError:
        problem = _no_answer(address) if found else _no_address(address)
    raise problem or connection_fault(f"{address.host} has no address", password=None)


def _no_answer(address: SourceAddress) -> SourceUnreachable:
    return SourceUnreachable(
        f"no answer from {address.host}:{address.port} within {CONNECT_TIMEOUT_S:g} s", public=CANNOT_REACH
    )


def _no_address(address: SourceAddress) -> SourceUnreachable:
    return SourceUnreachable(
        f"cannot find host {address.host}: no name server answered within {CONNECT_TIMEOUT_S:g} s",
        public=CANNOT_REACH,
    )


def is_c_text(text: str) -> bool:
    """Say whether libpq reads all of a text: it is UTF-8 and has no NUL."""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


async def _resolve(address: SourceAddress, lookups: Lookups) -> list[str]:
    with contextlib.suppress(ValueError):
        return [str(ipaddress.ip_address(address.host))]
    try:
        # a name has the same addresses for every port
        found = await lookups.find(address.host, None, socket.AF_UNSPEC, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise connection_fault(f"cannot find host {address.host}: {error}", password=None) from None
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


async def _connect(
    address: SourceAddress, hostaddr: str, root: RootCertificates, speak_by: float
) -> pq.PGconn:
    conninfo = make_conninfo("", **parameters(address, hostaddr, root))
    with no_libpq_variables():
        pgconn = PGconn.connect_start(conninfo.encode())
    aside = AsidePoll(pgconn, at=f"{hostaddr}:{address.port}")
    try:
        set_verbose(pgconn, verbose=True)
        await _poll(pgconn, address, aside, speak_by)
        set_verbose(pgconn, verbose=False)
    except BaseException:
        aside.finish()
        raise
    pgconn.nonblocking = 1
    return pgconn


async def _poll(pgconn: pq.PGconn, address: SourceAddress, aside: AsidePoll, speak_by: float) -> None:
    watch = LoginWatch(asks_for_tls=address.sslmode != "disable")
    while True:
        if pgconn.status == ConnStatus.BAD:
            raise connection_fault(pgconn.get_error_message("utf-8"), password=secret_of(address))
        if pgconn.status == ConnStatus.STARTED:
            watch.begin()
        if pgconn.socket >= 0:
            watch.count(pgconn.socket)
            await watch.let_through(pgconn.socket)
        is_asked = pgconn.status in _LOGGING_IN and not watch.is_over
        if is_asked and watch.is_encrypted and (next_read := decrypted(pgconn)) is not None:
            if not next_read:
                await ready(pgconn.socket)
                continue
            watch.hear(next_read)
        if is_asked and aside.is_possible:
            # libpq has read the variables by now
            status = await aside.poll()
        else:
            with no_libpq_variables():
                status = PollingStatus(pgconn.connect_poll())
        if status == PollingStatus.OK:
            return
        if status == PollingStatus.FAILED:
            raise connection_fault(pgconn.get_error_message("utf-8"), password=secret_of(address))
        writing = status == PollingStatus.WRITING
        until = None if watch.has_spoken else speak_by
        await ready(pgconn.socket, reading=not writing, writing=writing, until=until)
