"""PG_DSN_APP in its written forms, brought into one: a libpq ``key=value`` string.

Forms: ``postgresql://…`` and ``postgres://…`` (libpq's URIs), ``postgresql+psycopg://…`` (SQLAlchemy's way to
write the same) and ``key=value …``. Source: PostgreSQL manual, libpq, "Connection Strings". libpq itself is
not asked: loading it takes longer than ``pgsched --help`` may.

Faults never quote the text, since any part of a mistyped one may be the password.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

#: what libpq 15 to 18 knows
KEYWORDS = frozenset(
    (  # noqa: SIM905 (one word a line would be a page)
        "application_name channel_binding client_encoding connect_timeout dbname "
        "fallback_application_name gssdelegation gssencmode gsslib host hostaddr keepalives "
        "keepalives_count keepalives_idle keepalives_interval krbsrvname load_balance_hosts "
        "max_protocol_version min_protocol_version oauth_client_id oauth_client_secret oauth_issuer "
        "oauth_scope options passfile password port replication require_auth requirepeer scram_client_key "
        "scram_server_key service ssl_max_protocol_version ssl_min_protocol_version sslcert sslcertmode "
        "sslcompression sslcrl sslcrldir sslkey sslkeylogfile sslmode sslnegotiation sslpassword "
        "sslrootcert sslsni target_session_attrs tcp_user_timeout user "
    ).split()
)
_SSLMODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_FORMS = "write postgresql://user:password@host:5432/dbname or host=… dbname=… user=…"
_ENCODE = "percent-encode what is special in user and password (@ as %40, / as %2F, : as %3A, % as %25)"


def conninfo(text: str) -> str:
    """Bring a DSN in any of the forms into libpq's ``key=value`` form.

    Raises:
        ValueError: the fault and the fix, without any part of the text.
    """
    scheme, separator, rest = text.partition("://")
    if separator and re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme, re.ASCII):
        if scheme not in ("postgresql", "postgres", "postgresql+psycopg"):
            raise ValueError(f"has a scheme other than postgresql:// or postgresql+psycopg://; {_FORMS}")
        options = _from_uri(rest)
    else:
        options = _from_pairs(text)
    _check(options)
    return " ".join(f"{key}={_quoted(value)}" for key, value in options.items())


def shown(conninfo_text: str) -> str:
    """Name the database a conninfo leads to, without its password: ``host:port/dbname``."""
    options = _from_pairs(conninfo_text)
    host = options.get("host") or options.get("hostaddr") or "(default host)"
    dbname = options.get("dbname") or options.get("user") or "(default)"
    return f"{host}:{options.get('port') or '5432'}/{dbname}"


def _check(options: Mapping[str, str]) -> None:
    for keyword in options:
        if keyword not in KEYWORDS:
            from difflib import get_close_matches

            # only names libpq knows are shown: an unknown one may be half of a password with a blank in it
            near = get_close_matches(keyword, KEYWORDS, n=1, cutoff=0.7)
            meant = f"did you mean {near[0]}? " if near else ""
            raise ValueError(
                f"holds an option libpq does not know; {meant}{_FORMS}, quoting values with blanks"
            )
    for port in options.get("port", "").split(","):
        if port and not (re.fullmatch(r"[0-9]{1,5}", port, re.ASCII) and 1 <= int(port) <= 65535):
            raise ValueError(f"has a port that is not a number from 1 to 65535; {_ENCODE}")
    mode = options.get("sslmode")
    if mode and mode not in _SSLMODES:
        raise ValueError(f"has an sslmode libpq does not know; write one of {', '.join(_SSLMODES)}")


def _from_uri(rest: str) -> dict[str, str]:
    """Read what follows ``postgresql://``, as libpq's conninfo_uri_parse_options does."""
    place, _, query = rest.partition("?")
    authority, _, dbname = place.partition("/")
    options: dict[str, str] = {}
    user_part, at, hosts = authority.partition("@")
    if not at:
        hosts = authority
    elif "@" in hosts:
        raise ValueError(f"has more than one @ before the database's name; {_ENCODE}")
    else:
        user, colon, password = user_part.partition(":")
        if user:
            options["user"] = _decoded(user)
        if colon and password:
            options["password"] = _decoded(password)
    names, ports = _hosts(hosts)
    # libpq keeps the commas of a list whose entries are empty
    for keyword, entries in (("host", names), ("port", ports)):
        if ",".join(entries):
            options[keyword] = ",".join(entries)
    if dbname:
        options["dbname"] = _decoded(dbname)
    for pair in query.split("&") if query else []:
        key, equals, value = pair.partition("=")
        if not equals or "=" in value:
            raise ValueError(f"has a part after ? that is not key=value; {_FORMS}")
        key, value = _decoded(key), _decoded(value)
        # libpq takes JDBC's spelling too
        if (key, value) == ("ssl", "true"):
            key, value = "sslmode", "require"
        options[key] = value
    return options


def _hosts(text: str) -> tuple[list[str], list[str]]:
    names, ports = [], []
    for part in text.split(","):
        match = re.fullmatch(r"(\[[^\]\[]+\]|[^:\[\]]*)(?::([^:]*))?", part)
        if match is None:
            raise ValueError(f"has a host that cannot be read; {_ENCODE}, IPv6 addresses in [ ]")
        name = match[1]
        names.append(_decoded(name[1:-1] if name.startswith("[") else name))
        ports.append(_decoded(match[2] or ""))
    return names, ports


def _decoded(text: str) -> str:
    if re.search(r"%(?![0-9A-Fa-f]{2})", text) or "%00" in text:
        raise ValueError(f"has a % that is not followed by two hexadecimal digits, or %00; {_ENCODE}")
    if " " in text:
        raise ValueError("has a blank in its URI; write %20 for it")
    from urllib.parse import unquote

    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise ValueError(f"has percent-encoded bytes that are not UTF-8; {_ENCODE}") from None


_PAIR = re.compile(
    r"""\s*(?P<key>[^\s=]+)\s*=\s*(?:'(?P<quoted>(?:[^'\\]|\\.)*)'|(?P<plain>(?:[^\s'\\]|\\.)(?:[^\s\\]|\\.)*|))(?=\s|\Z)""",
    re.DOTALL,
)


def _from_pairs(text: str) -> dict[str, str]:
    """Read ``key=value`` pairs; quotes and backslashes as libpq's conninfo_parse has them."""
    options: dict[str, str] = {}
    at, end = 0, len(text.rstrip())
    while at < end:
        match = _PAIR.match(text, at)
        if match is None:
            raise ValueError(f"is not a connection string from its option {len(options) + 1} on; {_FORMS}")
        value = match["plain"] if match["quoted"] is None else match["quoted"]
        options[match["key"]] = re.sub(r"\\(.)", r"\1", value, flags=re.DOTALL)
        at = match.end()
    return options


def _quoted(value: str) -> str:
    if value and not re.search(r"[\s'\\]", value):
        return value
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
