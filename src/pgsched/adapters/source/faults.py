"""What libpq and the server say when something fails, told as pgsched's errors.

``detail`` is everything an editor may see; ``public`` is the primary message alone, or a fixed text where
the connection failed. Neither ever holds a password.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from psycopg.pq import DiagnosticField
from psycopg.pq.abc import PGresult

from pgsched.application.ports.execution import SourceAddress
from pgsched.domain.errors import (
    CostExceeded,
    IsMetadata,
    LimitExceeded,
    ProtocolBroken,
    QueryFailed,
    QueryTimeout,
    SourceFault,
    SourceRefused,
    SourceUnreachable,
    SourceUntrusted,
)

#: what anyone who may read the query is told
CANNOT_REACH = "the source cannot be reached"
CANNOT_LOG_IN = "the source refused the login"
TIMED_OUT = "the query ran into its timeout"
CANNOT_TRUST = "the source's server is not trusted"
BROKE_PROTOCOL = "what answers at the source does not keep to Postgres's protocol"
_NOT_SHOWN = "the server's answer is not shown because it holds the password"
_FIXED = frozenset({CANNOT_REACH, CANNOT_LOG_IN, TIMED_OUT, CANNOT_TRUST, BROKE_PROTOCOL})
#: faults that hold nothing of what a server said
_IN_OUR_WORDS = (LimitExceeded, CostExceeded, IsMetadata)
#: characters of each part of a server's message that are kept
MESSAGE_CHARS = 8_000
#: digits of the largest position that is one
_POSITION_DIGITS = 10

_BAD_CHARACTERS = "22021"
_OTHER_ENCODING = (
    "If the database is SQL_ASCII and the text in another encoding, say which: "
    "convert_from(convert(convert_to(column, 'SQL_ASCII'), 'LATIN1', 'UTF8'), 'UTF8')"
)

#: libpq's words for a connection that broke, and for one whose other end is not what it should be
_LOST = re.compile(
    r"closed the connection|could not (receive|send|connect)|not open|no connection|SSL"
    r"|Connection (reset|timed)"
)
_BROKEN = re.compile(
    r"lost synchronization|expected authentication request|received invalid"
    r"|unexpected (response|message|field)|invalid (message|length|SCRAM|server)|do not agree with length"
    r"|insufficient data|malformed SCRAM|incorrect server signature|unencrypted data after"
)

#: libpq's words for a server that does not prove what sslmode asks, and what to do about each
_UNTRUSTED = (
    (re.compile(r"does not match host name"), "the certificate is for another host: check the host's name"),
    (re.compile(r"certificate verify failed|certificate (has expired|is not yet valid)|self-signed"),
     "another authority signed the certificate, or it is not valid now: check sslrootcert"),
    (re.compile(r"does not support SSL"), "let the server offer TLS"),
    (re.compile(r"root certificate|certificate file|no start line|PEM"), "check sslrootcert"),
)  # fmt: skip

#: the file that a root certificate is in while libpq reads it (``connections.RootCertificates``)
_ROOT_FILE = re.compile(r'file "[^"]*/pgsched-[^"/]*/[0-9a-f]*\.pem"')

#: what servers say while a client logs in, and the SQLSTATE for it
_LOGIN_FAULTS = (
    (re.compile(r"password authentication failed|no password supplied|password is empty"), "28P01"),
    (re.compile(r"authentication failed|pg_hba.conf (entry|rejects)|not permitted to log in"), "28000"),
    (re.compile(r'role ".*" does not exist'), "28000"),
    (re.compile(r'database ".*" does not exist'), "3D000"),
    (re.compile(r"permission denied for database|User does not have CONNECT privilege"), "42501"),
    (re.compile(r"authentication method requirement"), "28000"),
    (re.compile(r"too many (clients|connections)|remaining connection slots"), "53300"),
    (re.compile(r"the database system is|not (yet )?accepting connections"), "57P03"),
    (re.compile(r"terminating connection due to administrator command"), "57P01"),
)  # fmt: skip
#: ``FATAL:  28P01: words`` of a verbose connection, whatever the word for FATAL is
_STATE = re.compile(r":  ([0-9A-Z]{5}): ")
_LOCATION = re.compile(r"\n?LOCATION:  [^\n]*\n?")
#: of those, what may pass by itself: the server is there and has no place or is not up yet
_PASSING = frozenset({"53300", "57P01", "57P02", "57P03"})


def connection_fault(said: str, *, password: str | None) -> SourceFault:
    """Tell why no connection came about, from what libpq or the server said.

    The SQLSTATE counts, where libpq tells it (``libpq.set_verbose``): a server's words are in any language.
    For what is libpq's own, and poolers that have one SQLSTATE for everything, the words are looked at.
    """
    usual, sqlstate = _without_state(said)
    text = _ROOT_FILE.sub("sslrootcert", " ".join(usual.split()))
    shown = _NOT_SHOWN if password and password in text else text or CANNOT_REACH
    if sqlstate is None or sqlstate.startswith("08"):
        sqlstate = next((state for pattern, state in _LOGIN_FAULTS if pattern.search(text)), sqlstate)
    if sqlstate in _PASSING:
        return SourceUnreachable(shown, public=CANNOT_REACH, sqlstate=sqlstate)
    if sqlstate is not None or "FATAL:" in text:
        return SourceRefused(shown, public=CANNOT_LOG_IN, sqlstate=sqlstate)
    if _BROKEN.search(text):
        return broken(shown)
    for pattern, way_out in _UNTRUSTED:
        if pattern.search(text):
            return SourceUntrusted(f"{shown}; {way_out}", public=CANNOT_TRUST)
    return SourceUnreachable(shown, public=CANNOT_REACH)


def secret_of(address: SourceAddress) -> str | None:
    """Return the password, None when it is a name that messages hold anyway.

    To leave such a message out would hide its reason, and tell what the password is.
    """
    public = (address.username, address.dbname, address.host)
    return None if address.password in public else address.password


@contextmanager
def keeping_secret(address: SourceAddress) -> Iterator[None]:
    """Take out of a fault what the server said when it holds the password; code and SQLSTATE stay."""
    try:
        yield
    except SourceFault as fault:
        password = secret_of(address)
        if password and not isinstance(fault, _IN_OUR_WORDS):
            if password in fault.detail:
                fault.detail = _NOT_SHOWN
                fault.args = (_NOT_SHOWN,)
            if password in fault.public and fault.public not in _FIXED:
                fault.public = _NOT_SHOWN
            if password in (fault.sqlstate or ""):
                fault.sqlstate = None
        raise


def _without_state(said: str) -> tuple[str, str | None]:
    """Return a verbose message as it usually is, and the SQLSTATE that was told in it, None for none."""
    found = _STATE.search(said)
    if found is None:
        return said, None
    return _LOCATION.sub("", _STATE.sub(":  ", said, count=1)), found[1]


def lost(said: str) -> SourceFault:
    """Tell that the connection broke while it was in use, from what libpq said."""
    text = _cut(" ".join(said.split())) or "the connection to the source was lost"
    if _BROKEN.search(text):
        return broken(text)
    return SourceUnreachable(text, public=CANNOT_REACH)


def broken(what: str) -> ProtocolBroken:
    """Tell that what answers does not keep to the protocol."""
    return ProtocolBroken(f"{BROKE_PROTOCOL}: {_cut(what)}; is it a Postgres server?", public=BROKE_PROTOCOL)


def too_much(most: int, *, of_messages: bool = False) -> LimitExceeded:
    """Tell that the source sent more than may be held before rows were complete, perhaps ``of_messages``."""
    if of_messages:
        return LimitExceeded(
            f"the source sent more than {most} bytes before the next rows were complete, most of them "
            "messages, which nobody reads; let the function raise fewer INFO, or NOTICE, which is not sent"
        )
    return LimitExceeded(
        f"the source sent more than {most} bytes before the next rows were complete: a value is held whole, "
        "with the few rows that travel with it; select a part of it (left, substring), or raise max_bytes"
    )


def deadline_passed(timeout_ms: int) -> QueryTimeout:
    """Tell that the source had not answered when the client's own deadline passed."""
    return QueryTimeout(
        f"the source had not finished the statement within {timeout_ms} ms and did not end it itself; "
        "it was cancelled and the connection closed",
        public=TIMED_OUT,
    )


def query_fault(result: PGresult, *, prefix: int, timeout_ms: int, elapsed_ms: float) -> SourceFault:
    """Tell what a failed result says.

    ``prefix`` is how many characters stood before the user's text, so that the position counts in that.
    """

    def field(code: DiagnosticField) -> str | None:
        value = result.error_field(code)
        return None if value is None else _cut(value.decode(errors="replace"))

    if result.error_field(DiagnosticField.MESSAGE_PRIMARY) is None:
        # not the server's words but libpq's own about what it received
        said = " ".join(result.get_error_message("utf-8").split())
        return lost(said) if not said or _LOST.search(said) else broken(said)
    primary = field(DiagnosticField.MESSAGE_PRIMARY) or "the source gave no message"
    sqlstate = field(DiagnosticField.SQLSTATE)
    severity = field(DiagnosticField.SEVERITY_NONLOCALIZED) or field(DiagnosticField.SEVERITY)
    position = _position(field(DiagnosticField.STATEMENT_POSITION), prefix)
    lines = [primary]
    if sqlstate == _BAD_CHARACTERS:
        lines.append(_OTHER_ENCODING)
    for label, code in (
        ("DETAIL", DiagnosticField.MESSAGE_DETAIL),
        ("HINT", DiagnosticField.MESSAGE_HINT),
        ("CONTEXT", DiagnosticField.CONTEXT),
    ):
        text = field(code)
        if text:
            lines.append(f"{label}: {text}")
    detail = "\n".join(lines)
    if severity in ("FATAL", "PANIC"):
        return SourceUnreachable(detail, public=CANNOT_REACH, sqlstate=sqlstate)
    # 57014 is also what pg_cancel_backend gives; the words may be in any language, the clock is not
    if sqlstate == "57014" and ("statement timeout" in primary or elapsed_ms >= timeout_ms):
        return QueryTimeout(detail, public=TIMED_OUT, sqlstate=sqlstate)
    return QueryFailed(detail, sqlstate=sqlstate, public=primary, position=position)


def _cut(text: str) -> str:
    return text if len(text) <= MESSAGE_CHARS else text[:MESSAGE_CHARS] + "…"


def _position(said: str | None, prefix: int) -> int | None:
    # int() refuses thousands of digits; no statement has that many characters
    if said is None or not said.isdecimal() or len(said) > _POSITION_DIGITS or int(said) <= prefix:
        return None
    return int(said) - prefix
