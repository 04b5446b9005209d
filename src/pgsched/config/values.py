"""Readers that turn the text of one setting into its typed value, or say what is wrong with it.

Every reader takes text without surrounding blanks and raises ``ValueError`` with half a sentence:
the fault, then the fix. ``settings.load`` puts the variable's name in front.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import NamedTuple

_YES = frozenset({"1", "true", "yes", "on"})
_NO = frozenset({"0", "false", "no", "off"})

_APP_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,47}", re.ASCII)
_ROLE = re.compile(r"[a-z][a-z0-9_-]{0,31}", re.ASCII)
_HOST = re.compile(
    r"(?=.{1,253}\Z)(?:(?!-)[a-z0-9_-]{1,63}(?<!-)\.)*(?!-)[a-z0-9_-]{1,63}(?<!-)\.?", re.ASCII
)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*", re.ASCII)

#: ports that browsers leave out of an Origin header
_DEFAULT_PORTS = {"http": "80", "https": "443"}
#: IANA's ports of the transports; a socket has none
_SYSLOG_PORTS = {"udp": 514, "tcp": 601, "unix": 0}


def whole_number(least: int, most: int) -> Callable[[str], int]:
    """Make the reader of a whole number within bounds, both inclusive."""

    def read(text: str) -> int:
        # int() also takes 1_000, +1 and other scripts' digits
        if not re.fullmatch(r"[0-9]{1,18}", text, re.ASCII) or not least <= int(text) <= most:
            raise ValueError(f"{shown(text)} is not a whole number from {least} to {most}; write digits only")
        return int(text)

    return read


def switch(text: str) -> bool:
    """Read 1 or 0; true/false, yes/no and on/off are taken too, in any letter case."""
    if text.lower() in _YES:
        return True
    if text.lower() in _NO:
        return False
    raise ValueError(f"{shown(text)} is neither 1 nor 0; write 1 for yes or 0 for no")


def items(text: str) -> tuple[str, ...]:
    """Split at commas; blanks around an entry and a trailing comma do not count, nor do repetitions."""
    found = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not found:
        raise ValueError("holds no entry; write at least one, or leave it unset")
    return found


def roles(text: str) -> tuple[str, ...]:
    """Read the roles that exist, in the order given."""
    found = items(text)
    for role in found:
        if not _ROLE.fullmatch(role):
            raise ValueError(
                f"{shown(role)} is not a role name; write a small letter, then up to 31 of a-z 0-9 _ -"
            )
    if "admin" not in found:
        raise ValueError("does not contain admin, so nobody could administer; add admin to the list")
    return found


def redact_keys(text: str) -> tuple[str, ...]:
    """Read names of keys; letter case does not count, so they are kept small."""
    return tuple(dict.fromkeys(key.lower() for key in items(text)))


class SyslogAddress(NamedTuple):
    """Where a syslog server listens."""

    #: ``udp``, ``tcp`` or ``unix``
    transport: str
    #: host name or address, or the socket's path
    host: str
    #: port, 0 for a socket's path
    port: int


def log_targets(text: str) -> tuple[str, ...]:
    """Read where logs go: ``file``, ``stdout``, both, or ``none``."""
    found = tuple(part.lower() for part in items(text))
    for part in found:
        if part not in ("file", "stdout", "none"):
            raise ValueError(f"{shown(part)} is no place for logs; write file, stdout, both, or none")
    if "none" in found and len(found) > 1:
        raise ValueError("none excludes the others; write it alone")
    return found


def syslog(text: str) -> SyslogAddress:
    """Read ``udp://host:514``, ``tcp://host:601`` or ``unix:///dev/log``; the ports are the defaults."""
    fix = "write udp://host:514, tcp://host:601 or unix:///dev/log"
    transport, separator, rest = text.partition("://")
    if not separator or transport not in _SYSLOG_PORTS:
        raise ValueError(f"{shown(text)} is no syslog server; {fix}")
    if transport == "unix":
        if not rest.startswith("/") or len(rest.encode()) > 100:
            raise ValueError(f"{shown(rest)} is not the full path of a socket; {fix}")
        return SyslogAddress(transport, rest, 0)
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[^:/?#@\[\]]+)(?::([0-9]{1,5}))?/?", rest, re.ASCII)
    if match is None:
        raise ValueError(f"{shown(rest)} is not host:port; {fix}")
    port = int(match[2] or _SYSLOG_PORTS[transport])
    if not 1 <= port <= 65535:
        raise ValueError(f"{port} is no port; {fix}")
    return SyslogAddress(transport, _host(match[1]), port)


def app_name(text: str) -> str:
    """Read an APP-NAME (RFC 5424 §6.2.5: at most 48 visible ASCII characters) that can name a file."""
    if not _APP_NAME.fullmatch(text):
        raise ValueError(
            f"{shown(text)} cannot name a log; write 1 to 48 of A-Z a-z 0-9 _ . -, a letter or digit first"
        )
    return text


def networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    """Read networks in CIDR form; a bare address is a network of one."""
    found = []
    for part in items(text):
        try:
            found.append(ip_network(part))
        except ValueError:
            try:
                fix = f"write {ip_network(part, strict=False)}"
            except ValueError:
                fix = "write one like 10.0.0.0/8 or ::1"
            raise ValueError(f"{shown(part)} is not a network; {fix}") from None
    return tuple(found)


def hosts(text: str) -> tuple[str, ...]:
    """Read host names and addresses without port, in small letters; ``*`` stands for any.

    Addresses of version 6 are kept without brackets.
    """
    return tuple(dict.fromkeys("*" if part == "*" else _host(part) for part in items(text)))


def _host(text: str) -> str:
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        return str(ip_address(bare))
    except ValueError:
        pass
    if not _HOST.fullmatch(text.lower()):
        raise ValueError(
            f"{shown(text)} is not a host name; write it without scheme, port or wildcard: dash.example.com"
        )
    return text.lower().removesuffix(".")


def origins(text: str) -> tuple[str, ...]:
    """Read origins as browsers send them (RFC 6454 §6.2): ``scheme://host[:port]``, or ``*``."""
    return tuple(dict.fromkeys("*" if part == "*" else _origin(part) for part in items(text)))


def _origin(text: str) -> str:
    fault = ValueError(f"{shown(text)} is not an origin; write scheme://host[:port] without a path, or *")
    scheme, separator, rest = text.lower().partition("://")
    if not separator or not _SCHEME.fullmatch(scheme):
        raise fault
    match = re.fullmatch(r"(\[[0-9a-f:.]+\]|[^:/?#@\[\]]+)(?::([0-9]{1,5}))?/?", rest, re.ASCII)
    if match is None:
        raise fault
    try:
        host = _host(match[1])
    except ValueError:
        raise fault from None
    if ":" in host:
        host = f"[{host}]"
    port = match[2]
    if port is None or port == _DEFAULT_PORTS.get(scheme):
        return f"{scheme}://{host}"
    if not 1 <= int(port) <= 65535:
        raise fault
    return f"{scheme}://{host}:{int(port)}"


def pepper(text: str) -> str:
    """Check that a text is base64 of 32 to 64 bytes; the fault never shows it."""
    decode_pepper(text)
    return text


def decode_pepper(text: str) -> bytes:
    """Decode the pepper; standard and URL-safe alphabets, padding optional."""
    import base64
    import binascii

    fix = "write base64 of 32 to 64 random bytes, e.g. from: openssl rand -base64 32"
    plain = text.replace("-", "+").replace("_", "/").rstrip("=")
    try:
        secret = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"is not base64; {fix}") from None
    if not 32 <= len(secret) <= 64:
        raise ValueError(f"decodes to {len(secret)} bytes; {fix}")
    return secret


def shown(text: str) -> str:
    """Quote a value for a fault: one line, visible characters, not long."""
    short = text if len(text) <= 60 else text[:57] + "…"
    return "'" + "".join(char if char.isprintable() else repr(char)[1:-1] for char in short) + "'"
